package source

import (
	"context"
	"io"
	"slices"
	"time"
)

// member is a source and what is known of it; the pool's mutex guards it.
type member struct {
	source Source
	name   string
	m      *memberMetrics
	ctx    context.Context // ends when it leaves
	cancel context.CancelFunc

	uses    int       // requests of any kind under way: it cannot go before they end
	ops     int       // requests for operations under way,
	hedges  int       // of which so many were asked of another one as well
	pending float64   // bytes they will probably bring
	since   time.Time // when the first of them was sent
	rate    rate
	asked   uint64 // when it was last asked for a target, in turns

	until       time.Time // in cool-down until then
	slow        int       // times in a row
	lies        int
	lastLie     time.Time
	probation   bool      // it lied, and gave no verified answer since
	verdict     Verdict   // the latest that was not good
	saidAt      time.Time // when its lies were last worth a line
	lieUntil    time.Time // end of the cool-down after the last lie
	behind      uint64    // does not have logs of this size or longer ...
	behindUntil time.Time
}

func (m *member) up(now time.Time) bool { return !m.until.After(now) }

func (m *member) lacks(r Request, now time.Time) bool {
	return r.Size > 0 && r.Size >= m.behind && now.Before(m.behindUntil)
}

// Add puts one more source into the pool, which closes it in the end. Two
// sources of one name are two members, and one in the count of Sources.
func (p *Pool) Add(s Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = closeSource(s)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{source: s, name: s.Name(), m: p.o.Metrics.member(s.Name()), ctx: ctx, cancel: cancel}
	p.members = append(slices.Clip(p.members), m)
	p.membersChanged()
}

// Remove takes the sources of a name out of the pool: they are asked for
// nothing more. What they were asked for may still end well; then they are closed, and
// their metrics deleted.
func (p *Pool) Remove(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var stay []*member // a new slice: others may be looking at the old one
	for _, m := range p.members {
		if m.name != name {
			stay = append(stay, m)
			continue
		}
		m.cancel()
		p.leaving[m] = true
		p.letGo(m)
	}
	p.members = stay
	p.membersChanged()
}

// membersChanged tells those who look at all members. The mutex is held.
func (p *Pool) membersChanged() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// letGo closes a member that leaves once nothing is under way with it. The mutex
// is held.
func (p *Pool) letGo(m *member) {
	if !p.leaving[m] || m.uses > 0 || p.closed {
		return
	}
	delete(p.leaving, m)
	p.tasks.Go(func() {
		_ = closeSource(m.source) // nobody waits for what it says
		if f, ok := m.source.(interface{ forget() }); ok {
			f.forget()
		}
		p.o.Metrics.forget(m.name)
	})
}

func closeSource(s Source) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// all are the members of this moment; the slice is never changed.
func (p *Pool) all() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.members
}
