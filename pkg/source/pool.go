package source

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/wire"
)

// PoolOptions configure a Pool; the zero value is usable.
type PoolOptions struct {
	Logger  *slog.Logger // nil discards
	Metrics *Metrics     // nil counts for nobody
	// Trouble, if not nil, is called when a source was found to be slow or gone.
	// It must not block.
	Trouble func(name string)
}

// Pool is several sources behind one interface.
//
// A request goes to the source that will probably have answered first, by what
// it was measured to deliver; targets are asked of all in turns. A request
// that takes much longer than expected is sent to a second source that has nothing
// to do, and the first answer counts. A source that lied is not asked during a
// growing cool-down, and then proves itself by one request at a time; one that is slow
// or gone is not asked for a short while. The last usable source is never shut
// out for more than two seconds, so a pool of one keeps trying.
//
// Sources may be added and removed at any time. Answers under way are at most
// one in thirty more than requests; those not needed are released before the
// request they were for has ended.
type Pool struct {
	o     PoolOptions
	tasks sync.WaitGroup // sources being closed

	mu      sync.Mutex
	members []*member // replaced, and never changed
	leaving map[*member]bool
	changed chan struct{} // closed when members are others
	closed  bool
	next    int     // where the search begins, so that equals take turns
	turn    uint64  // of asking for targets
	perOp   float64 // bytes of an answer for each operation, a moving average

	// Second requests (hedge.go): how many there may be now, how many requests
	// wait for a source that is idle, and what wakes them.
	tokens  float64
	overdue int
	idle    chan struct{}
}

// NewPool puts sources behind one interface. Closing the pool closes those that
// can be closed.
func NewPool(sources []Source, o PoolOptions) *Pool {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	p := &Pool{
		o: o, leaving: make(map[*member]bool), changed: make(chan struct{}),
		perOp: firstPerOp, tokens: hedgeStart, idle: make(chan struct{}),
	}
	for _, s := range sources {
		p.Add(s)
	}
	return p
}

// Name lists the names of the sources.
func (p *Pool) Name() string {
	var names []string
	for _, m := range p.all() {
		names = append(names, m.name)
	}
	return strings.Join(names, ",")
}

// Sources is how many sources the pool asks; those of one name are one.
func (p *Pool) Sources() int {
	names := make(map[string]bool)
	for _, m := range p.all() {
		names[m.name] = true
	}
	return len(names)
}

// Target asks one source for its newest target, and the next one when that
// cannot be reached or breaks the protocol.
func (p *Pool) Target(ctx context.Context) (Target, error) {
	return each(ctx, p, &job{target: true},
		func(ctx context.Context, s Source) (Target, int, error) {
			t, err := s.Target(ctx)
			return t, 0, err
		}, func(Target) {})
}

// Operations asks one source, preferably r.Peer. When it cannot be reached,
// breaks the protocol or refuses, the others are asked before giving up.
func (p *Pool) Operations(ctx context.Context, r Request) (*Answer, error) {
	a, err := each(ctx, p, &job{r: r},
		func(ctx context.Context, s Source) (*Answer, int, error) {
			a, err := s.Operations(ctx, r)
			if err != nil {
				return nil, 0, err
			}
			return a, a.Bytes, nil
		}, (*Answer).Release)
	if err == nil {
		p.measured(a)
	}
	return a, err
}

// each tries sources, each at most once, until one succeeds. It returns the
// error of the last one.
func each[T any](ctx context.Context, p *Pool, j *job, try func(context.Context, Source) (T, int, error), drop func(T)) (none T, last error) {
	for {
		if err := ctx.Err(); err != nil {
			return none, err // nobody would read the answer
		}
		u, wait := p.choose(j)
		switch {
		case u == nil && wait == 0:
			if last == nil {
				last = &UnreachableError{p.Name(), errNobody}
			}
			return none, last
		case u == nil && last != nil:
			return none, last // the caller decides whether it still wants to wait
		case u == nil:
			if err := sleep.For(ctx, wait); err != nil {
				return none, err
			}
			continue
		}
		v, err := ask(ctx, p, j, u, try, drop)
		if err == nil || ctx.Err() != nil {
			return v, err
		}
		last = err
		var refused *RefusedError
		if class := Classify(err); class == Local || class == Refused && !errors.As(err, &refused) {
			return none, err // no other source would make a difference
		}
	}
}

var errNobody = errors.New("there is no source to ask")

// settle notes how a request ended: with an answer of so many bytes, with an
// error, or called off because another source had answered (overtaken). Lies
// are reported by the caller; what breaks the protocol needs no caller to be recognised.
func (p *Pool) settle(u *use, j *job, bytes int, err error, overtaken bool) {
	var refused *RefusedError
	calledOff := errors.Is(err, context.Canceled)
	p.mu.Lock()
	m, now := u.m, time.Now()
	m.uses--
	if !j.target {
		m.ops--
		m.pending -= u.bytes
		if u.hedge {
			m.hedges--
		} else {
			p.earn()
		}
		switch {
		case err == nil:
			m.rate.add(u.launched, now, bytes)
		case calledOff && !overtaken: // it says nothing about the source
		case Classify(err) == Slow, overtaken:
			m.rate.add(u.launched, now, 0)
		}
		if u.explore && m.rate.at.Equal(now) {
			m.rate.explored(err == nil && now.Sub(u.launched) < patience(j))
		}
		if m.ops == 0 {
			m.pending = 0 // and no rounding
			p.becameIdle()
		}
		m.m.inFlight.Set(float64(m.ops))
		m.m.throughput.Set(m.rate.measured())
		m.m.latency.Set(m.rate.latency)
	}
	if err == nil {
		m.slow = 0
	}
	if errors.As(err, &refused) && refused.Code == wire.Database && j.r.Size > 0 {
		m.behind, m.behindUntil = j.r.Size, now.Add(behindFor)
	}
	p.mu.Unlock()
	switch {
	case err == nil, calledOff:
	case Classify(err) == Slow:
		p.report(m, VerdictSlow)
		if p.o.Trouble != nil {
			p.o.Trouble(m.name)
		}
	case Classify(err) == Wrong && j.r.Codec == nil:
		p.report(m, VerdictLying)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letGo(m)
}

// measured keeps count of how long answers are.
func (p *Pool) measured(a *Answer) {
	n := a.Run.Len()
	if n < 16 {
		return // mostly proof
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.perOp += (float64(a.Bytes)/float64(n) - p.perOp) / 16
}

// Close closes the sources that can be closed, and returns when those that were
// removed have ended too.
func (p *Pool) Close() error {
	p.mu.Lock()
	closing := p.members
	if p.closed {
		closing = nil
	}
	for m := range p.leaving {
		closing = append(slices.Clip(closing), m)
	}
	p.closed, p.leaving = true, nil
	p.mu.Unlock()
	var errs []error
	for _, m := range closing {
		m.cancel()
		errs = append(errs, closeSource(m.source))
	}
	p.tasks.Wait()
	return errors.Join(errs...)
}
