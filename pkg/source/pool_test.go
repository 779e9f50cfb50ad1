package source_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

// fake is a source whose behaviour is a function.
type fake struct {
	name string
	do   func(ctx context.Context, r source.Request) error

	mu           sync.Mutex
	asked        []time.Time
	disconnected int
}

func (f *fake) Name() string { return f.name }

func (f *fake) Target(ctx context.Context) (source.Target, error) {
	_, err := f.Operations(ctx, source.Request{})
	return source.Target{Peer: f.name}, err
}

func (f *fake) Operations(ctx context.Context, r source.Request) (*source.Answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Now())
	f.mu.Unlock()
	if f.do != nil {
		if err := f.do(ctx, r); err != nil {
			return nil, err
		}
	}
	return &source.Answer{Peer: f.name, Bytes: 1000}, nil
}

func (f *fake) Disconnect(error) { f.disconnected++ }

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func failing(err error) func(context.Context, source.Request) error {
	return func(context.Context, source.Request) error { return err }
}

func TestLiarCoolsDownLongerEachTimeAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		liar, honest := &fake{name: "liar"}, &fake{name: "honest"}
		p := source.NewPool([]source.Source{liar, honest}, source.PoolOptions{})
		var last time.Duration
		for range 6 {
			p.Report("liar", source.VerdictLying)
			p.Report("liar", source.VerdictLying) // was under way together with the first
			began, n := time.Now(), liar.count()
			for liar.count() == n {
				if _, err := p.Operations(t.Context(), source.Request{Peer: "liar"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			d := time.Since(began)
			if d < 2*time.Second || d < 2*last-time.Second {
				t.Errorf("cool-down of %s after one of %s", d, last)
			}
			last = d
		}
		if liar.disconnected != 6 {
			t.Errorf("connection dropped %d times", liar.disconnected)
		}
	})
}

func TestSoleSourceIsNeverShutOutForMoreThanTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		only := &fake{name: "only"}
		p := source.NewPool([]source.Source{only}, source.PoolOptions{})
		verdicts := []source.Verdict{source.VerdictLying, source.VerdictSlow, source.VerdictDiverged}
		for i := range 60 {
			p.Report("only", verdicts[i%3])
			began := time.Now()
			if _, err := p.Operations(t.Context(), source.Request{}); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > 2*time.Second {
				t.Fatalf("asked again after %s", d)
			}
		}
	})
}

func TestLastUsableSourceIsNotBannedWhenAllMisbehave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{name: "a"}, &fake{name: "b"}
		p := source.NewPool([]source.Source{a, b}, source.PoolOptions{})
		for range 20 {
			p.Report("a", source.VerdictLying)
			p.Report("b", source.VerdictLying)
			began := time.Now()
			if _, err := p.Target(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > 2*time.Second {
				t.Fatalf("nobody was asked for %s", d)
			}
		}
	})
}

func TestPoolAsksTheNextSource(t *testing.T) {
	refused := &source.RefusedError{Code: wire.Database}
	for name, c := range map[string]struct {
		err  error
		next bool // another source is asked
	}{
		"timeout":     {&source.TimeoutError{}, true},
		"unreachable": {&source.UnreachableError{Err: errors.New("gone")}, true},
		"offence":     {&source.ProtocolError{}, true},
		"refusal":     {refused, true},
		"too large":   {&source.TooLargeError{}, false},
		"local":       {errors.New("local"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := &fake{name: "bad", do: failing(c.err)}
				good := &fake{name: "good"}
				p := source.NewPool([]source.Source{bad, good}, source.PoolOptions{})
				a, err := p.Operations(t.Context(), source.Request{Size: 9, Peer: "bad"})
				switch {
				case c.next && (err != nil || a.Peer != "good"):
					t.Errorf("got %v, expected the good one's answer", err)
				case !c.next && !errors.Is(err, c.err):
					t.Errorf("got %v, expected %v", err, c.err)
				}
			})
		})
	}
}

func TestPoolReturnsTheLastErrorWhenNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{name: "a", do: failing(&source.TimeoutError{})}
		b := &fake{name: "b", do: failing(&source.TimeoutError{})}
		p := source.NewPool([]source.Source{a, b}, source.PoolOptions{})
		if _, err := p.Target(t.Context()); !errors.Is(err, source.ErrTimeout) {
			t.Errorf("got %v", err)
		}
		if a.count() != 1 || b.count() != 1 {
			t.Errorf("asked %d and %d times, expected once each", a.count(), b.count())
		}
	})
}

func TestNobodyIsAskedForWhatNobodyWaitsFor(t *testing.T) {
	a, b := &fake{name: "a"}, &fake{name: "b"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, sources := range [][]source.Source{{a}, {a, b}} {
		p := source.NewPool(sources, source.PoolOptions{})
		if _, err := p.Target(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := p.Operations(ctx, source.Request{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if a.count()+b.count() != 0 {
		t.Errorf("asked %d times", a.count()+b.count())
	}
}

func TestSourceThatLacksASizeIsNotAskedForItWhileAnotherMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lagging := &fake{name: "lagging", do: func(_ context.Context, r source.Request) error {
			time.Sleep(time.Millisecond)
			if r.Size > 100 {
				return &source.RefusedError{Code: wire.Database}
			}
			return nil
		}}
		full := &fake{name: "full", do: func(context.Context, source.Request) error { time.Sleep(time.Millisecond); return nil }}
		p := source.NewPool([]source.Source{lagging, full}, source.PoolOptions{})
		for range 10 {
			if _, err := p.Operations(t.Context(), source.Request{Size: 200}); err != nil {
				t.Fatal(err)
			}
		}
		if lagging.count() > 1 {
			t.Errorf("asked %d times for what it does not have", lagging.count())
		}
		for range 10 {
			p.Operations(t.Context(), source.Request{Size: 50})
		}
		if lagging.count() < 5 {
			t.Errorf("asked %d times for what it has", lagging.count())
		}
	})
}

func TestBackoffGrowsAndStaysWithinTwoSeconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<30).Draw(t, "failures")
		d := source.Backoff(n)
		if d < 25*time.Millisecond || d > 2*time.Second {
			t.Fatalf("%s after %d failures", d, n)
		}
		if n > 6 && d < time.Second {
			t.Fatalf("only %s after %d failures", d, n)
		}
	})
	if source.Backoff(0) != 0 {
		t.Error("a pause without a failure")
	}
}

func TestSourcesOfOneNameAreOne(t *testing.T) {
	var g source.Group = source.NewPool([]source.Source{&fake{name: "a"}, &fake{name: "b"}, &fake{name: "a"}}, source.PoolOptions{})
	if n := g.Sources(); n != 2 {
		t.Errorf("%d sources", n)
	}
}
