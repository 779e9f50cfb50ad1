// Package retention bounds how much history a database keeps: it applies a
// policy of so many operations, or so much time, below the inactivity floor,
// now and then, beside whoever writes and reads.
//
//	size, floor, clock --Policy--> start --DB.Retain--> a new first location, readable at once
//	                                  '--DB.PruneStep ... pause ... PruneStep--> less on disk
//
// What may be pruned and how it is done safely is for package database; when,
// how fast and who is told, is for this one. It never prunes what is live.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
)

// Options configure a Loop. The zero value is useful: it keeps everything, and
// only finishes what an earlier process has left.
type Options struct {
	Policy   Policy
	Interval time.Duration // between two looks at the database; 0: DefaultInterval
	Logger   *slog.Logger  // nil: discard
	Metrics  *Metrics      // nil: unregistered

	now func() time.Time // nil: the clock
}

// DefaultInterval is how often the policy is applied.
const DefaultInterval = 10 * time.Second

const (
	// A step is followed by a pause of pauseSteps times its length, so that
	// commits find the disk and a processor free most of the time.
	pauseSteps = 2
	minPause   = time.Millisecond
	maxPause   = 250 * time.Millisecond
	// busyPause is how long it waits where the storage engine is behind, and
	// busyPauses how often in a row before it takes a step all the same.
	busyPause  = 20 * time.Millisecond
	busyPauses = 50
	// progressEvery is how often a long run says how far it has come.
	progressEvery = 10 * time.Second
	// blockedAfter is how long an open reader may hold up deleting before that
	// is worth a line.
	blockedAfter = time.Minute
	// Garbage of this share of all files, and of this many bytes, is given back
	// to the disk at once; less than that goes when tables are merged anyway.
	garbageShare = 4
	garbageBytes = 32 << 20
)

// Loop applies a policy to a database.
type Loop struct {
	db *database.DB
	o  Options

	marks  marks
	loaded uint64 // generation the marks were read from or written to; 0: none yet

	blocked time.Time // since when a reader holds up deleting; zero: none does
	told    bool      // of that
	corrupt bool      // told of corrupt data that cannot be pruned
	tidied  bool      // asked for since something was deleted last, or the process began
}

// New makes a loop; Run it.
func New(db *database.DB, o Options) *Loop {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.now == nil {
		o.now = time.Now
	}
	return &Loop{db: db, o: o}
}

// Run applies the policy until ctx ends, or the storage fails: then the
// database refuses further writes, and the process should end.
func (l *Loop) Run(ctx context.Context) error {
	tick := time.NewTicker(l.o.Interval)
	defer tick.Stop()
	for {
		err := l.Tick(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, database.ErrClosed):
			return nil
		case errors.Is(err, store.ErrCorrupt):
			// What is retained is not touched by it: go on serving that.
			l.o.Metrics.failures.Inc()
			if !l.corrupt {
				l.corrupt = true
				l.o.Logger.Error("cannot prune: corrupt data below the retained log keeps its space until the replica is rebuilt or the directory restored", "error", err)
			}
		case err != nil:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Tick applies the policy once: it moves the start if it has to and deletes
// what is not retained, as far as readers of older states allow.
func (l *Loop) Tick(ctx context.Context) error {
	v, err := l.db.View()
	if errors.Is(err, database.ErrEmpty) {
		return nil // a replica before its first sync
	}
	if err != nil {
		return err
	}
	size, floor, before, gen := v.Size(), v.Floor(), v.Start(), v.Generation()
	v.Close() // it would hold up what is to be done
	if l.o.Policy.age > 0 {
		if err := l.mark(gen, size); err != nil {
			return err
		}
	}
	if start := l.o.Policy.start(floor, &l.marks, l.o.now()); database.PruneTo(start) > before {
		if _, err := l.db.Retain(start); err != nil {
			return err
		}
	}
	if err := l.prune(ctx); err != nil {
		return err
	}
	return l.tidy()
}

// mark remembers the size of the log. What was remembered of a generation that
// was replaced goes on: locations are those of the log.
func (l *Loop) mark(gen, size uint64) error {
	if l.loaded == 0 {
		err := l.db.Notes(func(key, value []byte) bool {
			if string(key) != markNote {
				return true
			}
			m, err := decodeMarks(value)
			if err != nil { // nothing is pruned too early for want of marks
				l.o.Logger.Warn("age of the log is not known, retention begins anew", "error", err)
			}
			l.marks = m
			return false
		})
		if err != nil {
			return err
		}
		l.loaded = gen
	}
	if !l.marks.add(l.o.now(), size, l.o.Policy.age) && l.loaded == gen {
		return nil
	}
	l.loaded = gen
	return l.db.PutNote(database.Note{Key: []byte(markNote), Value: l.marks.encode()})
}

// prune deletes what is not retained, in steps with pauses.
func (l *Loop) prune(ctx context.Context) error {
	s, err := l.db.Pruning()
	if err != nil || s.Done() {
		l.report(s)
		return err
	}
	r := run{l: l, from: s.Unpruned, began: time.Now(), to: s}
	_, r.before, _ = l.db.Garbage()
	r.said = r.began
	for waited := 0; !r.to.Done(); {
		if r.to.Busy && waited < busyPauses {
			if waited++; sleep.For(ctx, busyPause) != nil {
				break
			}
			if r.to, err = l.db.Pruning(); err != nil {
				break
			}
			continue
		}
		waited = 0
		began, at := time.Now(), r.to.Unpruned
		next, serr := l.db.PruneStep(ctx)
		if err = serr; err != nil {
			break
		}
		r.to = next
		took := time.Since(began)
		if l.report(next); next.Unpruned == at {
			break // readers of an older state
		}
		l.o.Metrics.pruned.Add(float64(next.Unpruned - at))
		l.o.Metrics.seconds.Add(took.Seconds())
		l.tidied = false
		r.progress()
		if sleep.For(ctx, min(max(pauseSteps*took, minPause), maxPause)) != nil {
			break
		}
	}
	r.end()
	select {
	case <-ctx.Done():
		return nil // goes on with the next process
	default:
		return err
	}
}

// run is one run of deleting.
type run struct {
	l      *Loop
	from   uint64
	to     database.PruneState
	before uint64 // bytes of all files when it began
	began  time.Time
	said   time.Time
}

// progress says now and then how far it has come.
func (r *run) progress() {
	if time.Since(r.said) < progressEvery {
		return
	}
	r.said = time.Now()
	rate := float64(r.to.Unpruned-r.from) / time.Since(r.began).Seconds()
	left := r.to.Start - r.to.Unpruned
	r.l.o.Logger.Info("pruning", "done", r.to.Unpruned-r.from, "left", left, "rate", int(rate),
		"eta", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
}

// end tells what was deleted.
func (r *run) end() {
	if r.to.Unpruned == r.from {
		return
	}
	garbage, after, err := r.l.db.Garbage()
	if err != nil {
		return // the database is being closed
	}
	r.l.o.Logger.Info("pruned operations", "from", r.from, "to", r.to.Unpruned, "retained_from", r.to.Start,
		"duration", time.Since(r.began).Round(time.Millisecond),
		"disk_before", r.before, "disk", after, "garbage", garbage)
}

// report shows the state of deleting, and says once when a reader holds it up.
func (l *Loop) report(s database.PruneState) {
	if s.Start < s.Unpruned { // an error
		return
	}
	l.o.Metrics.pending.Set(float64(s.Start - s.Unpruned))
	if s.Done() || s.Unpruned < s.Limit {
		l.o.Metrics.blocked.Set(0)
		l.blocked, l.told = time.Time{}, false
		return
	}
	l.o.Metrics.blocked.Set(1)
	now := l.o.now()
	if l.blocked.IsZero() {
		l.blocked = now
	}
	if !l.told && now.Sub(l.blocked) >= blockedAfter {
		l.told = true
		l.o.Logger.Warn("pruning waits for a reader of an older state to end", "pending", s.Start-s.Unpruned, "reader_start", s.Limit)
	}
}

// tidy gives the space of a large prune back to the disk, once.
func (l *Loop) tidy() error {
	garbage, total, err := l.db.Garbage()
	if err != nil {
		return err
	}
	l.o.Metrics.garbage.Set(float64(garbage))
	if l.tidied || garbage < garbageBytes || garbage < total/garbageShare {
		return nil
	}
	l.tidied = true
	l.o.Logger.Info("giving the space of pruned operations back", "garbage", garbage, "disk", total)
	return l.db.Tidy()
}
