package targets

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/source"
)

const (
	// hintTries is how often the places are asked because of one hint: a server
	// tells of a commit a moment before it is signed. The pauses between are
	// 2, 4, 8 ... 128 milliseconds.
	hintTries = 8
	// hintWait is how long a place may wait with its answer until there is a newer
	// note. Those that know how to do that need to be asked once.
	hintWait = 250 * time.Millisecond
)

// Follow implements source.Follower. A target that a server pushes is believed as
// little as one that it names: it makes the places be asked, at once, but not more
// often than Options.Rate, however much is pushed.
func (s *Source) Follow(ctx context.Context, fn func(source.Target)) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	var hinted atomic.Uint64 // size of the newest target pushed
	news := make(chan struct{}, 1)
	tasks.Go(func() {
		s.Pool.Follow(ctx, func(t source.Target) {
			hinted.Store(t.End)
			select {
			case news <- struct{}{}:
			default:
			}
		})
	})
	var told source.Target
	for {
		select {
		case <-news:
		case <-ctx.Done():
			return
		}
		s.o.Metrics.hints.Inc()
		for try := range hintTries {
			if s.hints.Wait(ctx) != nil {
				return
			}
			wait := hintWait
			if a, ok := s.known(); ok && a >= hinted.Load() {
				wait = 0
			}
			t, err := s.target(ctx, wait)
			if err == nil && !t.Same(told) {
				told = t
				fn(t)
			}
			if err == nil && t.End >= hinted.Load() {
				break
			}
			if sleep.For(ctx, 2*time.Millisecond<<try) != nil {
				return
			}
		}
	}
}

// known is the size of the newest statement that may be followed, if there is one.
func (s *Source) known() (size uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return 0, false
	}
	return s.newest.Target.End, true
}
