package serve

import (
	"context"
	"sync"
)

// inflight is what one connection has under way: its requests that are admitted and
// not yet written, and the bytes reserved for their replies. One goroutine takes, any
// gives back.
type inflight struct {
	mostRequests int
	mostBytes    int64
	freed        chan struct{} // a token: something was given back

	mu       sync.Mutex
	requests int
	bytes    int64
}

func newInflight(opts *Options) inflight {
	return inflight{mostRequests: opts.MaxRequestsPerConnection, mostBytes: opts.MaxInflightBytes, freed: make(chan struct{}, 1)}
}

// take takes room for the first n of the requests, as many as there is room for. It
// waits until that is at least one, and fails only when ctx ends, with its cause.
func (f *inflight) take(ctx context.Context, all []request) (n int, bytes int64, err error) {
	for {
		if n, bytes = f.tryTake(all); n > 0 {
			return n, bytes, nil
		}
		select {
		case <-f.freed:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
}

func (f *inflight) tryTake(all []request) (n int, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	room := f.mostBytes - f.bytes
	for n < len(all) && f.requests+n < f.mostRequests && bytes+all[n].reserved <= room {
		bytes += all[n].reserved
		n++
	}
	f.requests += n
	f.bytes += bytes
	return n, bytes
}

// giveBack gives back what was taken, or a part of it.
func (f *inflight) giveBack(requests int, bytes int64) {
	f.mu.Lock()
	f.requests -= requests
	f.bytes -= bytes
	f.mu.Unlock()
	select {
	case f.freed <- struct{}{}:
	default:
	}
}

// count is the number of requests.
func (f *inflight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}
