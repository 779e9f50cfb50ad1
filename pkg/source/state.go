package source

import "time"

// SourceState is how things stand with one source.
type SourceState struct {
	Name      string
	Connected bool
	Following bool          // it pushes new targets
	CoolDown  time.Duration // what is left of it; 0: none
	LastError string        // since its last good answer; empty: none
	InFlight  int           // requests for operations under way
	// Throughput is what it was measured to deliver, in bytes per second, while
	// it had something to do; 0: not measured.
	Throughput float64
}

// State is how things stand with the peer; a Peer alone knows no cool-down.
func (p *Peer) State() SourceState {
	p.mu.Lock()
	c, last := p.conn, p.lastError
	p.mu.Unlock()
	s := SourceState{Name: p.name, Connected: c != nil, Following: c != nil && c.following()}
	if last != nil {
		s.LastError = last.Error()
	}
	return s
}

// States tells how things stand with each member, in their order.
func (p *Pool) States() []SourceState {
	members := p.all()
	states := make([]SourceState, len(members))
	for i, m := range members {
		s := SourceState{Name: m.name}
		if peer, ok := m.source.(interface{ State() SourceState }); ok {
			s = peer.State()
		}
		p.mu.Lock()
		s.CoolDown = max(0, time.Until(m.until))
		s.InFlight, s.Throughput = m.ops, m.rate.measured()
		if s.LastError == "" && s.CoolDown > 0 {
			s.LastError = "found to be " + m.verdict.String()
		}
		p.mu.Unlock()
		states[i] = s
	}
	return states
}

// coolDownOf is what is left of a member's cool-down.
func (p *Pool) coolDownOf(m *member) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, time.Until(m.until))
}
