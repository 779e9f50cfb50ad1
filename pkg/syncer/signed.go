package syncer

import (
	"context"
	"errors"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
)

// accepted is the signed target that was accepted last, if the source remembers
// one.
func (s *Syncer) accepted() (source.Target, bool) {
	if a, ok := s.src.(source.Acceptor); ok {
		return a.Accepted()
	}
	return source.Target{}, false
}

// accept makes the source remember t, of which was proven that it continues what
// is held here, before it is relied on.
func (s *Syncer) accept(t source.Target) error {
	a, ok := s.src.(source.Acceptor)
	if !ok || !t.Signed {
		return nil
	}
	err := a.Accept(t)
	if _, low := asLow(err); err == nil || low || classify(err) != source.Local {
		return err
	}
	return local("accept a signed target", err)
}

// reached notes that t is what is readable: the epoch of its log is now ours.
func (s *Syncer) reached(t source.Target) error {
	if a, ok := s.src.(source.Acceptor); ok {
		a.Reached(t)
	}
	before := s.db.Epoch()
	if t.Note == nil || t.Epoch <= before {
		return nil
	}
	if err := s.db.RaiseEpoch(t.Epoch); err != nil {
		return local("record the epoch", err)
	}
	s.log.Warn("follows a new epoch of the log, which its writer has declared", "epoch", t.Epoch, "before", before, "target", t.Target)
	return nil
}

// rememberReached tells the source after a start that what it accepted last is what
// is readable, if that is so.
func (s *Syncer) rememberReached() {
	l := s.db.Loads()
	if t, ok := s.accepted(); ok && l.Published && t.End == l.Size && t.Root == l.Root {
		s.src.(source.Acceptor).Reached(t)
	}
}

// givenUp says whether t, which is of our history, declares that what we have
// beyond it is lost.
func (it *iteration) givenUp(t source.Target, size uint64) bool {
	return t.Note != nil && t.Epoch > it.db.Epoch() && t.End < size
}

// linkRemembered proves that t continues what is known and not stored here, or not
// yet: what was readable before damaged data was set aside, and the signed
// target accepted last. A source must not be able to make a replica forget its
// history, by whatever way it lost it.
func (it *iteration) linkRemembered(ctx context.Context, t source.Target) (*fork, error) {
	if x := it.lost; x.Size > 0 && x.Size <= t.End {
		f, linked, err := it.linkTo(ctx, t, x.Size, x.Root)
		if it.relinked = linked; err != nil || f != nil {
			return f, err
		}
	}
	a, ok := it.accepted()
	if !ok || !t.Signed || a.Epoch != t.Epoch || a.End >= t.End || a.End <= it.db.Loads().Size {
		return nil, nil
	}
	f, linked, err := it.linkTo(ctx, t, a.End, a.Root)
	if err == nil && f == nil && !linked && it.said.due("unlinked checkpoint") {
		it.m.linksMissing.Inc()
		it.log.Warn("history link missing: the source does not retain the size of the checkpoint accepted last, whether the new history continues it is not proven",
			"size", a.End, "root", a.Root, "new_start", t.Start)
	}
	return f, err
}

// linkTo proves that the log of t had that root at size: its peaks there are those
// of the location before, with the operation that stands there, a commit, whose
// floor is part of the root. linked is false if no source retains that
// part of the log, as it may if the target begins behind it.
func (it *iteration) linkTo(ctx context.Context, t source.Target, size uint64, root mmr.Digest) (f *fork, linked bool, err error) {
	p, err := it.fetchPins(ctx, t, size-1, 1)
	if refusesSize(err) && size-1 < t.Start {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer p.release()
	edge, err := mmr.NewFrontier(size-1, p.answer.Pins)
	if err == nil {
		err = edge.Append(p.span, nil)
	}
	if err != nil {
		return nil, false, &VerificationError{p.answer.Peer, p.request, err}
	}
	op, err := it.codec.Decode(p.answer.Run.At(0))
	if err == nil && op.Kind == operation.Commit && op.Floor < size && edge.Root(op.Floor) == root {
		return nil, true, nil
	}
	f = it.newFork(t, p, size)
	f.Root = root
	f.evidence.RootThere = &root
	return f, false, nil
}

// untrusted is the phase of a checkpoint that must not be followed, "" for other
// errors.
func untrusted(err error) Phase {
	if _, ok := errors.AsType[*checkpoint.RollbackError](err); ok {
		return PhaseRollback
	}
	if _, ok := errors.AsType[*checkpoint.StaleError](err); ok {
		return PhaseStale
	}
	return ""
}

// enterUntrusted makes it the state that the newest checkpoint must not be followed.
// What is readable stays so.
func (it *iteration) enterUntrusted(p Phase, err error) {
	if it.Status().Phase != p {
		it.m.failures.WithLabelValues(classify(err).String()).Inc()
		if p == PhaseRollback {
			it.m.rollbacks.Inc()
		}
	}
	it.track.phase(p)
	it.track.update(func(st *Status) { st.Untrusted, st.LastError = err, err })
	if it.said.due(string(p)) {
		it.log.Error("checkpoint not followed, what was verified before goes on being served", "why", string(p), "error", err)
	}
}
