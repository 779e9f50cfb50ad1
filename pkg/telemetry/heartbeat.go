package telemetry

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Heartbeat shows that goroutines are still scheduled: Run beats, Check looks
// at the time of the last beat. It depends on nothing but the process itself.
type Heartbeat struct {
	interval time.Duration
	limit    time.Duration
	start    time.Time
	last     atomic.Int64 // nanoseconds since start
}

// NewHeartbeat returns a heartbeat that beats every interval and counts as
// stopped when the last beat is older than limit.
func NewHeartbeat(interval, limit time.Duration) *Heartbeat {
	return &Heartbeat{interval: interval, limit: limit, start: time.Now()}
}

// Run beats until ctx ends.
func (h *Heartbeat) Run(ctx context.Context) {
	tick := time.NewTicker(h.interval)
	defer tick.Stop()
	for {
		h.last.Store(int64(time.Since(h.start)))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Check returns an error when the heart has stopped. It is a probe.
func (h *Heartbeat) Check() error {
	if age := time.Since(h.start) - time.Duration(h.last.Load()); age > h.limit {
		return fmt.Errorf("no heartbeat for %s, limit %s", age.Round(time.Millisecond), h.limit)
	}
	return nil
}
