package source

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// hedgeFactor is how many times as long as expected a request may take
	// before a source that has nothing to do is asked as well,
	hedgeFactor = 3
	// hedgeMin the least time before that, and
	hedgeMin = 25 * time.Millisecond
	// hedgeFirst the time where nobody knows what to expect.
	hedgeFirst = 500 * time.Millisecond
	// hedgeShare is how many second requests there are for each first one, at
	// most, and hedgeBurst how many may be saved up. So they come at the end, where
	// a few requests hold up everything, and cost next to nothing.
	hedgeShare = 1.0 / 32
	hedgeBurst = 16
	hedgeStart = 4
	// hedgeWidth is how many second requests a source has under way at most.
	hedgeWidth = 8
)

// ask sends a request to the chosen member by try, and to one more if that takes
// too long. The first good answer counts: the other request is called off, and what
// it brought all the same is dropped. Both have ended when ask returns.
func ask[T any](ctx context.Context, p *Pool, j *job, first *use, try func(context.Context, Source) (T, int, error), drop func(T)) (T, error) {
	j.tried = append(j.tried, first.m)
	if !p.mayHedge(j) {
		v, n, err := try(ctx, first.m.source)
		p.settle(first, j, n, err, false)
		return v, err
	}
	ctx1, stop1 := context.WithCancel(ctx)
	defer stop1()
	ctx2, stop2 := context.WithCancel(ctx)
	defer stop2()
	var (
		begun  atomic.Bool // by whoever is first: the second request, or the end of the first
		ended  = make(chan struct{})
		second *use
		v2     T
		n2     int
		err2   error
	)
	timer := time.AfterFunc(patience(j), func() {
		defer close(ended)
		u := p.spare(ctx2, j, first.m)
		if u == nil {
			return
		}
		if !begun.CompareAndSwap(false, true) {
			p.settle(u, j, 0, context.Canceled, false) // the answer is there
			return
		}
		second = u
		if v2, n2, err2 = try(ctx2, u.m.source); err2 == nil {
			stop1()
		}
	})
	v1, n1, err1 := try(ctx1, first.m.source)
	if err1 == nil || begun.CompareAndSwap(false, true) {
		stop2()
	}
	if !timer.Stop() {
		<-ended
	}
	won := second != nil && err1 != nil && err2 == nil
	p.settle(first, j, n1, err1, won && ctx.Err() == nil)
	if second != nil {
		j.hedged = true
		j.tried = append(j.tried, second.m)
		p.settle(second, j, n2, err2, false)
		p.hedged(second, won)
	}
	switch {
	case won:
		return v2, nil
	case err1 == nil && second != nil && err2 == nil:
		drop(v2)
	}
	return v1, err1
}

// mayHedge says whether there could be a second source to ask. What is asked of
// one source by a guess is nobody else's business.
func (p *Pool) mayHedge(j *job) bool {
	return !j.hedged && j.r.Codec == nil && len(p.all()) > len(j.tried)
}

// patience is how long to wait for the first source alone.
func patience(j *job) time.Duration {
	if j.expected == 0 || j.target {
		return hedgeFirst
	}
	return max(hedgeMin, min(hedgeFactor*j.expected, time.Hour))
}

// spare waits until there is a source to ask as well, and begins. It returns
// none when ctx ends.
func (p *Pool) spare(ctx context.Context, j *job, first *member) *use {
	for {
		p.mu.Lock()
		u, idle := p.second(j, first), p.idle
		if u == nil {
			p.overdue++
		}
		p.mu.Unlock()
		if u != nil {
			return u
		}
		select {
		case <-idle:
		case <-ctx.Done():
		}
		p.mu.Lock()
		p.overdue--
		p.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// second picks the second source, one that does nothing else than this. The
// mutex is held.
func (p *Pool) second(j *job, first *member) *use {
	if p.tokens < 1 {
		return nil
	}
	now := time.Now()
	usual := p.usualRate()
	var best *member
	for _, m := range p.members {
		switch {
		case m == first || slices.Contains(j.tried, m) || !m.up(now) || m.lacks(j.r, now) || m.probation:
		case !j.target && (m.ops > m.hedges || m.hedges >= hedgeWidth):
		case best == nil || m.expect(now, j.bytes, usual) < best.expect(now, j.bytes, usual):
			best = m
		}
	}
	if best == nil {
		return nil
	}
	p.tokens--
	return p.begin(j, best, now, true)
}

// earn saves up for second requests. The mutex is held.
func (p *Pool) earn() { p.tokens = min(hedgeBurst, p.tokens+hedgeShare) }

// becameIdle wakes those who wait for a source that has nothing to do. The mutex
// is held.
func (p *Pool) becameIdle() {
	if p.overdue > 0 {
		close(p.idle)
		p.idle = make(chan struct{})
	}
}

// hedged counts a second request.
func (p *Pool) hedged(u *use, won bool) {
	if won {
		u.m.m.hedgesWon.Inc()
	} else {
		u.m.m.hedgesLost.Inc()
	}
}
