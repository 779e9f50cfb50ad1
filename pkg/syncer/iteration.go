package syncer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

// iteration is one pass of the loop: from learning a target to being in step
// with the newest one known.
type iteration struct {
	*Syncer
	began  time.Time
	follow *follower
	result Result
	level  slog.Level // of the lines about its beginning and end

	announced bool // the line that a sync starts was logged
	learned   bool // a target was learned, or tried to
	pushed    bool // the first was a pushed one
	forkSeen  *ForkError
	unproven  bool            // see linkPublished
	hopeless  map[string]bool // peers whose target cannot be completed, with Options.Once
	sampled   bool            // the sync under way was estimated, as far as it has to be
	estimated bool            // said what the sync will take
	unhold    func()          // nil: the sync is not paused
}

// Sync runs one iteration: it completes targets until no newer one is known,
// which for an up-to-date replica takes no request for data. It keeps trying
// until it is done, ctx ends, or storage fails (*LocalError); with
// Options.Once also until it is clear of every source that it cannot be done
// (*ForkError, *MismatchError, *IncomparableError), and it ends with the first
// target completed.
func (s *Syncer) Sync(ctx context.Context) (Result, error) {
	s.running.Lock()
	defer s.running.Unlock()
	s.iteration++
	s.m.iterations.Inc()
	it := &iteration{Syncer: s, began: time.Now(), result: Result{Iteration: s.iteration}}
	s.track.update(func(st *Status) { st.Iteration = s.iteration })
	it.follow = s.follow(ctx)
	defer it.follow.stop()
	defer it.resumed()

	err := it.run(ctx)
	it.result.Duration = time.Since(it.began)
	s.lookLocal()
	st := s.Status()
	it.result.Size, it.result.Root = st.Size, st.Root
	if err != nil {
		if ctx.Err() == nil {
			it.failed(err)
		}
		return it.result, err
	}
	it.completed()
	return it.result, nil
}

// failed notes an error that ends the iteration.
func (it *iteration) failed(err error) {
	if _, ok := errors.AsType[*LocalError](err); !ok {
		return // noted when it happened
	}
	it.m.failures.WithLabelValues(source.Local.String()).Inc()
	it.track.phase(PhaseFailed)
	it.track.update(func(st *Status) { st.LastError = err; st.Failures++ })
}

func (it *iteration) completed() {
	r := &it.result
	it.m.completed.Inc()
	it.m.duration.Observe(r.Duration.Seconds())
	it.m.lastDuration.Set(r.Duration.Seconds())
	phase := PhaseWaiting
	if r.Behind {
		phase = PhaseBehind
	}
	it.behind = r.Behind
	it.track.phase(phase)
	it.track.update(func(st *Status) { st.Rate, st.ETA, st.Incomparable = 0, 0, nil })
	it.succeeded()
	it.log.Log(context.Background(), it.level, "sync completed successfully", "sync_iteration", r.Iteration,
		"database_ops", r.Size, "root", r.Root, "sync_interval", it.o.SyncInterval)
}

// succeeded notes that we were in step with a target: at the end of an
// iteration, and at every target completed within one, which a fast writer can
// make long.
func (it *iteration) succeeded() {
	it.m.lastSuccess.SetToCurrentTime()
	it.track.update(func(st *Status) { st.LastSync, st.LastError, st.Failures = time.Now(), nil, 0 })
	it.track.alive()
}

// run learns targets and completes them, however often that fails.
func (it *iteration) run(ctx context.Context) error {
	var pause time.Duration
	var fetched uint64 // when the last failure was judged
	for failures := 0; ; {
		if err := sleep.For(ctx, pause); err != nil {
			return err
		}
		t, err := it.learn(ctx)
		for err == nil {
			it.announce(t)
			if err = it.toward(ctx, t); err != nil {
				it.pushes.forget(t)
				break
			}
			it.pushes.completed(t)
			failures = 0
			next, more := it.follow.newest(t)
			if !more || it.o.Once {
				return nil
			}
			t = next
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if low, ok := asLow(err); ok {
			if err := it.enterPaused(ctx, err, low); err != nil {
				return err
			}
			pause = 0
			continue
		}
		if it.noteDamage(0, err) && !isHalted(err) {
			pause = 0
			continue
		}
		if it.result.Fetched > fetched {
			fetched, failures = it.result.Fetched, 0
		}
		if pause, err = it.judge(err, t, failures); err != nil {
			return err
		}
		failures++
	}
}

// learn learns a target. The first one may have been pushed; after a failure
// the source is asked.
func (it *iteration) learn(ctx context.Context) (source.Target, error) {
	if !it.learned {
		it.learned = true
		if t, ok := it.follow.pushed(); ok {
			it.pushed = true
			return t, nil
		}
	}
	return it.follow.poll(ctx)
}

// judge decides about a failure on the way to t. It returns how long to wait
// before the target is learned anew, or the error when that would be of no use.
func (it *iteration) judge(err error, t source.Target, failures int) (time.Duration, error) {
	class := classify(err)
	if e, ok := errors.AsType[*source.ContradictionError](err); ok {
		f := it.contradiction(e)
		it.keep(f)
		err = &f.ForkError
	}
	if p := untrusted(err); p != "" {
		it.enterUntrusted(p, err)
		return max(it.o.TargetInterval, source.Backoff(failures+1)), nil
	}
	var fork *ForkError
	var mismatch *MismatchError
	var incomparable *IncomparableError
	switch {
	case errors.As(err, &fork):
		it.enterFork(fork)
		if it.givesUp(t.Peer) {
			return 0, err
		}
		return it.o.TargetInterval, nil
	case errors.As(err, &incomparable):
		it.enterIncomparable(incomparable)
		if it.givesUp(t.Peer) {
			return 0, err
		}
		return it.o.TargetInterval, nil
	case errors.As(err, &mismatch):
		it.enterMismatch(mismatch, t)
		if it.givesUp(t.Peer) {
			return 0, err
		}
		return max(it.o.TargetInterval, source.Backoff(failures+1)), nil
	case class == source.Local:
		if _, ok := errors.AsType[*LocalError](err); !ok {
			err = local("ask the source", err)
		}
		return 0, err
	}
	it.noteFailure(err)
	return source.Backoff(failures + 1), nil
}

// givesUp says whether to end with Options.Once, after the target of peer turned
// out to be one that cannot be completed: when that was found of every source.
func (it *iteration) givesUp(peer string) bool {
	if !it.o.Once {
		return false
	}
	if it.hopeless == nil {
		it.hopeless = make(map[string]bool)
	}
	it.hopeless[peer] = true
	sources := 1
	if g, ok := it.src.(source.Group); ok {
		sources = g.Sources()
	}
	return len(it.hopeless) >= sources
}

// noteFailure counts and logs a failure that is not ours, and tells the source.
func (it *iteration) noteFailure(err error) {
	class := classify(err)
	it.m.failures.WithLabelValues(class.String()).Inc()
	first := false // since the last progress
	it.track.update(func(st *Status) {
		first = st.Failures == 0 || st.LastError == nil || classify(st.LastError) != class
		st.LastError = err
		st.Failures++
	})
	var (
		verification *VerificationError
		target       *TargetError
		peer         string
	)
	switch {
	case errors.As(err, &verification):
		peer = verification.Peer
	case errors.As(err, &target):
		peer = target.Target.Peer
	}
	if peer != "" {
		it.m.refuted.Inc()
		it.report(peer, source.VerdictLying)
	}
	// An unreachable source is an event once; every wrong answer is one.
	level := slog.LevelDebug
	if first || class == source.Wrong {
		level = slog.LevelWarn
	}
	args := []any{"sync_iteration", it.Syncer.iteration, "class", class, "error", err}
	if peer = source.PeerOf(err, peer); peer != "" {
		args = append(args, "peer", peer)
	}
	it.log.Log(context.Background(), level, "sync interrupted, trying again", args...)
}

// announce logs the beginning of an iteration, once its target is known.
func (it *iteration) announce(t source.Target) {
	if it.announced {
		return
	}
	it.announced = true
	it.level = slog.LevelInfo
	if it.pushed && time.Since(it.told) < it.o.SyncInterval {
		it.level = slog.LevelDebug // as many as there are commits
	} else {
		it.told = time.Now()
	}
	it.log.Log(context.Background(), it.level, "starting sync", "sync_iteration", it.iteration, "target", t.Target, "server", it.o.Server,
		"batch_size", it.o.BatchSize, "target_update_interval", it.o.TargetInterval)
}

// toward completes one target: afterwards its root is readable, or has been
// found to be one of ours.
func (it *iteration) toward(ctx context.Context, t source.Target) error {
	if err := it.mend(ctx); err != nil {
		return err
	}
	loads := it.db.Loads()
	a := choose(loads, t.Target)
	switch a {
	case behind:
		return &IncomparableError{Peer: t.Peer, Target: t.Target, Start: loads.Start, Size: loads.Size}
	case compare:
		same, err := it.compare(t.Target)
		if err != nil {
			return err
		}
		if same && !it.givenUp(t, loads.Size) {
			return it.atOurs(t, loads.Size)
		}
		if err := it.stillMismatched(ctx, t); err != nil {
			return err
		}
		fork, err := it.proveFork(ctx, t)
		if err != nil {
			return err
		}
		return it.onFork(ctx, t, fork)
	}
	if err := it.stillMismatched(ctx, t); err != nil {
		return err
	}
	return it.reach(ctx, t, a)
}

// atOurs notes that a target is a root of ours.
func (it *iteration) atOurs(t source.Target, size uint64) error {
	if err := it.accept(t); err != nil {
		return err
	}
	if t.End < size {
		it.noteBehind(t)
		return nil
	}
	it.result.Behind = false
	return it.reached(t)
}

// reach completes a target by the chosen way, and by other ways when that
// turns out to be a dead end.
func (it *iteration) reach(ctx context.Context, t source.Target, a action) error {
	if st := it.Status(); st.Obstacle() == nil && st.Paused == nil {
		it.track.phase(PhaseSyncing)
	}
	fork, err := it.linkPublished(ctx, t, a)
	if fork == nil && err == nil {
		fork, err = it.linkRemembered(ctx, t)
	}
	if err != nil {
		return err
	}
	if fork != nil {
		return it.onFork(ctx, t, fork)
	}
	err = it.load(ctx, t, a)
	var unlinked *unlinkedError
	if errors.As(err, &unlinked) && unlinked.fork == nil {
		// What was in the making belongs to another history: as if it were not there.
		it.noteAbandoned(t)
		l := it.db.Loads()
		l.Staged = false
		return it.reach(ctx, t, choose(l, t.Target)) // not what is staged again
	}
	if errors.As(err, &unlinked) && unlinked.fork != nil {
		return it.onFork(ctx, t, unlinked.fork)
	}
	return err
}

func (it *iteration) noteAbandoned(t source.Target) {
	it.log.Info("abandoned a generation in the making, it is not a part of the target's history", "target", t.Target)
}

// compare says whether a target that is not beyond our size is of our history.
func (it *iteration) compare(t wire.Target) (bool, error) {
	v, err := it.db.View()
	if err != nil {
		return false, local("compare target", err)
	}
	defer v.Close()
	root, err := v.RootAt(t.End)
	switch {
	case errors.Is(err, database.ErrNotBoundary):
		return false, nil
	case err != nil:
		return false, local("compare target", err)
	}
	return root == t.Root, nil
}

// enterIncomparable makes it the state that the target of a source cannot be
// compared with what is here, and says so once: that is no sync completed, as
// the source may be of another history.
func (it *iteration) enterIncomparable(e *IncomparableError) {
	it.track.phase(PhaseBehind)
	it.track.update(func(st *Status) { st.Incomparable, st.LastError = e, e })
	it.report(e.Peer, source.VerdictDiverged)
	if it.said.due("incomparable " + e.Peer) {
		it.log.Warn("source cannot be compared with this replica, its target ends before what is retained here",
			"peer", e.Peer, "target", e.Target, "start", e.Start, "size", e.Size)
	}
}

// noteBehind says, once, that the source has less than we do, although it is
// of our history.
func (it *iteration) noteBehind(t source.Target) {
	it.result.Behind = true
	if !it.behind {
		it.behind = true
		it.log.Warn("source is behind this replica", "peer", t.Peer, "target", t.Target, "size", it.Status().Size)
	}
}
