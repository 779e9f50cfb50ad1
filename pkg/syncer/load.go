package syncer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
)

// load completes t by the given way: opens the load, links it to the target's
// history, fetches what is missing and publishes it. An *unlinkedError says
// that what is stored is not a prefix of that history.
func (it *iteration) load(ctx context.Context, t source.Target, a action) error {
	var (
		l     *database.Load
		first *piece
	)
	known, err := it.estimate(t, it.beginning(t, a))
	if err != nil {
		return err
	}
	it.sampled = known
	staged := it.db.Loads().StagedGeneration
	switch a {
	case extend:
		if l, err = it.db.Extend(); err != nil {
			return local("continue the published generation", err)
		}
	case continueStaged:
		if l, err = it.db.ContinueStaged(); err != nil {
			it.noteDamage(staged, err)
			return local("continue the generation in the making", err)
		}
	default:
		if l, first, err = it.begin(ctx, t); err != nil {
			return err
		}
	}
	err = it.fill(ctx, t, l, first, a)
	it.noteDamage(l.Generation(), err)
	if e := l.Close(); e != nil && err == nil {
		err = local("close the load", e)
	}
	if err != nil {
		return err
	}
	return it.reached(t)
}

// beginning is the location at which a load goes on.
func (it *iteration) beginning(t source.Target, a action) uint64 {
	l := it.db.Loads()
	switch a {
	case extend:
		return l.Stored
	case continueStaged:
		return l.StagedEnd
	}
	return t.Start
}

// begin starts a new generation at the target's start, after the target's end
// and the pinned nodes of its start were verified. The first operations come
// with the pins.
func (it *iteration) begin(ctx context.Context, t source.Target) (*database.Load, *piece, error) {
	last, err := it.lastOperation(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	last.release()
	var first *piece
	var pins []mmr.Digest
	if t.Start > 0 {
		if first, err = it.fetchPinned(ctx, t, t.Start); err != nil {
			return nil, nil, err
		}
		pins = first.answer.Pins
	}
	l, err := it.db.Stage(t.Start, pins)
	if err != nil {
		if first != nil {
			first.release()
		}
		return nil, nil, local("begin a generation", err)
	}
	if s := it.db.Loads(); it.unproven {
		it.m.linksMissing.Inc()
		it.log.Warn("history link missing: the source does not retain our size, a new generation begins without proof that it continues the old one",
			"peer", t.Peer, "size", s.Size, "target", t.Target)
	}
	return l, first, nil
}

// fetchPinned fetches operations from start on with the pinned nodes of start.
func (it *iteration) fetchPinned(ctx context.Context, t source.Target, start uint64) (*piece, error) {
	want, _ := newPlan(start, t.End).next(newWindow(it.codec, it.o).operations())
	return it.fetchPins(ctx, t, start, want.len())
}

// fetchPins fetches at most so many operations from start on, with the pinned
// nodes of start.
func (it *iteration) fetchPins(ctx context.Context, t source.Target, start, most uint64) (*piece, error) {
	r := source.Request{Size: t.End, Start: start, Max: most, Pins: true, Peer: t.Peer}
	p, err := it.fetch(ctx, r, t.Root)
	if err != nil {
		return nil, it.probe(ctx, t, err)
	}
	return p, nil
}

// fill links, fetches and publishes. It owns first, the verified operations at
// the end of the load, if there are any.
func (it *iteration) fill(ctx context.Context, t source.Target, l *database.Load, first *piece, a action) error {
	defer func() {
		if first != nil {
			first.release()
		}
	}()
	size := it.db.Loads().Size
	if l.End() > t.End { // leftovers of a target that was abandoned
		if err := it.truncate(l); err != nil {
			return err
		}
	}
	if a == stage {
		return it.complete(ctx, t, l, &first)
	}
	for {
		fork, err := it.link(ctx, t, l, &first)
		if err != nil {
			return err
		}
		if fork == nil {
			// A load that ends where the target does was not compared with it
			// yet: if its root is another one, it is a leftover as well.
			leftover := l.End() == t.End
			err := it.complete(ctx, t, l, &first)
			var unfit *unfitError
			if !leftover || !errors.As(err, &unfit) {
				return err
			}
		}
		switch {
		case a == continueStaged:
			return &unlinkedError{}
		case l.End() == size:
			return &unlinkedError{fork}
		}
		// Beyond the published size there may be leftovers of an abandoned
		// target: only what was published is our history.
		if err := it.truncate(l); err != nil {
			return err
		}
	}
}

func (it *iteration) truncate(l *database.Load) error {
	it.log.Info("dropped operations beyond the published size, they are of an abandoned target", "end", l.End())
	if err := l.Truncate(); err != nil {
		return local("truncate", err)
	}
	return nil
}

// link proves that what the load holds is a prefix of the target's history:
// the verified pins at its end are the target's peaks there, so they must be
// ours. The operations that come with them go to first. A load that already
// ends where the target does is linked by its root, when it is published.
func (it *iteration) link(ctx context.Context, t source.Target, l *database.Load, first **piece) (*fork, error) {
	if l.End() == t.End {
		return nil, nil
	}
	p, err := it.fetchPinned(ctx, t, l.End())
	if err != nil {
		return nil, err
	}
	ours := l.Peaks()
	if slices.Equal(p.answer.Pins, ours) {
		*first = p
		return nil, nil
	}
	defer p.release()
	return it.forkAt(t, p, ours), nil
}

// forkAt is the fork that p, fetched with the pinned nodes of its start, proves:
// our peaks there are others.
func (it *iteration) forkAt(t source.Target, p *piece, ours []mmr.Digest) *fork {
	f := it.newFork(t, p, p.start)
	f.evidence.OurPeaks = ours
	return f
}

// linkPublished proves that t continues what is published, before a generation
// that takes its place goes on towards t. It returns the fork if t does not;
// if it cannot be told, since no source that could be asked has that part of
// its log any more, the next generation begins with that said (unproven).
func (it *iteration) linkPublished(ctx context.Context, t source.Target, a action) (*fork, error) {
	it.unproven = false
	rebuilding := it.forkSeen != nil && it.mayRebuild(t)
	l := it.db.Loads()
	if !l.Published || a == extend || a == continueStaged && rebuilding {
		return nil, nil // an extended load is linked when it is filled
	}
	p, err := it.fetchPins(ctx, t, l.Size, 1)
	if refusesSize(err) {
		it.unproven = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer p.release()
	v, err := it.db.View()
	if err != nil {
		return nil, local("compare target", err)
	}
	defer v.Close()
	ours, err := v.Pins(l.Size)
	if err != nil {
		return nil, local("compare target", err)
	}
	if slices.Equal(p.answer.Pins, ours) {
		return nil, nil
	}
	return it.forkAt(t, p, ours), nil
}

// unfitError says that a load that is complete cannot be published as the target.
type unfitError struct{ *TargetError }

func (e *unfitError) Unwrap() error { return e.TargetError }

// complete fetches what the load lacks and makes it readable.
func (it *iteration) complete(ctx context.Context, t source.Target, l *database.Load, first **piece) error {
	it.resumed()
	it.track.phase(PhaseSyncing)
	it.track.restart()
	it.track.update(func(st *Status) { st.Stored = l.End() })
	resumed := l.End() == t.End
	if !resumed { // else its root is all that links it, and is looked at below
		if err := it.accept(t); err != nil {
			return err
		}
	}
	l.Until(t.End)
	f := newFetch(it, t, l)
	p := *first
	*first = nil
	if err := f.run(ctx, p); err != nil {
		e := l.Flush()
		if _, low := asLow(e); e != nil && !low {
			return local("store", e)
		}
		return err // what there was no room for is fetched again
	}
	if resumed {
		// Nothing was fetched, so nothing was checked against this target but
		// the root, below; its start is checked here.
		last, err := it.lastOperation(ctx, t)
		if err != nil {
			return err
		}
		last.release()
	}
	began := time.Now()
	err := l.Check(t.Root, t.End)
	var root *database.RootError
	switch {
	case errors.As(err, &root), errors.Is(err, database.ErrNoCommit):
		return &unfitError{&TargetError{t, err.Error()}}
	case err != nil:
		return local("publish", err)
	}
	if resumed {
		if err := it.accept(t); err != nil {
			return err
		}
	}
	c, err := l.Publish(t.Root, t.End)
	if err != nil {
		return local("publish", err)
	}
	it.result.Published++
	it.result.Behind = false
	it.replaced(t)
	it.forkSeen = nil
	it.lookLocal()
	it.succeeded()
	it.log.Debug("target completed", "size", c.Size, "root", c.Root, "publish", time.Since(began))
	return nil
}
