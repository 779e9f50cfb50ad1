package targets

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/source"
)

// hintTries is how often the places are asked because of one hint: a server may
// tell of a commit a moment before it is signed. The pauses between are 5, 10, 20 ...
// 160 milliseconds.
const hintTries = 7

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
			t, err := s.Target(ctx)
			if err == nil && !t.Same(told) {
				told = t
				fn(t)
			}
			if err == nil && t.End >= hinted.Load() {
				break
			}
			if sleep.For(ctx, 5*time.Millisecond<<try) != nil {
				return
			}
		}
	}
}
