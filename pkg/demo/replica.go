package demo

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// replica is a client: a database of its own and the engine that follows addr.
type replica struct {
	name    string
	db      *database.DB
	pool    *source.Pool
	metrics *prometheus.Registry

	cancel context.CancelFunc
	tasks  sync.WaitGroup
	ended  chan error // result of the engine

	mu    sync.Mutex
	roots []mmr.Digest // shown so far
}

var errEnded = errors.New("the engine ended")

func newReplica(name, dir, addr string, codec operation.Codec, log *slog.Logger) (*replica, error) {
	log = log.With("part", name)
	db, err := database.Open(dir, database.Options{Codec: codec, Logger: log})
	if err != nil {
		return nil, err
	}
	r := &replica{name: name, db: db, metrics: prometheus.NewRegistry(), ended: make(chan error, 1)}
	r.pool = source.NewPool([]source.Source{
		source.NewPeer(addr, source.PeerOptions{Codec: codec, Logger: log}),
	}, source.PoolOptions{Logger: log})
	engine := syncer.New(db, r.pool, syncer.Options{
		TargetInterval: 50 * time.Millisecond,
		SyncInterval:   50 * time.Millisecond,
		Logger:         log,
		Metrics:        syncer.NewMetrics(r.metrics),
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.tasks.Go(func() { r.ended <- engine.Run(ctx) })
	r.tasks.Go(func() { r.watch(ctx) })
	return r, nil
}

// watch keeps every root that becomes readable.
func (r *replica) watch(ctx context.Context) {
	for {
		changed := r.db.Changed()
		if h := r.head(); h.Size > 0 {
			r.mu.Lock()
			r.roots = append(r.roots, h.Root)
			r.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (r *replica) shown() []mmr.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]mmr.Digest(nil), r.roots...)
}

// head is what a reader of the replica sees; zero before the first sync.
func (r *replica) head() head {
	view, err := r.db.View()
	if err != nil {
		return head{}
	}
	defer view.Close()
	return head{view.Size(), view.Root()}
}

// reach waits until readers see h. step is called after every change.
func (r *replica) reach(ctx context.Context, h head, step func()) error {
	for {
		changed := r.db.Changed()
		step()
		if r.head() == h {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-r.ended:
			return errors.Join(errEnded, err)
		case <-changed:
		}
	}
}

// refused counts the answers that failed verification, as the metric has it.
func (r *replica) refused() int {
	families, err := r.metrics.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() == "proofsync_sync_verification_failures_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return 0
}

func (r *replica) close() error {
	r.cancel()
	r.tasks.Wait()
	return errors.Join(r.pool.Close(), r.db.Close())
}
