package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// boundAllocation fails if f allocates much more than n bytes of input justify.
func boundAllocation(t *testing.T, n int, f func()) {
	t.Helper()
	if b := allocated(f); b > uint64(128<<10+32*n) {
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
	for _, features := range []wire.Features{0, 1, 1 << 63} {
		f.Add((&wire.Subscribe{ID: 7, Features: features}).AppendTo(nil))
		f.Add((&wire.TargetPush{ID: 7, Features: features, Target: wire.Target{Start: 5, End: mmr.MaxLeaves}}).AppendTo(nil))
	}
	names := slices.Sorted(maps.Keys(codecs))
	f.Fuzz(func(t *testing.T, payload []byte) {
		messages, errs := make([]wire.Message, len(names)), make([]error, len(names))
		boundAllocation(t, len(payload), func() {
			for i, name := range names {
				messages[i], errs[i] = wire.Decode(payload, codecs[name])
			}
		})
		for i, name := range names {
			if err := errs[i]; err == nil {
				checkRoundTrip(t, messages[i], payload, codecs[name])
			} else if !errors.Is(err, wire.ErrDecode) {
				t.Fatalf("%s: untyped error %v", name, err)
			}
		}
	})
}

func checkRoundTrip(t *testing.T, m wire.Message, payload []byte, c operation.Codec) {
	again := m.AppendTo(nil)
	same := bytes.Equal(again, payload)
	switch m := m.(type) { // true is any non-zero byte
	case *wire.GetOperations:
		same = same || m.Pins && bytes.Equal(again[:len(again)-1], payload[:len(payload)-1])
	case *wire.Operations:
		at := len(again) - 1 - 1 - len(m.Pins)*mmr.DigestSize // at most 64 pins: one byte of count
		same = same || m.HasPins && len(again) == len(payload) && bytes.Equal(again[:at], payload[:at]) && bytes.Equal(again[at+1:], payload[at+1:])
	}
	if !same {
		t.Fatalf("%s: %x encodes to %x", c, payload, again)
	}
	if back, err := wire.Decode(again, c); err != nil || !bytes.Equal(back.AppendTo(nil), again) {
		t.Fatalf("%s: %x decodes to %+v, %v", c, again, back, err)
	}
}

func FuzzReadFrame(f *testing.F) {
	seeds(f, func(k vectors.Case) {
		f.Add([]byte(k.Request), 1<<10)
		f.Add(append(bytes.Clone(k.Response), k.Request...), 1<<20)
	})
	f.Fuzz(func(t *testing.T, stream []byte, most int) {
		r := bufio.NewReader(bytes.NewReader(stream))
		var frames [][]byte
		var err error
		boundAllocation(t, len(stream), func() {
			for err == nil {
				var frame []byte
				if frame, err = wire.ReadFrame(r, nil, most); err == nil {
					frames = append(frames, frame)
				}
			}
		})
		var again []byte
		for _, frame := range frames {
			if len(frame) > most || len(frame) > wire.MaxFrame {
				t.Fatalf("frame of %d bytes, at most %d", len(frame), most)
			}
			again = append(operation.AppendUvarint(again, uint64(len(frame))), frame...)
		}
		switch {
		case err == io.EOF:
			if !bytes.Equal(again, stream) {
				t.Fatalf("%x read as frames is %x", stream, again)
			}
		case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, wire.ErrFrame):
			t.Fatalf("untyped error %v", err)
		case !bytes.HasPrefix(stream, again):
			t.Fatalf("%x read as frames begins with %x", stream, again)
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
		var p mmr.Proof
		var rest []byte
		var err error
		boundAllocation(t, len(b), func() { p, rest, err = wire.DecodeProof(b) })
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
}

// seeds adds one in ten of the captured frames that are short, of every kind.
func seeds(f *testing.F, add func(c vectors.Case)) {
	n := 0
	for _, c := range vectors.Captures(f) {
		for _, k := range c.Cases {
			if len(k.Response) > 1000 {
				continue
			}
			if n++; n%10 == 0 {
				add(k)
			}
		}
	}
}
