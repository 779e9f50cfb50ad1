package syncer

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

var bothEncodings = []operation.Codec{
	operation.NewCodec(operation.Any, operation.Fixed),
	operation.NewCodec(operation.Any, operation.Variable),
}

func TestWindowKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			BatchSize:        rapid.IntRange(1, 10000).Draw(t, "batch"),
			MaxOutstanding:   rapid.IntRange(1, 300).Draw(t, "outstanding"),
			MaxInflightBytes: rapid.Int64Range(1, 64<<20).Draw(t, "bytes"),
		}
		codec := rapid.SampledFrom(bothEncodings).Draw(t, "codec")
		w := newWindow(codec, o)
		type flying struct {
			reservation
			n uint64
		}
		var out []flying
		var held []int64
		var most int64 // largest urgent overdraft allowed: one answer
		now := time.Unix(0, 0)
		draw := func() flying {
			i := rapid.IntRange(0, len(out)-1).Draw(t, "request")
			f := out[i]
			out = append(out[:i], out[i+1:]...)
			return f
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				n := w.operations()
				if n < 1 || n > uint64(o.BatchSize) {
					t.Fatalf("requests of %d operations, at most %d", n, o.BatchSize)
				}
				urgent := len(out) == 0 && len(held) == 0
				r, ok := w.reserve(1<<20, n, urgent)
				if urgent && !ok {
					t.Fatal("nothing is under way, and nothing may be asked for")
				}
				if !ok {
					return
				}
				if r.frame > wire.MaxFrame+4 || r.frame <= 0 {
					t.Fatalf("room for an answer of %d bytes", r.frame)
				}
				if urgent {
					most = max(most, r.bytes)
				}
				out = append(out, flying{r, n})
			},
			"answer": func(t *rapid.T) {
				if len(out) == 0 {
					t.Skip()
				}
				f := draw()
				got := rapid.Uint64Range(1, f.n).Draw(t, "got")
				frame := rapid.IntRange(1, f.frame).Draw(t, "frame")
				held = append(held, w.answered(f.reservation, f.n, got, frame))
			},
			"apply": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip()
				}
				w.release(held[0])
				w.applied()
				held = held[1:]
			},
			"too large": func(t *rapid.T) {
				if len(out) == 0 {
					t.Skip()
				}
				f := draw()
				w.failed(f.reservation)
				w.tooLarge(f.n, rapid.IntRange(f.frame, wire.MaxFrame+4).Draw(t, "bytes"))
			},
			"slow": func(t *rapid.T) {
				if len(out) == 0 {
					t.Skip()
				}
				w.failed(draw().reservation)
				now = now.Add(time.Second)
				w.slow(now, now)
			},
			"": func(t *rapid.T) {
				if w.inFlight != len(out) || w.inFlight > o.MaxOutstanding {
					t.Fatalf("%d in flight, counted %d, at most %d", len(out), w.inFlight, o.MaxOutstanding)
				}
				var sum int64
				for _, f := range out {
					sum += f.bytes
				}
				for _, b := range held {
					sum += b
				}
				if sum != w.used {
					t.Fatalf("%d bytes used, counted %d", sum, w.used)
				}
				if w.used > o.MaxInflightBytes+most {
					t.Fatalf("%d bytes used of %d", w.used, o.MaxInflightBytes)
				}
			},
		})
	})
}

func TestWindowAdaptsToTheSource(t *testing.T) {
	o := Options{BatchSize: 1000, MaxOutstanding: 64, MaxInflightBytes: 32 << 20}
	w := newWindow(bothEncodings[0], o)
	// exchange asks and is answered by a server with a cap.
	exchange := func(limit uint64) {
		n := w.operations()
		r, ok := w.reserve(1<<30, n, true)
		if !ok {
			t.Fatal("nothing may be asked for")
		}
		w.release(w.answered(r, n, min(n, limit), 1000))
	}
	exchange(100)
	if n := w.operations(); n != 100 {
		t.Errorf("after an answer of 100, %d operations are asked for", n)
	}
	for range 5000 {
		exchange(1000)
	}
	if w.operations() != 1000 || w.limit != 64 {
		t.Errorf("never opened again: %d operations, %d requests", w.operations(), w.limit)
	}
	t0 := time.Unix(100, 0)
	w.slow(t0, t0.Add(time.Second))
	w.slow(t0, t0.Add(time.Second)) // was under way with the first
	if w.operations() != 500 || w.limit != 32 {
		t.Errorf("after a timeout: %d operations, %d requests", w.operations(), w.limit)
	}
}

func TestWindowMakesRoomForWhatWasTooLarge(t *testing.T) {
	w := newWindow(bothEncodings[1], Options{BatchSize: 100, MaxOutstanding: 4, MaxInflightBytes: 1 << 20})
	const operation = 5 << 20 // bytes, above the budget
	for tries := 0; ; tries++ {
		n := w.operations()
		r, ok := w.reserve(1<<20, n, true)
		if !ok || tries > 10 {
			t.Fatalf("gave up after %d tries", tries)
		}
		if need := int(n) * operation; need > r.frame {
			w.failed(r)
			w.tooLarge(n, min(need, wire.MaxFrame))
			continue
		}
		return
	}
}

func TestChooseTheWayToATarget(t *testing.T) {
	fresh := database.LoadState{}
	published := database.LoadState{Published: true, Start: 10, Size: 100, Stored: 120}
	staged := published
	staged.Staged, staged.StagedStart, staged.StagedEnd = true, 200, 250
	target := func(start, end uint64) wire.Target { return wire.Target{Start: start, End: end} }
	for _, c := range []struct {
		name string
		l    database.LoadState
		t    wire.Target
		want action
	}{
		{"nothing there", fresh, target(0, 5), stage},
		{"same size", published, target(10, 100), compare},
		{"smaller", published, target(10, 50), compare},
		{"smaller than what is retained", published, target(0, 10), behind},
		{"larger", published, target(20, 200), extend},
		{"larger, from where it is stored", published, target(120, 200), extend},
		{"moved past what is stored", published, target(121, 200), stage},
		{"larger, within what is stored", published, target(20, 110), extend},
		{"staged goes on", staged, target(220, 300), continueStaged},
		{"staged is complete", staged, target(220, 250), continueStaged},
		{"moved past the staged", staged, target(251, 300), stage},
		{"staged goes beyond", staged, target(100, 240), extend},
		{"staged begins too late", staged, target(110, 300), extend},
		{"staged begins too late, nothing else fits", staged, target(150, 300), stage},
		{"not even past the published", staged, target(10, 100), compare},
	} {
		if got := choose(c.l, c.t); got != c.want {
			t.Errorf("%s: %s, expected %s", c.name, got, c.want)
		}
	}
	if got := chooseAnew(staged, target(10, 90)); got != stage {
		t.Errorf("rebuild: %s", got)
	}
	if got := chooseAnew(staged, target(210, 300)); got != continueStaged {
		t.Errorf("rebuild goes on: %s", got)
	}
}
