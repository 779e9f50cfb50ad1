package operation_test

import (
	"bytes"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
)

// manyOperations are n operations, one after the other.
func manyOperations(tb testing.TB, c operation.Codec, n int) []byte {
	var b []byte
	var err error
	for i := range n {
		op := operation.Operation{Value: bytes.Repeat([]byte{byte(i)}, 32)}
		switch c.Family() {
		case operation.Any:
			op.Kind = operation.Update
		case operation.Immutable:
			op.Kind = operation.Set
		case operation.Keyless:
			op.Kind = operation.Append
		}
		if c.Family() != operation.Keyless {
			op.Key = bytes.Repeat([]byte{byte(i >> 8)}, 32)
		}
		if b, err = c.Append(b, op); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

func BenchmarkSplit(b *testing.B) {
	const n = 10_000
	for _, name := range []string{"any/fixed", "any/variable"} {
		c := codecs[name]
		data := manyOperations(b, c, n)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := c.Split(data, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	const n = 10_000
	for _, name := range []string{"any/fixed", "any/variable"} {
		c := codecs[name]
		run, err := c.NewRun(manyOperations(b, c, n))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for i := range n {
					if _, err := c.Decode(run.At(i)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
