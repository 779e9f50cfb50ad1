package syncer

import (
	"context"
	"errors"
	"time"

	"github.com/proofsync/proofsync/pkg/source"
)

// fork is a fork that was just proven, with its evidence not yet kept: polls
// of a source that stays forked prove it again and again.
type fork struct {
	ForkError
	evidence *evidence
}

// unlinkedError says that a load is not a prefix of the target's history.
type unlinkedError struct {
	fork *fork // nil if the load was of a generation in the making: nobody relied on it
}

func (e *unlinkedError) Error() string {
	if e.fork == nil {
		return "the generation in the making is not a part of the target's history"
	}
	return e.fork.Error()
}

// proveFork makes the peer prove a target that contradicts our root: a root
// that nobody can prove is no fork but a lie.
func (it *iteration) proveFork(ctx context.Context, t source.Target) (*fork, error) {
	p, err := it.lastOperation(ctx, t)
	if err != nil {
		return nil, err
	}
	defer p.release()
	f := it.newFork(t, p, t.End)
	v, err := it.db.View()
	if err != nil {
		return nil, local("compare target", err)
	}
	defer v.Close()
	if root, err := v.RootAt(t.End); err == nil {
		f.Root = root
		f.evidence.RootThere = &root
	}
	return f, nil
}

// newFork is a fork at a location that the peer of p has proven.
func (it *iteration) newFork(t source.Target, p *piece, location uint64) *fork {
	f := &fork{
		ForkError: ForkError{Peer: p.answer.Peer, Target: t.Target, Location: location, Signed: t.Signed, Epoch: t.Epoch, LocalEpoch: it.db.Epoch()},
		evidence:  it.newEvidence(t.Target, p.request, p.answer),
	}
	f.evidence.Location = location
	f.evidence.Epoch, f.evidence.LocalEpoch = f.Epoch, f.LocalEpoch
	f.evidence.Note = string(t.Note)
	if a, ok := it.accepted(); ok {
		f.evidence.AcceptedNote = string(a.Note)
	}
	return f
}

// contradiction is a fork that two notes prove.
func (it *iteration) contradiction(e *source.ContradictionError) *fork {
	st := it.Status()
	last := e.Last.Root
	return &fork{
		ForkError: ForkError{
			Peer: e.Target.Peer, Target: e.Target.Target, Location: e.Target.End, Root: last,
			Signed: true, Epoch: e.Target.Epoch, LocalEpoch: it.db.Epoch(), Contradiction: true,
		},
		evidence: &evidence{
			Time: time.Now().UTC(), Peer: e.Target.Peer, Codec: it.codec.String(),
			LocalSize: st.Size, LocalRoot: st.Root,
			TargetRoot: e.Target.Root, Target: [2]uint64{e.Target.Start, e.Target.End},
			Location: e.Target.End, RootThere: &last,
			Epoch: e.Target.Epoch, LocalEpoch: it.db.Epoch(),
			Note: string(e.Target.Note), AcceptedNote: string(e.Last.Note),
		},
	}
}

// mayRebuild says whether the policy allows to start over with the history of t. A
// signed target has to say that the log lost its end.
func (it *iteration) mayRebuild(t source.Target) bool {
	return it.o.OnFork == Rebuild && (!t.Signed || t.Epoch > it.db.Epoch())
}

// onFork applies the policy.
func (it *iteration) onFork(ctx context.Context, t source.Target, f *fork) error {
	it.keep(f)
	if !t.Signed { // else whoever serves it only does what was signed
		it.reportDiverged(f.Peer, t.Peer)
	}
	if !it.mayRebuild(t) {
		return &f.ForkError
	}
	it.unproven = false // more is known: nothing links the next generation to ours
	it.m.rebuilds.Inc()
	it.log.Warn("rebuilding from the source's history", "peer", f.Peer, "target", t.Target)
	err := it.load(ctx, t, chooseAnew(it.db.Loads(), t.Target))
	if unlinked := (*unlinkedError)(nil); errors.As(err, &unlinked) {
		it.noteAbandoned(t) // it is of a third history
		err = it.load(ctx, t, stage)
	}
	return err
}

// keep counts a fork, unless this iteration is in that state already, and files
// and logs it, but not more often than once a minute.
func (it *iteration) keep(f *fork) {
	if it.forkSeen != nil {
		f.Evidence = it.forkSeen.Evidence
		return
	}
	it.m.forks.Inc()
	f.Evidence = it.keepFork(f)
	it.forkSeen = &f.ForkError
	if !it.said.due("fork " + f.Peer) {
		return
	}
	it.log.Error("fork: the source's history is not ours", "peer", f.Peer, "location", f.Location,
		"size", f.evidence.LocalSize, "root", f.evidence.LocalRoot, "target", f.Target,
		"evidence", f.Evidence, "on_fork", it.o.OnFork, "signed", f.Signed, "epoch", f.Epoch, "local_epoch", f.LocalEpoch)
}

// reportDiverged tells the source that the peer that answered, and the one
// that named the target, if that is another one, are of no use for now.
func (it *iteration) reportDiverged(answered, named string) {
	it.report(answered, source.VerdictDiverged)
	if named != answered {
		it.report(named, source.VerdictDiverged)
	}
}

// enterFork makes a fork the state, until the source is of our history again.
func (it *iteration) enterFork(f *ForkError) {
	it.track.phase(PhaseForked)
	it.track.update(func(st *Status) { st.Fork, st.LastError = f, f })
}
