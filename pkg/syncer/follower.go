package syncer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

// follower polls the target while an iteration runs, and remembers the newest.
type follower struct {
	s      *Syncer
	cancel context.CancelFunc
	task   sync.WaitGroup

	mu     sync.Mutex
	latest source.Target
	known  bool
	last   map[string]wire.Target // of each peer that is believed as little as others
	warned bool                   // said that polling fails
}

// follow starts to poll; stop must be called.
func (s *Syncer) follow(ctx context.Context) *follower {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{s: s, cancel: cancel, last: make(map[string]wire.Target)}
	f.task.Go(func() {
		tick := time.NewTicker(s.o.TargetInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			f.mu.Lock()
			known := f.known
			f.mu.Unlock()
			if !known {
				continue // the iteration itself is still asking
			}
			if _, err := f.poll(ctx); err != nil {
				f.failed(err)
			}
		}
	})
	return f
}

func (f *follower) stop() {
	f.cancel()
	f.task.Wait()
}

// poll asks for the target now. A target that is neither the known one nor
// newer is remembered too: it is what the source says, and is judged when the
// known one cannot be completed, or by the next iteration.
func (f *follower) poll(ctx context.Context) (source.Target, error) {
	t, err := f.s.src.Target(ctx)
	if err != nil {
		return t, err
	}
	if err := t.Validate(); err != nil {
		return t, &TargetError{t, err.Error()}
	}
	f.mu.Lock()
	old, known := f.last[t.Peer]
	f.latest, f.known, f.warned = t, true, false
	f.last[t.Peer] = t.Target
	f.mu.Unlock()
	if known && !t.Signed && t.Target != old && !continues(t.Target, old) {
		f.s.regressed(t, old)
	}
	f.s.track.update(func(s *Status) { s.Target, s.TargetTime = t.Target, time.Now() })
	return t, nil
}

// regressed notes a target that is neither the last one of its peer nor newer.
func (s *Syncer) regressed(t source.Target, last wire.Target) {
	s.m.regressions.Inc()
	if s.said.due("regression " + t.Peer) {
		s.log.Warn("source named a target that is not newer than its last one",
			"peer", t.Peer, "target", t.Target, "last", last)
	}
}

// pushed returns the target that was pushed, if there is one that is not
// readable here, as if it had been asked for.
func (f *follower) pushed() (source.Target, bool) {
	t, ok, _ := f.s.pushes.newest(f.s.db.Loads().Size, f.s.db.Epoch())
	if ok {
		f.mu.Lock()
		f.latest, f.known = t, true
		f.mu.Unlock()
	}
	return t, ok
}

// failed says once that polling does not work; the sync goes on without.
func (f *follower) failed(err error) {
	class := classify(err)
	if class == source.Local {
		return // the iteration is over
	}
	f.s.m.failures.WithLabelValues(class.String()).Inc()
	f.mu.Lock()
	warned := f.warned
	f.warned = true
	f.mu.Unlock()
	if target, ok := errors.AsType[*TargetError](err); ok {
		f.s.report(target.Target.Peer, source.VerdictLying)
	}
	if !warned {
		f.s.log.Warn("target not learned, trying again", "error", err)
	}
}

// newest is the newest target, asked for or pushed, and whether it is newer than t.
func (f *follower) newest(t source.Target) (source.Target, bool) {
	f.mu.Lock()
	latest, known := f.latest, f.known
	f.mu.Unlock()
	if p, ok, _ := f.s.pushes.newest(t.End, t.Epoch); ok && !(known && newer(latest, p)) {
		latest, known = p, true
	}
	return latest, known && newer(latest, t)
}

// newer says whether t is to be followed after old.
func newer(t, old source.Target) bool {
	if t.Epoch != old.Epoch {
		return t.Epoch > old.Epoch
	}
	return continues(t.Target, old.Target)
}

// continues says whether t continues old (format.md section 4).
func continues(t, old wire.Target) bool {
	return t.End > old.End && t.Start >= old.Start && t.Root != old.Root
}
