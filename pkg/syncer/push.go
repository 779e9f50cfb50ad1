package syncer

import (
	"context"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

// pushes are the targets that sources push (Options.Follow). A pushed target is
// a hint like one that was asked for: it says what to aim at, and is believed
// as little.
type pushes struct {
	s    *Syncer
	news chan struct{} // a token: there may be something worth an iteration

	mu    sync.Mutex
	peers map[string]*pushed
}

// pushed is what one peer pushed. What it says does not hide what others say.
type pushed struct {
	target source.Target // the latest; zero: none, or given up
	at     time.Time     // when it came
	last   wire.Target   // the latest in any case
	muted  time.Time     // not listened to before
}

func newPushes(s *Syncer) *pushes {
	return &pushes{s: s, news: make(chan struct{}, 1), peers: make(map[string]*pushed)}
}

// put takes a pushed target. It does not block.
func (p *pushes) put(t source.Target) {
	if t.Validate() != nil {
		return // a peer's would not have decoded
	}
	p.mu.Lock()
	by := p.peers[t.Peer]
	known := by != nil
	if !known {
		by = new(pushed)
		p.peers[t.Peer] = by
	}
	last, now := by.last, time.Now()
	by.target, by.last, by.at = t, t.Target, now
	muted := now.Before(by.muted)
	p.mu.Unlock()
	if known && !t.Signed && t.Target != last && !continues(t.Target, last) {
		p.s.regressed(t, last)
	}
	if !muted {
		p.s.track.update(func(s *Status) {
			if t.Signed || t.End >= s.Target.End {
				s.Target, s.TargetTime = t.Target, now
			}
		})
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// newest is the newest target of the peers that are listened to that is beyond a log
// of that size and epoch, which only signed targets have. If there is none, wait is how long it takes until there may be; 0: for ever.
func (p *pushes) newest(size, epoch uint64) (t source.Target, ok bool, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, by := range p.peers {
		switch muted := by.muted.Sub(now); {
		case !beyond(by.target, size, epoch):
		case muted > 0:
			if wait == 0 || muted < wait {
				wait = muted
			}
		case !ok || newer(by.target, t):
			t, ok = by.target, true
		}
	}
	return t, ok, wait
}

// beyond says whether t is more than what a log of that size and epoch holds.
func beyond(t source.Target, size, epoch uint64) bool {
	if t.Note != nil && t.Epoch != epoch {
		return t.Epoch > epoch
	}
	return t.End > size
}

// forget gives up t, which could not be completed. Its peer is not listened to
// for as long as passes between two polls: pushing makes no target be tried
// more often than naming it when asked.
func (p *pushes) forget(t source.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	by := p.peers[t.Peer]
	if by == nil {
		return
	}
	if by.target.Same(t) {
		by.target = source.Target{}
	}
	by.muted = time.Now().Add(p.s.o.TargetInterval)
}

// completed observes how long it took until a pushed target was readable.
func (p *pushes) completed(t source.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if by := p.peers[t.Peer]; by != nil && by.target.Same(t) {
		p.s.m.followDuration.Observe(time.Since(by.at).Seconds())
	}
}

// pause waits until it is time for the next iteration: for a pushed target that
// is not readable here, or for SyncInterval at most.
func (s *Syncer) pause(ctx context.Context) error {
	rest := time.NewTimer(s.o.SyncInterval)
	defer rest.Stop()
	for {
		_, ok, wait := s.pushes.newest(s.db.Loads().Size, s.db.Epoch())
		if ok {
			return ctx.Err()
		}
		var unmuted <-chan time.Time
		if wait > 0 {
			unmuted = time.After(wait)
		}
		select {
		case <-rest.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.db.Damaged():
			return ctx.Err()
		case <-unmuted:
		case <-s.pushes.news:
		}
	}
}

// following says whether a source pushes its targets to us now.
func (s *Syncer) following() bool {
	f, ok := s.src.(source.Follower)
	return ok && s.o.Follow && f.Following()
}
