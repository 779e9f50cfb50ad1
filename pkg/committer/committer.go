// Package committer lets many writers share commits: it merges the batches
// that wait into one commit of the database, with one wait for the disk, and
// still gives each of them its own answer.
//
//	Commit --check--> queue --group--> preconditions, one after the other --> database.Update --> answers
//	   \__ idempotency key known: the earlier answer
//
// The outcome is linearizable: batches take effect one after the other, at some
// moment between call and return, in an order that the preconditions of all of
// them agree with. Other writers of the same database may call its Apply
// beside this package; the database serialises them.
//
// It knows nothing of HTTP, tokens or JSON; that is pkg/api.
package committer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
)

// Options configure a Committer. Zero fields mean the defaults.
type Options struct {
	// Bounds of one group. A batch above them is committed alone.
	MaxGroupWrites  int // default 8192
	MaxGroupBytes   int // of keys and values, default 8 MiB
	MaxGroupBatches int // default 1024

	// MaxWaiting is how many batches may wait for their group; further calls
	// of Commit wait for a place. Default 4096.
	MaxWaiting int
	// MaxWaitingBytes is how much memory the batches may take that wait or are
	// in work; further calls of Commit wait. A larger batch waits until it is
	// the only one. Default 64 MiB.
	MaxWaitingBytes int64

	// Remember is how long an idempotency key is known after its commit.
	// Default 10 minutes.
	Remember time.Duration
	// MaxRemembered bounds the number of keys that are known. None is forgotten
	// before its time: batches with more of them get ErrKeysFull. So at most
	// MaxRemembered/Remember new keys are taken a second in the long run.
	// Default 1,000,000; one takes about 125 bytes of memory.
	MaxRemembered int

	Logger  *slog.Logger // nil: discard
	Metrics *Metrics     // nil: not measured
}

// The defaults of Options.
const (
	DefaultMaxGroupWrites  = 8192
	DefaultMaxGroupBytes   = 8 << 20
	DefaultMaxGroupBatches = 1024
	DefaultMaxWaiting      = 4096
	DefaultMaxWaitingBytes = 64 << 20
	DefaultRemember        = 10 * time.Minute
	DefaultMaxRemembered   = 1_000_000
)

func (o Options) withDefaults() Options {
	number := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	number(&o.MaxGroupWrites, DefaultMaxGroupWrites)
	number(&o.MaxGroupBytes, DefaultMaxGroupBytes)
	number(&o.MaxGroupBatches, DefaultMaxGroupBatches)
	number(&o.MaxWaiting, DefaultMaxWaiting)
	number(&o.MaxRemembered, DefaultMaxRemembered)
	if o.MaxWaitingBytes <= 0 {
		o.MaxWaitingBytes = DefaultMaxWaitingBytes
	}
	if o.Remember <= 0 {
		o.Remember = DefaultRemember
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return o
}

// Committer commits batches for many callers. Run does the work; Commit may be
// called from any number of goroutines.
type Committer struct {
	db    *database.DB
	codec operation.Codec
	opts  Options
	mem   *memory

	queue   chan *request
	room    *semaphore.Weighted // bytes of the batches that wait or are in work
	started atomic.Bool
	stopped chan struct{} // closed when Run has answered all that it took
}

// New returns a committer for db, with the idempotency keys that its earlier
// commits left there.
func New(db *database.DB, o Options) (*Committer, error) {
	o = o.withDefaults()
	mem, err := loadMemory(db, &o)
	if err != nil {
		return nil, err
	}
	return &Committer{
		db: db, codec: db.Codec(), opts: o, mem: mem,
		queue: make(chan *request, o.MaxWaiting), room: semaphore.NewWeighted(o.MaxWaitingBytes),
		stopped: make(chan struct{}),
	}, nil
}

// Commit applies a batch and returns when it is durable and readable.
//
// Errors that say that nothing was written: *WriteError, *PreconditionError,
// ErrConditions, ErrIdempotencyKey, ErrPart, *ReusedError, ErrKeysFull,
// database.ErrFloor, those of package operation about metadata, *space.LowError and ErrClosed. When ctx ends, a batch that
// is in work already may still be committed, as it may with any other error: only the
// same call with the same idempotency key, or a look at the keys, can tell.
func (c *Committer) Commit(ctx context.Context, b Batch) (Result, error) {
	c.opts.Metrics.waiting.Inc()
	defer c.opts.Metrics.waiting.Dec()
	res, err := c.commit(ctx, b)
	switch {
	case err != nil:
		c.opts.Metrics.refused[reasonOf(err)].Inc()
	case res.Replayed:
		c.opts.Metrics.replayed.Inc()
	}
	return res, err
}

func (c *Committer) commit(ctx context.Context, b Batch) (Result, error) {
	bytes, err := b.check(c.codec)
	if err != nil {
		return Result{}, err
	}
	held := min(b.memory(), c.opts.MaxWaitingBytes)
	for {
		r := &request{batch: b, bytes: bytes, held: held, waiters: 1, done: make(chan struct{})}
		if b.IdempotencyKey == "" {
			return c.submit(ctx, r)
		}
		seen, err := c.mem.begin(r)
		switch {
		case err != nil:
			return Result{}, err
		case seen.skipped:
			return Result{Replayed: true, Skipped: true}, nil
		case seen.known != nil:
			return c.replay(seen.known)
		case seen.other == nil:
			return c.submit(ctx, r)
		}
		res, err := c.await(ctx, seen.other)
		switch {
		case seen.same && !errors.Is(err, errNotQueued):
			res.Replayed = err == nil
			return res, err
		case ctx.Err() != nil:
			return Result{}, ctx.Err()
		case errors.Is(err, ErrClosed):
			return Result{}, err
		}
	}
}

// Run commits what is handed to Commit until ctx ends. It finishes the group
// in work, answers the rest with ErrClosed and returns nil. Any other outcome
// is a failure of the database, after which nothing can be written.
//
// Run may be called once.
func (c *Committer) Run(ctx context.Context) error {
	if c.started.Swap(true) {
		return errors.New("committer: Run called twice")
	}
	defer close(c.stopped)
	var carried []*request
	for {
		group, rest := c.collect(ctx, carried)
		if len(group) == 0 {
			c.answerAll(rest, ErrClosed)
			return nil
		}
		postponed, err := c.apply(ctx, group)
		carried = append(postponed, rest...)
		if err != nil {
			c.answerAll(carried, ErrClosed)
			return fmt.Errorf("committing batches: %w", err)
		}
	}
}

// collect waits for the first request and takes as many more as are there and
// fit. carried were taken already; rest are those of them, and at most one
// more, that did not fit. No group means that ctx has ended.
func (c *Committer) collect(ctx context.Context, carried []*request) (group, rest []*request) {
	writes, bytes := 0, 0
	fits := func(r *request) bool {
		if len(group) > 0 && (group[0].batch.alone() || r.batch.alone() ||
			len(group) >= c.opts.MaxGroupBatches ||
			writes+len(r.batch.Writes) > c.opts.MaxGroupWrites ||
			bytes+r.bytes > c.opts.MaxGroupBytes) {
			return false
		}
		group, writes, bytes = append(group, r), writes+len(r.batch.Writes), bytes+r.bytes
		return true
	}
	if ctx.Err() != nil {
		return nil, carried
	}
	for i, r := range carried {
		if !fits(r) {
			return group, carried[i:]
		}
	}
	for {
		var r *request
		if len(group) == 0 {
			select {
			case r = <-c.queue:
			case <-ctx.Done():
				return nil, nil
			}
		} else {
			select {
			case r = <-c.queue:
			default:
				return group, nil
			}
		}
		if !r.state.CompareAndSwap(waiting, taken) {
			continue // its caller has cleaned up
		}
		if !fits(r) {
			return group, []*request{r}
		}
	}
}

// errNothing: no batch of the group is to be written.
var errNothing = errors.New("nothing to commit")

// apply commits a group and answers its requests. postponed are those that
// can be decided only after the group was committed. An error means that the
// database has failed; all requests of the group have been answered.
func (c *Committer) apply(ctx context.Context, group []*request) (postponed []*request, err error) {
	began := time.Now()
	var merged *merger
	var added []addition
	var dropped []hash
	// What was begun is finished: ctx says only that nothing more is.
	commit, err := c.db.Update(context.WithoutCancel(ctx), func(v *database.View) (database.Batch, error) {
		merged = newMerger(v)
		for i, r := range group {
			if merged.add(r) == later {
				group, postponed = group[:i], group[i:]
				break
			}
		}
		if merged.accepted == 0 {
			return database.Batch{}, errNothing
		}
		b := database.Batch{Writes: merged.writes}
		if group[0].batch.alone() {
			b.Metadata, b.Floor = group[0].batch.Metadata, group[0].batch.Floor
		}
		for _, r := range group {
			if r.err == nil && r.batch.IdempotencyKey != "" {
				added = append(added, c.mem.addition(&r.batch, v.Size()))
			}
		}
		dropped = c.mem.toDrop(len(added))
		b.Notes = c.mem.notes(dropped, added, began)
		return b, nil
	})
	refused := err != nil && (errors.Is(err, errNothing) || isRefusal(err))
	if err != nil {
		for _, r := range group {
			if r.err == nil || !refused && r.inGroup {
				r.err = err
			}
		}
		c.answer(group)
		if refused {
			return postponed, nil
		}
		return postponed, err
	}
	c.opts.Metrics.groups.Inc()
	c.opts.Metrics.batches.Observe(float64(merged.accepted))
	c.opts.Metrics.seconds.Observe(time.Since(began).Seconds())
	commit.Outcome = database.Outcome{} // it is that of all batches together
	result := Result{Commit: commit, Location: commit.Size - 1}
	c.mem.commit(dropped, added, commit.Size)
	c.opts.Metrics.remembered.Set(float64(c.mem.size()))
	for _, r := range group {
		if r.err == nil {
			r.result = result
			r.result.Earlier = r.batch.Part.Earlier
		}
	}
	c.answer(group)
	return postponed, nil
}

// isRefusal says whether the database refused a batch, as opposed to having
// failed to write it.
func isRefusal(err error) bool {
	if _, ok := errors.AsType[*space.LowError](err); ok {
		return true
	}
	for _, target := range []error{
		database.ErrFloor, database.ErrDelete, database.ErrNote, operation.ErrKind,
		operation.ErrKeySize, operation.ErrValueSize, operation.ErrTooLarge, operation.ErrFloor,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
