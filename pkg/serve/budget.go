package serve

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// guaranteed is what every connection may hold in replies without taking
	// from the total, in bytes: a target, an error, or a reply of a hundred
	// fixed operations with its proof. It costs MaxConnections times as much.
	guaranteed = 16 << 10

	// starvedAfter is how long a request waits for the total before readers
	// that are at least as far behind are cut off for it.
	starvedAfter = time.Second
	// starvedPoll is how often it looks again from then on.
	starvedPoll = starvedAfter / 4
)

// A budget shares MaxTotalBytes among the connections.
//
// What a connection holds beyond guaranteed counts. It may always have one such
// reply if there is room, and more as long as it holds no more than it leaves
// free: one greedy connection takes half, the next half of the rest. Where
// there is no room, whoever holds least is next and nobody overtakes it; that
// is one that holds nothing which counts. If it waits too long, those that do
// and read slowest are cut off.
type budget struct {
	total int64

	mu      sync.Mutex
	used    int64                 // what the accounts hold beyond guaranteed
	holders map[*account]struct{} // those that hold so much
	waiting []*waiter             // oldest first
}

// An account is the part of a budget that one connection holds.
type account struct {
	behind func(now time.Time) time.Duration // see pace; must not call the budget
	cut    func()                            // ends the connection; called without locks

	// The mutex of the budget guards these.
	held    int64
	leaving bool // cut
}

// A waiter is a request of n bytes that has to wait.
type waiter struct {
	account *account
	n       int64
	granted chan struct{} // closed once the account holds the bytes
}

func newBudget(total int64) *budget {
	return &budget{total: total, holders: make(map[*account]struct{})}
}

// counted is the part of held bytes that counts.
func counted(held int64) int64 { return max(held-guaranteed, 0) }

// cost is what n more bytes of an account take from the total.
func cost(a *account, n int64) int64 { return counted(a.held+n) - counted(a.held) }

// tryAcquire lets a hold n more bytes if it need not wait for them.
func (b *budget) tryAcquire(a *account, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tryAdd(a, n)
}

func (b *budget) tryAdd(a *account, n int64) bool {
	c := cost(a, n)
	ok := c == 0 || len(b.waiting) == 0 && b.fair(a, n) && b.used+c <= b.total
	if ok {
		b.add(a, n)
	}
	return ok
}

// acquire waits until a may hold n more bytes, at most the total. It fails
// only when ctx ends, with its cause. An account waits for one request at a time.
func (b *budget) acquire(ctx context.Context, a *account, n int64) error {
	b.mu.Lock()
	if b.tryAdd(a, n) {
		b.mu.Unlock()
		return nil
	}
	w := &waiter{account: a, n: n, granted: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.grant()
	b.mu.Unlock()

	starved := time.NewTimer(starvedAfter)
	defer starved.Stop()
	for {
		select {
		case <-w.granted:
			return nil
		case <-starved.C:
			b.relieve(w)
			starved.Reset(starvedPoll)
		case <-ctx.Done():
			b.forget(w)
			return context.Cause(ctx)
		}
	}
}

// release gives n bytes back.
func (b *budget) release(a *account, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(a, -n)
	b.grant()
}

// forget takes back a request, granted or not.
func (b *budget) forget(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, w); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	} else {
		b.add(w.account, -w.n)
	}
	b.grant() // others may have waited behind it
}

func (b *budget) add(a *account, n int64) {
	b.used += cost(a, n)
	a.held += n
	if counted(a.held) > 0 {
		b.holders[a] = struct{}{}
	} else {
		delete(b.holders, a)
	}
}

// fair tells whether a may have n more bytes for all it holds already.
func (b *budget) fair(a *account, n int64) bool {
	return counted(a.held) == 0 || counted(a.held+n) <= b.total-b.used-cost(a, n)
}

// next is the request that is served before all others, or nil if every one
// has to wait for its own connection's replies.
func (b *budget) next() *waiter {
	var next *waiter
	for _, w := range b.waiting {
		if (next == nil || w.account.held < next.account.held) && b.fair(w.account, w.n) {
			next = w
		}
	}
	return next
}

// grant serves the requests that fit now.
func (b *budget) grant() {
	for len(b.waiting) > 0 {
		w := b.next()
		if w == nil || b.used+cost(w.account, w.n) > b.total {
			return
		}
		i := slices.Index(b.waiting, w)
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.add(w.account, w.n)
		close(w.granted)
	}
}

// relieve makes room for w if it is next: it cuts off the slowest readers, no
// more of them than it takes.
func (b *budget) relieve(w *waiter) {
	for _, a := range b.slowest(w) {
		a.cut()
	}
}

// slowest picks them. None is picked while those that were are still leaving.
func (b *budget) slowest(w *waiter) []*account {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	missing := b.used + cost(w.account, w.n) - b.total
	if missing <= 0 || b.next() != w {
		return nil
	}
	type slow struct {
		*account
		behind time.Duration
	}
	var readers []slow
	for a := range b.holders {
		if a.leaving {
			missing -= counted(a.held)
		} else if behind := a.behind(now); behind >= starvedAfter {
			readers = append(readers, slow{a, behind})
		}
	}
	slices.SortFunc(readers, func(x, y slow) int { return cmp.Compare(y.behind, x.behind) })
	var picked []*account
	for _, r := range readers {
		if missing <= 0 {
			break
		}
		r.leaving = true
		missing -= counted(r.held)
		picked = append(picked, r.account)
	}
	return picked
}
