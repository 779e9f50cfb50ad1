package telemetry

import (
	"fmt"
	"sync"
	"time"
)

// LagGate turns a measured lag into readiness with hysteresis, so that a replica
// near the limit does not flap in and out of a load balancer.
//
//	not ready --lag <= Max/2--> ready        (the first time: lag <= Max)
//	ready --lag > Max for longer than For--> not ready
//
// The zero gate is not ready and refuses any lag.
type LagGate struct {
	Max uint64        // operations
	For time.Duration // patience; 0: at once

	mu    sync.Mutex
	ready bool
	been  bool      // ready before
	above time.Time // since when the lag is above Max; zero when it is not
	lag   uint64
	known bool
}

// Observe records a lag measured now. known is false when it cannot be told (no
// source answers, nothing synced yet); that counts as being above the limit.
func (g *LagGate) Observe(lag uint64, known bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lag, g.known = lag, known
	within := known && lag <= g.Max
	switch {
	case within:
		g.above = time.Time{}
		if !g.been || lag <= g.Max/2 {
			g.ready, g.been = true, true
		}
	case g.above.IsZero():
		g.above = now
		fallthrough
	default:
		if now.Sub(g.above) >= g.For {
			g.ready = false
		}
	}
}

// Check returns nil when ready, otherwise the reason. It is a probe.
func (g *LagGate) Check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ready:
		return nil
	case !g.known:
		return fmt.Errorf("lag unknown, limit %d operations", g.Max)
	case g.lag > g.Max:
		return fmt.Errorf("lag %d operations, limit %d", g.lag, g.Max)
	default:
		return fmt.Errorf("lag %d operations, ready again at %d", g.lag, g.Max/2)
	}
}
