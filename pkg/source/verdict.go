package source

import (
	"errors"
	"time"
)

const (
	// lieMin and lieMax bound the cool-down of a source that lied, while there
	// is another one to ask. It doubles with every lie.
	lieMin = 2 * time.Second
	lieMax = 5 * time.Minute
	// lieMemory is how long after its last lie a source starts afresh.
	lieMemory = time.Hour
	// divergedFor is the cool-down of a source whose history is not ours, while
	// there is another one to ask.
	divergedFor = time.Minute
	// behindFor is how long a source that does not have a size is not asked
	// for it, while others may.
	behindFor = time.Second
)

// Report tells the pool what became of an answer of the named peer. Protocol
// errors and timeouts it has seen by itself.
func (p *Pool) Report(peer string, v Verdict) {
	for _, m := range p.all() {
		if m.name == peer {
			p.report(m, v)
			return
		}
	}
}

func (p *Pool) report(m *member, v Verdict) {
	p.mu.Lock()
	now := time.Now()
	fresh := false // a lie that was not under way with an earlier one
	say := false   // and there was no line about the peer's lies lately
	if v != VerdictGood {
		m.verdict = v
	}
	switch v {
	case VerdictGood:
		m.slow, m.probation = 0, false
	case VerdictSlow:
		// Requests that were under way together fail together: once counts.
		if m.up(now) {
			m.slow++
			p.coolDown(m, now, Backoff(m.slow))
		}
	case VerdictDiverged:
		p.coolDown(m, now, divergedFor)
	case VerdictLying:
		if now.Before(m.lieUntil) {
			break
		}
		fresh = true
		if now.Sub(m.saidAt) >= sayAgain {
			m.saidAt, say = now, true
		}
		if now.Sub(m.lastLie) > lieMemory {
			m.lies = 0
		}
		m.lies++
		m.lastLie, m.probation = now, true
		m.rate = rate{} // what it delivered so fast was wrong
		p.coolDown(m, now, min(lieMin<<min(m.lies-1, 10), lieMax))
		m.lieUntil = m.until
	}
	until := max(0, m.until.Sub(now))
	p.mu.Unlock()
	m.m.verdicts[v].Inc()
	m.m.cooldown.Set(until.Seconds())
	if !fresh {
		return
	}
	if say {
		p.o.Logger.Warn("peer in cool-down after a wrong answer", "peer", m.name, "cooldown", until.Round(time.Millisecond))
	}
	if d, ok := m.source.(interface{ Disconnect(error) }); ok {
		d.Disconnect(errRefuted)
	}
}

var errRefuted = errors.New("its answer was refuted")

// coolDown shuts a source out for d, or for a short back-off when no other one
// is usable. The mutex is held.
func (p *Pool) coolDown(m *member, now time.Time, d time.Duration) {
	last := true
	for _, other := range p.members {
		if other != m && other.up(now) {
			last = false
		}
	}
	if last && d >= backoffMax {
		d = Backoff(max(1, m.lies+m.slow))
	}
	if until := now.Add(d); until.After(m.until) {
		m.until = until
	}
}
