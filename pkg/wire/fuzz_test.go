package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime/metrics"
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// boundAllocation fails if f allocates much more than n bytes of input
// justify. It is cheap, but blind to the first few KiB.
func boundAllocation(t *testing.T, n int, f func()) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	if b := sample[0].Value.Uint64() - before; b > uint64(128<<10+8*n) {
		t.Fatalf("%d bytes allocated for %d bytes of input", b, n)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	seeds(f, func(k vectors.Case) {
		for _, frame := range [][]byte{k.Request, k.Response} {
			if payload, err := unframe(frame); err == nil {
				f.Add(payload)
			}
		}
	})
	f.Fuzz(func(t *testing.T, payload []byte) {
		for name, c := range codecs {
			var m wire.Message
			var err error
			boundAllocation(t, len(payload), func() { m, err = wire.Decode(payload, c) })
			if err != nil {
				if !errors.Is(err, wire.ErrDecode) {
					t.Fatalf("%s: untyped error %v", name, err)
				}
				continue
			}
			again := m.AppendTo(nil)
			same := bytes.Equal(again, payload)
			switch m := m.(type) { // true is any non-zero byte
			case *wire.GetOperations:
				same = same || m.Pins && bytes.Equal(again[:len(again)-1], payload[:len(payload)-1])
			case *wire.Operations:
				same = same || m.HasPins && len(again) == len(payload)
			}
			if !same {
				t.Fatalf("%s: %x encodes to %x", name, payload, again)
			}
			if back, err := wire.Decode(again, c); err != nil || !bytes.Equal(back.AppendTo(nil), again) {
				t.Fatalf("%s: %x decodes to %+v, %v", name, again, back, err)
			}
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	seeds(f, func(k vectors.Case) {
		f.Add([]byte(k.Request), 1<<10)
		f.Add(append(bytes.Clone(k.Response), k.Request...), 1<<20)
	})
	f.Fuzz(func(t *testing.T, stream []byte, most int) {
		r := bufio.NewReader(bytes.NewReader(stream))
		var buf, again []byte
		for {
			var err error
			boundAllocation(t, len(stream), func() { buf, err = wire.ReadFrame(r, nil, most) })
			if err != nil {
				if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, wire.ErrFrame) {
					t.Fatalf("untyped error %v", err)
				}
				if err == io.EOF && !bytes.Equal(again, stream) {
					t.Fatalf("%x read as frames is %x", stream, again)
				}
				return
			}
			if len(buf) > most || len(buf) > wire.MaxFrame {
				t.Fatalf("frame of %d bytes, at most %d", len(buf), most)
			}
			again = append(operation.AppendUvarint(again, uint64(len(buf))), buf...)
		}
	})
}

func FuzzDecodeProof(f *testing.F) {
	for _, w := range vectors.ProofWorkloads(f) {
		for _, c := range w.Commits {
			if c.RangeProofs == nil {
				continue
			}
			for _, p := range c.RangeProofs.Proofs {
				f.Add([]byte(p.Proof))
				for _, a := range p.Altered {
					if a.Proof != nil {
						f.Add([]byte(*a.Proof))
					}
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		boundAllocation(t, len(b), func() {
			p, rest, err := wire.DecodeProof(b)
			if err != nil {
				if !errors.Is(err, wire.ErrDecode) {
					t.Fatalf("untyped error %v", err)
				}
				return
			}
			if again := wire.AppendProof(nil, p); !bytes.Equal(append(again, rest...), b) {
				t.Fatalf("%x encodes to %x", b, again)
			}
		})
	})
}
