package source

import (
	"slices"
	"time"
)

const (
	// firstRate is what is thought of sources before any was measured, in bytes
	// per second. It only has to be the same for all.
	firstRate = 1 << 20
	// firstPerOp is the assumed share of an operation in an answer, in bytes.
	firstPerOp = 128
	// answerBase is what an answer is longer than its operations, about.
	answerBase = 1 << 10
	// alike is how much sooner a source has to be expected to answer to be asked
	// out of turn.
	alike = 0.9
)

// job is one request of a caller, however many sources it is sent to.
type job struct {
	r      Request
	target bool // asks for the newest target, and not for operations
	tried  []*member
	hedged bool // a second source was asked already
	// Set when the first source is chosen:
	bytes    float64       // probable length of the answer
	expected time.Duration // how long the best source will probably take; 0: nobody knows
}

// use is a request under way with one member.
type use struct {
	m        *member
	launched time.Time
	bytes    float64
	hedge    bool
	explore  bool // nobody knew what m could do
}

// choose picks the source to ask, and begins. If the best one is in cool-down,
// nothing has begun, and wait says how long that lasts. Without a source that was not
// tried it returns none.
//
// In good times it is the one that will have answered first, by what it was
// measured to deliver and what it has to do already: so each gets its share, and one
// that is too slow to be of use gets nothing while others have time.
func (p *Pool) choose(j *job) (u *use, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	j.bytes = p.guess(j)
	usual := p.usualRate()
	var best *member
	var soonest float64 // of all that could be asked, in seconds
	for i := range p.members {
		m := p.members[(p.next+i)%len(p.members)]
		if slices.Contains(j.tried, m) {
			continue
		}
		if m.up(now) && !m.rate.at.IsZero() {
			if e := m.expect(now, j.bytes, usual); soonest == 0 || e < soonest {
				soonest = e
			}
		}
		if best == nil || better(j, m, best, now, usual) {
			best = m
		}
	}
	p.next++ // equals take turns
	if best == nil {
		return nil, 0
	}
	if wait := best.until.Sub(now); wait > 0 {
		return nil, wait
	}
	j.expected = time.Duration(soonest * float64(time.Second))
	return p.begin(j, best, now, false), 0
}

// better says whether a is to be asked rather than b.
func better(j *job, a, b *member, now time.Time, usual float64) bool {
	switch {
	case a.up(now) != b.up(now):
		return a.up(now)
	case !a.up(now):
		return a.until.Before(b.until)
	case a.lacks(j.r, now) != b.lacks(j.r, now):
		return b.lacks(j.r, now)
	case (a.name == j.r.Peer) != (b.name == j.r.Peer):
		return a.name == j.r.Peer
	case j.target:
		return a.asked < b.asked
	case a.tested() != b.tested():
		return b.tested()
	case a.unknown(now) != b.unknown(now):
		return a.unknown(now)
	}
	return a.expect(now, j.bytes, usual) < alike*b.expect(now, j.bytes, usual)
}

// tested says whether it has to answer what it was asked before it is asked more.
func (m *member) tested() bool { return m.probation && m.ops > 0 }

// unknown says whether it has nothing to do and nobody knows what it could.
func (m *member) unknown(now time.Time) bool { return m.ops == 0 && m.rate.stale(now) }

// expect is how many seconds it will probably take until m has answered a
// request for so many bytes. A source that has been silent over what it was asked is
// expected to be silent for as long again.
func (m *member) expect(now time.Time, bytes, usual float64) float64 {
	e := (m.pending + bytes) / m.rate.expected(bytes, usual)
	if m.ops > 0 {
		alive := m.since
		if m.rate.at.After(alive) {
			alive = m.rate.at
		}
		e += now.Sub(alive).Seconds()
	}
	return e
}

// usualRate is what a source is thought to deliver that was not measured: as
// much as the best one that was. The mutex is held.
func (p *Pool) usualRate() float64 {
	best := 0.0
	for _, m := range p.members {
		best = max(best, m.rate.measured())
	}
	if best == 0 {
		return firstRate
	}
	return best
}

// guess is about how long the answer will be, in bytes. The mutex is held.
func (p *Pool) guess(j *job) float64 {
	if j.target {
		return 0
	}
	n := answerBase + float64(j.r.Max)*p.perOp
	if j.r.MaxFrame > 0 {
		n = min(n, float64(j.r.MaxFrame))
	}
	return n
}

// begin notes that m is asked. The mutex is held.
func (p *Pool) begin(j *job, m *member, now time.Time, hedge bool) *use {
	u := &use{m: m, launched: now, bytes: j.bytes, hedge: hedge, explore: m.unknown(now)}
	m.uses++
	if j.target {
		p.turn++
		m.asked = p.turn
	} else {
		if m.ops == 0 {
			m.since = now
		}
		m.ops++
		m.pending += j.bytes
		if hedge {
			m.hedges++
		}
		m.m.inFlight.Set(float64(m.ops))
	}
	return u
}
