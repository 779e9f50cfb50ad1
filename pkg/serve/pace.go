package serve

import (
	"sync"
	"time"
)

const (
	// minPace is what a peer has to accept while replies wait for it, in bytes
	// per second.
	minPace = 64 << 10

	// paceTick is how long a blocked write goes without what it has written
	// being noted. It is well below starvedAfter.
	paceTick = 500 * time.Millisecond
)

// A pace tells how far a peer is behind one that reads minPace bytes a second.
// It knows no credit: what was read fast earlier does not excuse reading slowly.
type pace struct {
	mu  sync.Mutex
	due time.Time // when such a peer would have been this far; zero: nothing waits
}

// begin says that replies wait; it has no effect while others do.
func (p *pace) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.IsZero() {
		p.due = now
	}
}

// end says that none do.
func (p *pace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = time.Time{}
}

// wrote says that the peer has accepted n bytes.
func (p *pace) wrote(n int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = p.due.Add(time.Duration(n) * time.Second / minPace)
	if p.due.After(now) {
		p.due = now
	}
}

// behind is how far the peer is behind; 0 if it is not.
func (p *pace) behind(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.IsZero() {
		return 0
	}
	return now.Sub(p.due)
}
