package source

import "time"

// SourceState is how things stand with one source.
type SourceState struct {
	Name      string
	Connected bool
	Following bool          // it pushes new targets
	CoolDown  time.Duration // what is left of it; 0: none
	LastError string        // since its last good answer; empty: none
}

// State is how things stand with the peer; a Peer alone knows no cool-down.
func (p *Peer) State() SourceState {
	p.mu.Lock()
	c, last := p.conn, p.lastError
	p.mu.Unlock()
	s := SourceState{Name: p.addr, Connected: c != nil, Following: c != nil && c.following()}
	if last != nil {
		s.LastError = last.Error()
	}
	return s
}

// States tells how things stand with each member, in their order.
func (p *Pool) States() []SourceState {
	states := make([]SourceState, len(p.members))
	for i, m := range p.members {
		s := SourceState{Name: m.source.Name()}
		if peer, ok := m.source.(interface{ State() SourceState }); ok {
			s = peer.State()
		}
		s.CoolDown = p.coolDownOf(m)
		if verdict := p.verdictOf(m); s.LastError == "" && s.CoolDown > 0 {
			s.LastError = "found to be " + verdict.String()
		}
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

func (p *Pool) verdictOf(m *member) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	return m.verdict
}
