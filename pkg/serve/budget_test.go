package serve

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// reader is an account whose connection is behind and may be cut off.
func reader(behind time.Duration) (a *account, cut *atomic.Int32) {
	cut = new(atomic.Int32)
	return &account{behind: func(time.Time) time.Duration { return behind }, cut: func() { cut.Add(1) }}, cut
}

func acquire(t *testing.T, b *budget, a *account, n int64) {
	t.Helper()
	if err := b.acquire(t.Context(), a, n); err != nil {
		t.Fatal(err)
	}
}

const unit = 1 << 20

func TestSlowestReadersMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = unit - guaranteed/4
		b := newBudget(4*unit - guaranteed)
		var readers []*account
		var cuts []*atomic.Int32
		for _, behind := range []time.Duration{time.Second, 3 * time.Second, 0, 2 * time.Second} {
			a, cut := reader(behind)
			acquire(t, b, a, each)
			readers, cuts = append(readers, a), append(cuts, cut)
		}
		newcomer, _ := reader(time.Hour)
		done := make(chan error, 1)
		began := time.Now()
		go func() { done <- b.acquire(t.Context(), newcomer, 2*unit) }()
		time.Sleep(10 * time.Second) // those cut take their time to leave
		for i, want := range []int32{0, 1, 0, 1} {
			if got := cuts[i].Load(); got != want {
				t.Errorf("reader %d cut off %d times, want %d", i, got, want)
			}
		}
		b.release(readers[1], each)
		b.release(readers[3], each)
		if err := <-done; err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("granted after %v: %v", time.Since(began), err)
		}
	})
}

func TestNobodyIsCutForWhoHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(2 * unit)
		a, cutA := reader(time.Hour)
		c, cutC := reader(time.Hour)
		acquire(t, b, a, unit)
		acquire(t, b, c, unit)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.acquire(ctx, a, unit); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire: %v", err)
		}
		if cutA.Load()+cutC.Load() != 0 {
			t.Error("a reader was cut off")
		}
	})
}

func TestGreedyConnectionLeavesHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(16 * unit)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a, _ := reader(0)
		for b.acquire(ctx, a, unit) == nil {
		}
		if a.held != 8*unit {
			t.Errorf("it got %d bytes, want half of %d", a.held, b.total)
		}
	})
}

func TestWhoHoldsLeastIsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(8 * unit)
		big, _ := reader(0)
		other, _ := reader(0)
		newcomer, _ := reader(0)
		acquire(t, b, big, unit)
		acquire(t, b, other, 6*unit)
		served := make(chan string, 2)
		wait := func(name string, a *account, n int64) {
			go func() {
				if b.acquire(context.Background(), a, n) == nil {
					served <- name
				}
			}()
			synctest.Wait()
		}
		wait("big", big, unit/2)           // for its share
		wait("newcomer", newcomer, 3*unit) // for room
		want := func(release *account, n int64, names ...string) {
			t.Helper()
			b.release(release, n)
			synctest.Wait()
			var got []string
			for len(served) > 0 {
				got = append(got, <-served)
			}
			if !slices.Equal(got, names) {
				t.Errorf("served %v, want %v", got, names)
			}
		}
		want(other, unit) // would do for the one that waits longer
		want(other, unit, "newcomer")
		want(other, 2*unit, "big")
	})
}

// Whatever connections do: the sums are right, the total is kept, and a
// request waits only for lack of room or of its share.
func TestBudgetInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBudget(rapid.Int64Range(1, 20*guaranteed).Draw(t, "total"))
		accounts := make([]*account, rapid.IntRange(1, 5).Draw(t, "accounts"))
		waits := make([]*waiter, len(accounts))
		for i := range accounts {
			accounts[i], _ = reader(0)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(accounts)-1).Draw(t, "account")
			a := accounts[i]
			switch {
			case waits[i] != nil && rapid.Bool().Draw(t, "give up"):
				b.forget(waits[i])
			case a.held > 0 && rapid.Bool().Draw(t, "release"):
				b.release(a, rapid.Int64Range(1, a.held).Draw(t, "n"))
			case waits[i] == nil:
				w := &waiter{account: a, n: rapid.Int64Range(1, b.total).Draw(t, "n"), granted: make(chan struct{})}
				waits[i] = w
				b.waiting = append(b.waiting, w)
				b.grant()
			}
			var used int64
			for i, a := range accounts {
				if a.held < 0 {
					t.Fatalf("account %d holds %d", i, a.held)
				}
				used += counted(a.held)
				if w := waits[i]; w != nil && !slices.Contains(b.waiting, w) {
					waits[i] = nil
				}
			}
			if used != b.used || used > b.total {
				t.Fatalf("%d used, %d counted, total %d", used, b.used, b.total)
			}
			if w := b.next(); w != nil && b.used+cost(w.account, w.n) <= b.total {
				t.Fatal("a request waits that fits")
			}
			if used == 0 && len(b.waiting) > 0 {
				t.Fatal("requests wait for nothing")
			}
		}
	})
}
