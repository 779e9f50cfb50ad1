package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/store"
)

// Syncer keeps one database in step with one source. Sync and Run are for one
// caller at a time; Status is for everyone.
type Syncer struct {
	db      *database.DB
	src     source.Source
	o       Options
	log     *slog.Logger
	m       *Metrics
	track   *tracker
	codec   operation.Codec
	workers chan struct{} // one token for each answer being verified
	spans   sync.Pool     // of *mmr.Span

	refuted pace // of the files of refuted answers, by peer
	said    pace // of log lines about a state of a peer that comes and goes
	forks   forkFiles
	pushes  *pushes

	running    sync.Mutex // held by Sync
	iteration  uint64
	mismatches map[string]*MismatchError // of each peer, as found last
	behind     bool                      // said that the source is behind; the next time is no news
	seen       sizes                     // of the operations fetched
	rate       float64                   // verified operations per second, as measured last; 0: not yet
	lost       store.Lost                // what was readable before data was set aside; zero: nothing, or compared
	relinked   bool                      // it was proven to be a part of what is being fetched in its place
	told       time.Time                 // when the beginning of an iteration was last logged for operators
}

// New returns a Syncer that fetches from src into db. It owns neither.
func New(db *database.DB, src source.Source, o Options) *Syncer {
	o = o.withDefaults(src.Name())
	s := &Syncer{
		db: db, src: src, o: o, log: o.Logger, m: o.Metrics,
		track:      newTracker(o.Metrics),
		codec:      db.Codec(),
		forks:      make(forkFiles),
		mismatches: make(map[string]*MismatchError),
		workers:    make(chan struct{}, o.Workers),
		spans:      sync.Pool{New: func() any { return new(mmr.Span) }},
	}
	s.pushes = newPushes(s)
	s.lookLocal()
	s.rememberReached()
	s.rememberLost()
	return s
}

// Result is what an iteration came to.
type Result struct {
	Iteration uint64
	Size      uint64     // published at the end
	Root      mmr.Digest // at Size
	Fetched   uint64     // operations verified and stored
	Published int        // targets completed
	Behind    bool       // the source has less than we do
	Duration  time.Duration
}

// Status returns a snapshot.
func (s *Syncer) Status() Status {
	st := s.track.snapshot()
	st.Following = s.following()
	return st
}

// Run keeps the database in step until ctx ends, which is no error. It waits
// out whatever a source may do; only a *LocalError ends it. With Options.Follow
// it begins an iteration as soon as a source pushes a target, and all the same
// every SyncInterval.
//
// With Options.Once it returns nil after one completed sync; a *ForkError,
// *MismatchError or *IncomparableError when no source allows one; and, if ctx
// ends by its deadline, an error that matches context.DeadlineExceeded and
// names such an obstacle or the last failure.
func (s *Syncer) Run(ctx context.Context) error {
	watch, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { s.watchStalls(watch) })
	if f, ok := s.src.(source.Follower); ok && s.o.Follow && !s.o.Once {
		tasks.Go(func() { f.Follow(watch, s.pushes.put) })
	}
	defer tasks.Wait()
	defer stop()
	for {
		done, err := s.Sync(ctx)
		if err == nil && s.o.Synced != nil {
			s.o.Synced(done)
		}
		switch {
		case err == nil && s.o.Once:
			return nil
		case ctx.Err() != nil:
			return s.ended(ctx)
		case err != nil:
			return err
		}
		if s.pause(ctx) != nil {
			return s.ended(ctx)
		}
		s.track.alive()
		s.track.phase(PhaseConnecting)
	}
}

// ended turns the end of ctx into what Run returns.
func (s *Syncer) ended(ctx context.Context) error {
	if !s.o.Once || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	st := s.Status()
	last := st.Obstacle()
	if last == nil {
		last = st.Paused
	}
	if last == nil {
		last = st.LastError
	}
	if last != nil {
		return fmt.Errorf("no completed sync in time: %w: %w", ctx.Err(), last)
	}
	return fmt.Errorf("no completed sync in time: %w", ctx.Err())
}

// watchStalls says so when nothing moves although something should.
func (s *Syncer) watchStalls(ctx context.Context) {
	tick := time.NewTicker(max(s.o.StallAfter/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if idle, fresh := s.track.stall(s.o.StallAfter); fresh {
			st := s.Status()
			s.m.stalls.Inc()
			s.log.Warn("sync is stalled", "phase", st.Phase, "idle", idle.Round(time.Second),
				"size", st.Size, "stored", st.Stored, "target", st.Target, "last_error", st.LastError)
		}
	}
}

// lookLocal puts what is readable into the status.
func (s *Syncer) lookLocal() {
	l := s.db.Loads()
	s.track.update(func(st *Status) { st.Size, st.Root, st.Stored = l.Size, l.Root, l.Stored })
}

// report tells the source what became of an answer, if it wants to know.
func (s *Syncer) report(peer string, v source.Verdict) {
	if r, ok := s.src.(source.Reporter); ok && peer != "" {
		r.Report(peer, v)
	}
}
