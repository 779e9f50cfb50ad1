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

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
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

	// Remember is how long an idempotency key is known after its commit.
	// Default 10 minutes.
	Remember time.Duration
	// MaxRemembered bounds the number of keys that are known. When it is
	// reached the oldest are forgotten before their time. Default 100,000;
	// one takes about 300 bytes of memory.
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
	DefaultRemember        = 10 * time.Minute
	DefaultMaxRemembered   = 100_000
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
	started atomic.Bool
	stopped chan struct{} // closed when Run has answered all that it took
}

// New returns a committer for db, with the idempotency keys that its earlier
// commits left there.
func New(db *database.DB, o Options) (*Committer, error) {
	o = o.withDefaults()
	mem, err := loadMemory(db, o.Remember, o.MaxRemembered)
	if err != nil {
		return nil, err
	}
	return &Committer{
		db: db, codec: db.Codec(), opts: o, mem: mem,
		queue: make(chan *request, o.MaxWaiting), stopped: make(chan struct{}),
	}, nil
}

// request is a batch on its way through the committer.
type request struct {
	batch Batch
	bytes int
	state atomic.Int32 // waiting, then one of the others
	done  chan struct{}

	// Of Run until done is closed, and then nobody's to change.
	result  Result
	err     error
	inGroup bool // err was decided by an earlier batch of the same group
}

const (
	waiting = iota
	taken   // by Run: it will be answered
	givenUp // by its caller: Run leaves it out
)

// errNotQueued: the call that others were waiting for gave up before its
// batch was queued.
var errNotQueued = errors.New("not queued")

// Commit applies a batch and returns when it is durable and readable.
//
// Errors that say that nothing was written: *WriteError, *PreconditionError,
// ErrConditions, ErrIdempotencyKey, *ReusedError, database.ErrFloor, those of
// package operation about metadata, and ErrClosed. When ctx ends, a batch that
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
	for {
		r := &request{batch: b, bytes: bytes, done: make(chan struct{})}
		if b.IdempotencyKey == "" {
			return c.submit(ctx, r)
		}
		known, other, err := c.mem.begin(r, time.Now())
		switch {
		case err != nil:
			return Result{}, err
		case known != nil:
			return c.replay(known)
		case other == nil:
			return c.submit(ctx, r)
		}
		res, err := c.await(ctx, other)
		if !errors.Is(err, errNotQueued) {
			res.Replayed = err == nil
			return res, err
		}
	}
}

// submit queues a request and waits for its answer.
func (c *Committer) submit(ctx context.Context, r *request) (Result, error) {
	var err error
	select {
	case <-c.stopped: // the queue may have room still
		err = ErrClosed
	default:
		select {
		case c.queue <- r:
			return c.await(ctx, r)
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.stopped:
			err = ErrClosed
		}
	}
	c.mem.end(r)
	r.err = errNotQueued
	close(r.done)
	return Result{}, err
}

func (c *Committer) await(ctx context.Context, r *request) (Result, error) {
	select {
	case <-r.done:
		return r.result, r.err
	case <-c.stopped:
		// What Run took it has answered; what it did not take is not committed.
		select {
		case <-r.done:
			return r.result, r.err
		default:
			return Result{}, ErrClosed
		}
	case <-ctx.Done():
		// Others may be waiting for a batch that has an idempotency key.
		if r.batch.IdempotencyKey == "" {
			r.state.CompareAndSwap(waiting, givenUp)
		}
		return Result{}, ctx.Err()
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
			c.mem.end(r)
			continue
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
	var records []*record
	var dropped []*record
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
				records = append(records, &record{
					key: r.batch.IdempotencyKey, fingerprint: r.batch.Fingerprint, time: began, base: v.Size(),
				})
			}
		}
		dropped = c.mem.toDrop(len(records), began)
		b.Notes = notesOf(dropped, records)
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
	result := Result{Commit: commit, Location: commit.Size - 1}
	for _, rec := range records {
		rec.result = &result
	}
	c.mem.commit(dropped, records)
	for _, r := range group {
		if r.err == nil {
			r.result = result
		}
	}
	c.answer(group)
	return postponed, nil
}

func (c *Committer) answer(group []*request) {
	for _, r := range group {
		c.mem.end(r)
		close(r.done)
	}
}

func (c *Committer) answerAll(rs []*request, err error) {
	for _, r := range rs {
		r.err = err
	}
	c.answer(rs)
}

// isRefusal says whether the database refused a batch, as opposed to having
// failed to write it.
func isRefusal(err error) bool {
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
