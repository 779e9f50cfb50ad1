package syncer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/source"
)

// maxStrikes is how many answers in a row may be refuted, without one that is
// verified, before the target itself is in doubt and learned anew.
const maxStrikes = 3

// fetch brings one load from its end to the end of a target. Its goroutine,
// the caller of run, owns plan, window and load; requests run in goroutines of
// their own, which end before run does.
type fetch struct {
	*iteration
	t    source.Target
	l    *database.Load
	plan *plan
	win  *window

	requests sync.WaitGroup
	results  chan outcome     // room for every request under way (at most mostOutstanding), so that none blocks
	pieces   map[uint64]*held // verified and not applied, by start

	strikes  int       // events of wrong answers in a row
	failures int       // failures in a row, those under way together count once
	pausedAt time.Time // when the last one of them was noted
	resumeAt time.Time // no request before
	flushed  time.Time
	reported time.Time
}

// held is a verified answer that waits for what comes before it.
type held struct {
	*piece
	bytes int64
}

// request is a request under way, outcome what came of it.
type request struct {
	span
	reservation
	launched time.Time
}

type outcome struct {
	request
	piece *piece
	err   error
}

func newFetch(it *iteration, t source.Target, l *database.Load) *fetch {
	now := time.Now()
	win := newWindow(it.codec, it.o)
	return &fetch{
		iteration: it, t: t, l: l,
		plan: newPlan(l.End(), t.End), win: win,
		results: make(chan outcome, win.most),
		pieces:  make(map[uint64]*held),
		flushed: now, reported: now,
	}
}

// run returns when everything up to the target's end has been appended to the
// load, or with the error that makes going on pointless under this target. It
// owns first, if not nil: verified operations at the end of the load.
func (f *fetch) run(ctx context.Context, first *piece) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.release()
	defer f.requests.Wait()
	defer cancel()
	if first != nil {
		r := span{first.start, first.end()}
		f.plan.take(r)
		f.plan.accept(r, r.len())
		f.pieces[r.start] = &held{piece: first}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	resume := time.NewTimer(0)
	defer resume.Stop()
	for {
		if err := f.apply(); err != nil {
			return err
		}
		if f.plan.complete() {
			return nil
		}
		if wait := time.Until(f.resumeAt); wait > 0 {
			resume.Reset(wait)
		} else {
			f.launch(ctx)
		}
		f.gauges()
		select {
		case o := <-f.results:
			if err := f.settle(ctx, o); err != nil {
				return err
			}
		case <-tick.C:
			if err := f.tick(); err != nil {
				return err
			}
		case <-resume.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// launch asks for as much of what is missing as the window allows.
func (f *fetch) launch(ctx context.Context) {
	for {
		r, ok := f.plan.next(f.win.operations())
		if !ok {
			return
		}
		room, ok := f.win.reserve(f.t.End, r.len(), f.plan.urgent())
		if !ok {
			return
		}
		f.plan.take(r)
		req := request{r, room, time.Now()}
		f.requests.Go(func() {
			p, err := f.iteration.fetch(ctx, source.Request{
				Size: f.t.End, Start: r.start, Max: r.len(), MaxFrame: room.frame,
			}, f.t.Root)
			f.results <- outcome{req, p, err}
		})
	}
}

// settle takes the outcome of a request into plan and window.
func (f *fetch) settle(ctx context.Context, o outcome) error {
	if o.err == nil {
		f.strikes, f.failures, f.resumeAt = 0, 0, time.Time{}
		f.m.requestDuration.Observe(time.Since(o.launched).Seconds())
		f.report(o.piece.answer.Peer, source.VerdictGood)
		n := o.piece.len()
		f.plan.accept(o.span, n)
		bytes := f.win.answered(o.reservation, o.span.len(), n, o.piece.answer.Bytes)
		f.pieces[o.start] = &held{o.piece, bytes}
		return nil
	}
	f.plan.giveBack(o.span)
	f.win.failed(o.reservation)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if large, ok := errors.AsType[*source.TooLargeError](o.err); ok {
		if f.codec.Size() == 0 {
			f.win.tooLarge(o.span.len(), large.Bytes)
			return nil
		}
		// No honest answer of fixed operations is that long.
		o.err = &VerificationError{large.Peer, source.Request{Size: f.t.End, Start: o.start, Max: o.span.len()}, o.err}
	}
	return f.failed(o)
}

// failed decides about a request that failed by someone else's fault: ask
// again after a pause, or give the target up.
func (f *fetch) failed(o outcome) error {
	class := classify(o.err)
	if class == source.Local {
		return local("fetch", o.err)
	}
	if refusesSize(o.err) {
		return o.err // this size cannot be had any more: ask for the newest
	}
	if errors.Is(o.err, source.ErrTimeout) {
		f.win.slow(o.launched, time.Now())
	}
	if o.launched.Before(f.pausedAt) { // one event with the failure before
		if verification, ok := errors.AsType[*VerificationError](o.err); ok {
			f.m.refuted.Inc()
			f.report(verification.Peer, source.VerdictLying)
		}
		return nil
	}
	if class == source.Wrong {
		f.strikes++
		if f.strikes >= maxStrikes {
			return o.err
		}
	}
	f.noteFailure(o.err)
	f.failures++
	f.pausedAt = time.Now()
	f.resumeAt = f.pausedAt.Add(source.Backoff(f.failures))
	return nil
}

// apply appends to the load what is verified and next in order.
func (f *fetch) apply() error {
	for {
		r, ok := f.plan.apply()
		if !ok {
			return nil
		}
		p := f.pieces[r.start]
		delete(f.pieces, r.start)
		err := f.store(p.piece)
		p.release()
		f.win.release(p.bytes)
		f.win.applied()
		if err != nil {
			return err
		}
	}
}

func (f *fetch) store(p *piece) error {
	n := p.answer.Run.Len()
	if p.end() == f.t.End {
		// Before the last operations are stored: the target must be one that
		// can be published.
		if err := f.checkCommit(p.answer.Run.At(n-1), f.t, f.l.Start()); err != nil {
			return err
		}
	}
	if err := f.l.Append(p.span, p.answer.Run); err != nil {
		return local("store", err)
	}
	f.seen.add(n, len(p.answer.Run.Bytes()))
	f.result.Fetched += uint64(n)
	f.m.verifiedBytes.Add(float64(p.answer.Bytes))
	f.m.verifiedOps.Add(float64(n))
	f.track.applied(n, f.l.End(), f.t.End)
	if st := f.Status(); st.Rate > 0 {
		f.rate = st.Rate
	}
	if !f.sampled {
		var err error
		f.sampled, err = f.estimate(f.t, f.l.End())
		return err
	}
	return nil
}

// tick flushes and reports progress when it is time.
func (f *fetch) tick() error {
	if x := f.db.Damage(); x != nil {
		return local("sync", x.Err) // met by somebody else
	}
	now := time.Now()
	if now.Sub(f.flushed) >= flushEvery {
		f.flushed = now
		if err := f.l.Flush(); err != nil {
			return local("store", err)
		}
	}
	if now.Sub(f.reported) >= reportEvery {
		f.reported = now
		st := f.Status()
		f.log.Info("sync progress", "sync_iteration", f.Syncer.iteration, "verified", f.l.End(), "target", f.t.End,
			"rate", int64(st.Rate), "eta", st.ETA)
	}
	return nil
}

func (f *fetch) gauges() {
	f.m.requestsInFlight.Set(float64(f.win.inFlight))
	f.m.bytesInFlight.Set(float64(f.win.used))
}

// release lets go of what was verified and not applied. Every request has ended.
func (f *fetch) release() {
	for _, p := range f.pieces {
		p.release()
	}
	for {
		select {
		case o := <-f.results:
			if o.piece != nil {
				o.piece.release()
			}
			continue
		default:
		}
		break
	}
	f.m.requestsInFlight.Set(0)
	f.m.bytesInFlight.Set(0)
}
