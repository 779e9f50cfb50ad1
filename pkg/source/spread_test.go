package source_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/source"
)

// line is a source that sends one answer after the other, each in the time of pace.
type line struct {
	fake
	pace time.Duration
	busy chan struct{} // room for one
}

func newLine(name string, pace time.Duration) *line {
	return &line{fake: fake{name: name}, pace: pace, busy: make(chan struct{}, 1)}
}

func (l *line) Operations(ctx context.Context, r source.Request) (*source.Answer, error) {
	l.mu.Lock()
	l.asked = append(l.asked, time.Now())
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.busy <- struct{}{}
		defer func() { <-l.busy }()
		l.mu.Lock()
		pace := l.pace
		l.mu.Unlock()
		time.Sleep(pace)
	}()
	select {
	case <-done:
		return source.AnswerOf(l.name, 1000, nil), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *line) setPace(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace = d
}

// load asks p for n requests, so many at a time, and says how long that took.
func load(t *testing.T, p *source.Pool, n, atATime int) time.Duration {
	t.Helper()
	took, _ := loadAndWait(t, p, n, atATime)
	return took
}

// loadAndWait is load, and says how long the longest request took.
func loadAndWait(t *testing.T, p *source.Pool, n, atATime int) (took, longest time.Duration) {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	todo := make(chan struct{}, n)
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	for range atATime {
		wg.Go(func() {
			for range todo {
				sent := time.Now()
				a, err := p.Operations(t.Context(), source.Request{Size: 10, Max: 1})
				if err != nil {
					t.Error(err)
					return
				}
				a.Release()
				mu.Lock()
				longest = max(longest, time.Since(sent))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return time.Since(began), longest
}

func TestRequestsAreSpreadByMeasuredThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, slow := newLine("fast", 10*time.Millisecond), newLine("slow", 100*time.Millisecond)
		p := source.NewPool([]source.Source{slow, fast}, source.PoolOptions{})
		took := load(t, p, 2000, 32)
		// Alone the fast one takes 20 s, together 2000/110 = 18.2 s.
		if took > 20*time.Second {
			t.Errorf("took %s, longer than the fast source alone", took)
		}
		if n := slow.count(); n < 100 || n > 300 {
			t.Errorf("%d of 2000 requests to a source of a tenth of the other's speed", n)
		}
		// 32 requests under way at 110 a second: nothing should have to wait for much
		// longer, at neither of them.
		if _, longest := loadAndWait(t, p, 1000, 32); longest > time.Second {
			t.Errorf("one request took %s", longest)
		}
		time.Sleep(time.Minute) // what was called off ends
	})
}

func TestSlowSourceIsBypassedAndFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, odd := newLine("fast", 10*time.Millisecond), newLine("odd", 10*time.Millisecond)
		p := source.NewPool([]source.Source{odd, fast}, source.PoolOptions{})
		load(t, p, 1000, 8)
		if n := odd.count(); n < 400 {
			t.Errorf("%d of 1000 requests to one of two equals", n)
		}
		odd.setPace(2 * time.Second)
		load(t, p, 1000, 8) // takes it some time to be found out
		before := odd.count()
		if took := load(t, p, 1000, 8); took > 12*time.Second {
			t.Errorf("took %s with one source that does 100 a second", took)
		}
		if n := odd.count() - before; n > 50 {
			t.Errorf("%d of 1000 requests to a source that is of no use", n)
		}
		for _, s := range p.States() {
			if s.CoolDown > 0 {
				t.Errorf("%s is in cool-down for being slow", s.Name)
			}
		}
		odd.setPace(10 * time.Millisecond)
		time.Sleep(10 * time.Minute) // what was asked of it is over
		load(t, p, 200, 8)
		before = odd.count()
		load(t, p, 1000, 8)
		if n := odd.count() - before; n < 300 {
			t.Errorf("%d of 1000 requests to a source that recovered", n)
		}
		time.Sleep(time.Minute)
	})
}

func TestLateRequestIsSentToAnIdleSourceAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLine("a", 10*time.Millisecond), newLine("b", 10*time.Millisecond)
		p := source.NewPool([]source.Source{a, b}, source.PoolOptions{})
		load(t, p, 200, 4)
		a.setPace(time.Hour)
		b.setPace(time.Hour)
		began := time.Now()
		r := source.Request{Size: 10, Max: 1, Peer: "a"}
		go func() { time.Sleep(time.Millisecond); b.setPace(10 * time.Millisecond) }()
		got, err := p.Operations(t.Context(), r)
		if err != nil || got.Peer != "b" {
			t.Fatalf("answered by %v, %v", got, err)
		}
		if d := time.Since(began); d > 200*time.Millisecond {
			t.Errorf("waited for the slow source for %s", d)
		}
		for _, s := range p.States() {
			if s.InFlight != 0 || s.CoolDown != 0 || s.LastError != "" {
				t.Errorf("left behind: %+v", s)
			}
		}
		time.Sleep(2 * time.Hour)
	})
}

// deaf answers after a while, whether or not somebody is still waiting.
type deaf struct {
	fake
	after          time.Duration
	made, released int
}

func (d *deaf) Operations(context.Context, source.Request) (*source.Answer, error) {
	time.Sleep(d.after)
	d.made++
	return source.AnswerOf(d.name, 1000, func() { d.released++ }), nil
}

func TestAnswerThatIsNotNeededIsReleased(t *testing.T) {
	for name, second := range map[string]time.Duration{"second comes first": 50 * time.Millisecond, "second comes late": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &deaf{fake: fake{name: "a"}, after: 600 * time.Millisecond}
				b := &deaf{fake: fake{name: "b"}, after: second}
				p := source.NewPool([]source.Source{a, b}, source.PoolOptions{})
				got, err := p.Operations(t.Context(), source.Request{Size: 10, Max: 1, Peer: "a"})
				if err != nil || a.made != 1 || b.made != 1 {
					t.Fatalf("%d and %d answers, %v", a.made, b.made, err)
				}
				if n := a.released + b.released; n != 1 {
					t.Errorf("%d of two answers released before the one that counts", n)
				}
				got.Release()
				if a.released != 1 || b.released != 1 {
					t.Errorf("released %d and %d times", a.released, b.released)
				}
			})
		})
	}
}

func TestSecondRequestsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLine("a", 10*time.Millisecond), newLine("b", 10*time.Millisecond)
		p := source.NewPool([]source.Source{a, b}, source.PoolOptions{})
		load(t, p, 500, 4)
		a.setPace(time.Second)
		const n = 1000
		before := a.count() + b.count()
		for range n { // every one of them is late
			got, err := p.Operations(t.Context(), source.Request{Size: 10, Max: 1, Peer: "a"})
			if err != nil {
				t.Fatal(err)
			}
			got.Release()
		}
		if extra := a.count() + b.count() - before - n; extra > n/32+16 || extra < n/64 {
			t.Errorf("%d second requests for %d first ones", extra, n)
		}
		time.Sleep(time.Minute)
	})
}

func TestFailureOfASecondRequestIsNotTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &fake{name: "late", do: func(context.Context, source.Request) error { time.Sleep(2 * time.Second); return nil }}
		bad := &fake{name: "bad", do: failing(&source.UnreachableError{Peer: "bad", Err: errors.New("gone")})}
		p := source.NewPool([]source.Source{late, bad}, source.PoolOptions{})
		a, err := p.Operations(t.Context(), source.Request{Size: 9, Peer: "late"})
		if err != nil || a.Peer != "late" {
			t.Fatalf("got %v, %v", a, err)
		}
		if bad.count() != 1 {
			t.Errorf("the other source was asked %d times", bad.count())
		}
	})
}

func TestGuessesAreSentToOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &fake{name: "late", do: func(context.Context, source.Request) error { time.Sleep(4 * time.Second); return nil }}
		other := &fake{name: "other"}
		p := source.NewPool([]source.Source{late, other}, source.PoolOptions{})
		if _, err := p.Operations(t.Context(), source.Request{Size: 9, Peer: "late", Codec: &anyFixed}); err != nil {
			t.Fatal(err)
		}
		if other.count() != 0 {
			t.Error("another source was asked what was a guess about this one")
		}
	})
}

func TestSourceThatLiedProvesItselfByOneRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLine("a", 10*time.Millisecond), newLine("b", 10*time.Millisecond)
		p := source.NewPool([]source.Source{a, b}, source.PoolOptions{})
		load(t, p, 100, 8)
		p.Report("a", source.VerdictLying)
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if _, err := p.Operations(t.Context(), source.Request{Size: 10, Max: 1}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Millisecond)
		most := p.States()[0].InFlight
		wg.Wait()
		if most != 1 {
			t.Errorf("%d requests under way with a source that has to prove itself", most)
		}
		p.Report("a", source.VerdictGood)
		before := a.count()
		load(t, p, 400, 8)
		if n := a.count() - before; n < 100 {
			t.Errorf("%d of 400 requests to a source that proved itself", n)
		}
	})
}

func TestTargetsAreAskedOfAllInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fake{name: "a"}, &fake{name: "b"}, &fake{name: "c"}
		p := source.NewPool([]source.Source{a, b, c}, source.PoolOptions{})
		for range 30 {
			if _, err := p.Target(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if a.count() != 10 || b.count() != 10 || c.count() != 10 {
			t.Errorf("asked %d, %d and %d times", a.count(), b.count(), c.count())
		}
	})
}
