// Package generator writes demonstration operations: those a new database
// begins with, and then a batch at every interval. It is how a server without
// any data of its own has something to serve.
//
// It is not a load generator, and it deletes nothing.
//
//	seed, size of the log --writes--> database.Batch --Apply--> commit --> log line
//
// What a batch contains follows from the seed and the size of the log it is
// applied to. So the same seed and the same settings give the same roots, in
// every run, and whether or not the process was restarted in between; nothing
// but the database itself has to be remembered. Other writers of the same
// database change sizes, and with them all later batches.
package generator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/space"
)

// opsPerInitialCommit is how the reference groups the operations a database
// begins with.
const opsPerInitialCommit = 10

// initialTogether is how many initial operations are applied, and wait for the disk, together.
const initialTogether = 10_000

// reportEvery is the distance between progress lines.
const reportEvery = 5 * time.Second

// Options configures a Generator.
type Options struct {
	Seed           uint64
	InitialOps     uint64               // operations of a new database
	OpInterval     time.Duration        // between two batches; 0: Run generates nothing
	OpsPerInterval int                  // operations of a batch, at least 1
	FloorPolicy    database.FloorPolicy // of immutable databases; ignored for any
	Logger         *slog.Logger         // nil discards
	Metrics        *Metrics             // nil: not measured
}

// Metrics counts what was generated.
type Metrics struct {
	operations prometheus.Counter
	batches    prometheus.Counter
}

// NewMetrics registers the metrics with reg; nil leaves them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		operations: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_generator_operations_total",
			Help: "Demonstration operations written, without those the family adds (commits, moved operations).",
		}),
		batches: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_generator_batches_total",
			Help: "Demonstration batches committed.",
		}),
	}
}

// Generator writes to one database. Its methods are for one goroutine at a time.
type Generator struct {
	db   *database.DB
	opts Options
}

// New returns a generator for db.
func New(db *database.DB, o Options) *Generator {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Generator{db: db, opts: o}
}

// Fresh says whether the database holds nothing but the commit it was made with.
func (g *Generator) Fresh() (bool, error) {
	size, err := g.head()
	return size <= 1, err
}

// Initialize gives a fresh database its initial operations, one commit for every
// ten of them, and returns when all are durable. It leaves others as they are.
// After a crash in between the database holds whole commits, and gets no more.
func (g *Generator) Initialize(ctx context.Context) error {
	size, err := g.head()
	if err != nil || size > 1 || g.opts.InitialOps == 0 {
		return err
	}
	g.opts.Logger.Info("creating initial operations", "operations_len", g.opts.InitialOps)
	begin := time.Now()
	reported := begin
	for done := uint64(0); done < g.opts.InitialOps; {
		if time.Since(reported) >= reportEvery {
			reported = time.Now()
			rate := float64(done) / time.Since(begin).Seconds()
			g.opts.Logger.Info("initial operations under way", "done", done, "operations_len", g.opts.InitialOps,
				"rate", uint64(rate), "eta", time.Duration(float64(g.opts.InitialOps-done)/rate*float64(time.Second)).Round(time.Second))
		}
		var batches []database.Batch
		for end := min(done+initialTogether, g.opts.InitialOps); done < end; {
			n := min(end-done, opsPerInitialCommit)
			batches = append(batches, g.batch(1+done, int(n)))
			done += n
		}
		if _, err := g.apply(ctx, batches...); err != nil {
			return err
		}
	}
	return nil
}

// Run writes a batch at every interval until ctx ends, and then returns nil. While
// the disk is nearly full, it waits. Any
// other outcome is a failure of the database.
func (g *Generator) Run(ctx context.Context) error {
	if g.opts.OpInterval <= 0 {
		return nil
	}
	tick := time.NewTicker(g.opts.OpInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		size, err := g.head()
		if err != nil {
			return err
		}
		c, err := g.apply(ctx, g.batch(size, g.opts.OpsPerInterval))
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		g.opts.Logger.Info("added operations", "operations_added", g.opts.OpsPerInterval, "root", c.Root)
	}
}

// head is the size of the log.
func (g *Generator) head() (uint64, error) {
	v, err := g.db.View()
	if err != nil {
		return 0, fmt.Errorf("generator: %w", err)
	}
	defer v.Close()
	return v.Size(), nil
}

// batch is of n writes that depend on the seed and on where they stand: the size
// of the log, but for initial ones, whose places are counted without the operations between them.
func (g *Generator) batch(at uint64, n int) database.Batch {
	return database.Batch{Writes: writes(g.db.Codec(), g.opts.Seed, at, n), Policy: g.opts.FloorPolicy}
}

// apply commits batches, and waits while the disk is nearly full.
func (g *Generator) apply(ctx context.Context, batches ...database.Batch) (database.Commit, error) {
	var c database.Commit
	err := space.Retry(ctx, func() (err error) {
		c, err = g.db.ApplyAll(ctx, batches)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("generator: applying %d batches: %w", len(batches), err)
	}
	for _, b := range batches {
		g.opts.Metrics.operations.Add(float64(len(b.Writes)))
	}
	g.opts.Metrics.batches.Add(float64(len(batches)))
	return c, nil
}
