package source

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
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

// PoolOptions configure a Pool; the zero value is usable.
type PoolOptions struct {
	Logger  *slog.Logger // nil discards
	Metrics *Metrics     // nil counts for nobody
}

// Pool is several sources behind one interface.
//
// A request goes to the usable source with the fewest requests under way. A
// source that lied is not asked during a growing cool-down; one that is slow or
// gone during a short one. The last usable source is never shut out for more
// than two seconds, so a pool of one keeps trying.
type Pool struct {
	o       PoolOptions
	members []*member

	mu   sync.Mutex
	next int // where the search begins, so that equals take turns
}

// member is a source and what is held against it; the pool's mutex guards it.
type member struct {
	source      Source
	outstanding int
	until       time.Time // in cool-down until then
	slow        int       // times in a row
	lies        int
	lastLie     time.Time
	verdict     Verdict   // the latest that was not good
	saidAt      time.Time // when its lies were last worth a line
	lieUntil    time.Time // end of the cool-down after the last lie
	behind      uint64    // does not have logs of this size or longer ...
	behindUntil time.Time
}

// NewPool puts sources, at least one, behind one interface. Closing the pool
// closes those that can be closed.
func NewPool(sources []Source, o PoolOptions) *Pool {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	p := &Pool{o: o}
	for _, s := range sources {
		p.members = append(p.members, &member{source: s})
	}
	return p
}

// Name lists the names of the sources.
func (p *Pool) Name() string {
	names := make([]string, len(p.members))
	for i, m := range p.members {
		names[i] = m.source.Name()
	}
	return strings.Join(names, ",")
}

// Target asks one source for its newest target, and the next one when that
// cannot be reached or breaks the protocol.
func (p *Pool) Target(ctx context.Context) (t Target, err error) {
	err = p.each(ctx, Request{}, func(ctx context.Context, s Source) (err error) {
		t, err = s.Target(ctx)
		return err
	})
	return t, err
}

// Operations asks one source, preferably r.Peer. When it cannot be reached,
// breaks the protocol or refuses, the others are asked before giving up.
func (p *Pool) Operations(ctx context.Context, r Request) (a *Answer, err error) {
	err = p.each(ctx, r, func(ctx context.Context, s Source) (err error) {
		a, err = s.Operations(ctx, r)
		return err
	})
	return a, err
}

// each tries sources, each at most once, until one succeeds. It returns the
// error of the last one.
func (p *Pool) each(ctx context.Context, r Request, try func(context.Context, Source) error) error {
	tried := make(map[*member]bool, 1)
	var last error
	for len(tried) < len(p.members) {
		m, wait := p.choose(r, tried)
		if wait > 0 && last != nil {
			return last // the caller decides whether it still wants to wait
		}
		if err := Sleep(ctx, wait); err != nil {
			return err
		}
		tried[m] = true
		p.mu.Lock()
		m.outstanding++
		p.mu.Unlock()
		err := try(ctx, m.source)
		p.settle(m, r, err)
		if err == nil || ctx.Err() != nil {
			return err
		}
		last = err
		var refused *RefusedError
		if class := Classify(err); class == Local || class == Refused && !errors.As(err, &refused) {
			return err // no other source would make a difference
		}
	}
	return last
}

// choose picks the source to ask and says how long its cool-down still lasts.
func (p *Pool) choose(r Request, tried map[*member]bool) (*member, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var best *member
	better := func(m *member) bool {
		if best == nil {
			return true
		}
		mUp, bestUp := !m.until.After(now), !best.until.After(now)
		switch {
		case mUp != bestUp:
			return mUp
		case !mUp:
			return m.until.Before(best.until)
		case m.lacks(r, now) != best.lacks(r, now):
			return best.lacks(r, now)
		case (m.source.Name() == r.Peer) != (best.source.Name() == r.Peer):
			return m.source.Name() == r.Peer
		}
		return m.outstanding < best.outstanding
	}
	for i := range p.members {
		if m := p.members[(p.next+i)%len(p.members)]; !tried[m] && better(m) {
			best = m
		}
	}
	p.next++
	return best, max(0, best.until.Sub(now))
}

func (m *member) lacks(r Request, now time.Time) bool {
	return r.Size > 0 && r.Size >= m.behind && now.Before(m.behindUntil)
}

// settle notes how a request ended. Lies are reported by the caller; what
// breaks the protocol needs no caller to be recognised.
func (p *Pool) settle(m *member, r Request, err error) {
	p.mu.Lock()
	m.outstanding--
	p.mu.Unlock()
	var refused *RefusedError
	switch {
	case err == nil:
		p.mu.Lock()
		m.slow = 0
		p.mu.Unlock()
	case errors.As(err, &refused):
		if refused.Code == wire.Database && r.Size > 0 {
			p.mu.Lock()
			m.behind, m.behindUntil = r.Size, time.Now().Add(behindFor)
			p.mu.Unlock()
		}
	case Classify(err) == Slow:
		p.report(m, VerdictSlow)
	case Classify(err) == Wrong && r.Codec == nil:
		p.report(m, VerdictLying)
	}
}

// Sources is how many sources the pool asks; those of one name are one.
func (p *Pool) Sources() int {
	names := make(map[string]bool, len(p.members))
	for _, m := range p.members {
		names[m.source.Name()] = true
	}
	return len(names)
}

// Report tells the pool what became of an answer of the named peer. Protocol
// errors and timeouts it has seen by itself.
func (p *Pool) Report(peer string, v Verdict) {
	for _, m := range p.members {
		if m.source.Name() == peer {
			p.report(m, v)
			return
		}
	}
}

func (p *Pool) report(m *member, v Verdict) {
	name := m.source.Name()
	p.o.Metrics.verdicts.WithLabelValues(name, v.String()).Inc()
	p.mu.Lock()
	now := time.Now()
	fresh := false // a lie that was not under way with an earlier one
	say := false   // and there was no line about the peer's lies lately
	if v != VerdictGood {
		m.verdict = v
	}
	switch v {
	case VerdictGood:
		m.slow = 0
	case VerdictSlow:
		// Requests that were under way together fail together: once counts.
		if !m.until.After(now) {
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
		m.lastLie = now
		p.coolDown(m, now, min(lieMin<<min(m.lies-1, 10), lieMax))
		m.lieUntil = m.until
	}
	until := max(0, m.until.Sub(now))
	p.mu.Unlock()
	p.o.Metrics.cooldown.WithLabelValues(name).Set(until.Seconds())
	if !fresh {
		return
	}
	if say {
		p.o.Logger.Warn("peer in cool-down after a wrong answer", "peer", name, "cooldown", until.Round(time.Millisecond))
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
		if other != m && !other.until.After(now) {
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

// Close closes the sources that can be closed.
func (p *Pool) Close() error {
	var errs []error
	for _, m := range p.members {
		if c, ok := m.source.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
