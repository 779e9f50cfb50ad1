package byzantine

import (
	"hash/fnv"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// within is how long a client beside an honest server may take, with room for
	// a busy machine under the race detector.
	within = time.Minute
	// alone is how long a client is left to a server that lies.
	alone = 1200 * time.Millisecond
	// mostHeap bounds the heap of all clients and servers of this package at once.
	mostHeap = 256 << 20
	// atATime is how many behaviours are tested beside each other: they mostly wait.
	atATime = 4
)

// beside runs fn for every behaviour, some at a time.
func beside(t *testing.T, fn func(t *testing.T, w *world, b behaviour)) {
	shared := newWorld(t)
	stop := watchHeap(t)
	defer stop()
	slots := make(chan struct{}, atATime)
	var wg sync.WaitGroup
	for _, b := range behaviours {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(b.name, func(t *testing.T) {
				w := shared
				if b.moving {
					w = newWorld(t)
				}
				fn(t, w, b)
			})
		})
	}
	wg.Wait()
}

// watchHeap fails the test when the heap grows beyond mostHeap until stop is called.
func watchHeap(t testing.TB) (stop func()) {
	done := make(chan struct{})
	var task sync.WaitGroup
	task.Go(func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		peak := uint64(0)
		for {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64())
			select {
			case <-tick.C:
			case <-done:
				t.Logf("heap: at most %d MiB", peak>>20)
				if peak > mostHeap {
					t.Errorf("the heap grew to %d bytes, allowed are %d", peak, mostHeap)
				}
				return
			}
		}
	})
	return func() { close(done); task.Wait() }
}

// seedOf is a seed for a behaviour that its place in the list does not change.
func seedOf(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

func TestBesideAnHonestServerEveryClientCompletes(t *testing.T) {
	beside(t, func(t *testing.T, w *world, b behaviour) {
		for _, honest := range []int64{0, 4} { // answers before the first lie
			bad := sourcetest.Start(t, after(honest, w, b.serve(w, newDice(seedOf(b.name)))))
			// The liar is the faster one, so that it is asked.
			good := sourcetest.Start(t, slowed(2*time.Millisecond, sourcetest.Honest(w.honest)))
			c := newClient(t, w.target(t, w.honest), bad.Addr, good.Addr)
			stop := func() {}
			if b.moving {
				stop = w.move(t, c)
			}
			began := time.Now()
			if !c.follow(t, within) {
				t.Fatalf("not complete after %s\n%s", within, c.logs.tail())
			}
			t.Logf("complete after %s, %d requests to the liar, %d to the honest server", time.Since(began), bad.Data.Load(), good.Data.Load())
			stop()
			if bad.Data.Load() <= honest {
				t.Errorf("the liar was asked %d times", bad.Data.Load())
			}
			if b.moving && !c.follow(t, within) {
				t.Errorf("did not catch up\n%s", c.logs.tail())
			}
			c.inspect(t, w.honest)
		}
	})
}

func TestAloneNobodyMakesAClientWrong(t *testing.T) {
	beside(t, func(t *testing.T, w *world, b behaviour) {
		srv := sourcetest.Start(t, b.serve(w, newDice(seedOf(b.name)+1)))
		c := newClient(t, w.target(t, w.honest), srv.Addr)
		stop := func() {}
		if b.moving {
			stop = w.move(t, c)
		}
		done := c.follow(t, alone)
		// A busy machine takes longer until there is something to notice.
		for began := time.Now(); !done && !b.unnoticed && c.Status().LastError == nil && time.Since(began) < within; {
			done = c.follow(t, alone)
		}
		stop()
		if done && !b.harmless {
			t.Errorf("complete with a server that is never honest\n%s", c.logs.tail())
		}
		if srv.Data.Load() == 0 {
			t.Error("the server was not asked")
		}
		if !done && !b.unnoticed && c.Status().LastError == nil {
			t.Errorf("nothing was noticed\n%s", c.logs.tail())
		}
		srv.Handle(sourcetest.Honest(w.honest))
		srv.Reset()
		if !c.follow(t, within) {
			t.Fatalf("not complete %s after the server became honest\n%s", within, c.logs.tail())
		}
		c.inspect(t, w.honest)
	})
}

// Two clients are told different things by one server: both believe what they
// trust, and nothing else.
func TestSplitViewBetweenClients(t *testing.T) {
	w := newWorld(t)
	honest := sourcetest.Start(t, sourcetest.Honest(w.honest))
	other := sourcetest.Start(t, sourcetest.Honest(w.other))
	a := newClient(t, w.target(t, w.honest), honest.Addr)
	b := newClient(t, w.target(t, w.honest), other.Addr)
	if !a.follow(t, within) {
		t.Fatalf("the client that is told the truth is not complete\n%s", a.logs.tail())
	}
	if b.follow(t, alone) {
		t.Error("the client that is told of another history is complete")
	}
	if b.metric(t, "proofsync_sync_verification_failures_total") == 0 {
		t.Error("nothing was refuted")
	}
	other.Handle(sourcetest.Honest(w.honest))
	if !b.follow(t, within) {
		t.Fatalf("not complete after the server became honest\n%s", b.logs.tail())
	}
	a.inspect(t, w.honest)
	b.inspect(t, w.honest)
}

// move lets the honest log grow faster than it can be followed, and the trusted
// target with it, until stop is called or a second has passed.
func (w *world) move(t testing.TB, c *client) (stop func()) {
	done := make(chan struct{})
	var task sync.WaitGroup
	task.Go(func() {
		end := time.After(time.Second)
		for n := uint64(0); ; n++ {
			sourcetest.Commit(t, w.honest, 5000+n, 1, 20)
			c.src.set(w.target(t, w.honest))
			select {
			case <-done:
				return
			case <-end:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return sync.OnceFunc(func() { close(done); task.Wait() })
}
