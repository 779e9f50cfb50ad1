package operation_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/operation"
)

func FuzzDecodeOperation(f *testing.F) {
	for _, cases := range vectors.OperationCodecs(f) {
		for _, c := range cases {
			if len(c.Op) < 1000 {
				f.Add([]byte(c.Op))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, c := range codecs {
			run, err := c.NewRun(b)
			if err != nil {
				if !errors.Is(err, operation.ErrDecode) {
					t.Fatalf("%s: untyped error %v", name, err)
				}
				continue
			}
			var again []byte
			for i := range run.Len() {
				op, err := c.Decode(run.At(i))
				if err != nil {
					t.Fatalf("%s: operation %d of a run: %v", name, i, err)
				}
				if again, err = c.Append(again, op); err != nil {
					t.Fatalf("%s: %+v was decoded, but: %v", name, op, err)
				}
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("%s: %x encodes to %x", name, b, again)
			}
		}
	})
}
