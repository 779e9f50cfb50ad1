package syncer_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/notary"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/targets"
	"github.com/proofsync/proofsync/pkg/wire"
)

// clocked is a pool that notes when a target was heard of.
type clocked struct {
	*source.Pool
	mu    sync.Mutex
	heard map[wire.Target]time.Time
}

func (c *clocked) Follow(ctx context.Context, fn func(source.Target)) {
	c.Pool.Follow(ctx, func(t source.Target) {
		c.mu.Lock()
		c.heard[t.Target] = time.Now()
		c.mu.Unlock()
		fn(t)
	})
}

// onDisk opens a database under the temporary directory.
func onDisk(b *testing.B, create bool) *database.DB {
	b.Helper()
	db, err := database.Open(b.TempDir(), database.Options{Codec: anyFixed, CreateIfMissing: create})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

// BenchmarkFollow is the way of a commit of five operations from the server to
// a replica that follows it, both with a million keys on disk: from the commit
// being durable, and from its target being known to the replica, to its root
// being readable there. Run it with -benchtime=300x.
func BenchmarkFollow(b *testing.B) {
	benchmarkFollow(b, func(_, _ *database.DB, src *clocked) source.Source { return src })
}

// BenchmarkFollowSigned is BenchmarkFollow where each target is a checkpoint that the
// server signs and the replica fetches over HTTP, verifies, and writes down
// before it relies on it.
func BenchmarkFollowSigned(b *testing.B) {
	benchmarkFollow(b, func(db, replica *database.DB, src *clocked) source.Source {
		private, public, err := checkpoint.GenerateKey("writer")
		if err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(b.TempDir(), "key")
		if err := os.WriteFile(path, []byte(private), 0o600); err != nil {
			b.Fatal(err)
		}
		m := notary.NewMetrics(nil)
		signer, err := notary.OpenKeyFile(path, slog.New(slog.DiscardHandler), m)
		if err != nil {
			b.Fatal(err)
		}
		memory, err := notary.OpenMemory(db.SignedPath(), logName)
		if err != nil {
			b.Fatal(err)
		}
		n, err := notary.New(notary.Options{DB: db, Signer: signer, Origin: logName, Metrics: m, Memory: memory})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var tasks sync.WaitGroup
		tasks.Go(func() {
			if err := n.Run(ctx); err != nil {
				b.Error(err)
			}
		})
		a := api.New(api.Options{DB: db, Checkpoint: n.Note, CheckpointChanged: n.Changed})
		web := httptest.NewServer(a.Handler())
		b.Cleanup(func() {
			web.Close()
			if err := a.Shutdown(context.Background()); err != nil {
				b.Error(err)
			}
			cancel()
			tasks.Wait()
			if err := n.Close(); err != nil {
				b.Error(err)
			}
		})
		key, err := checkpoint.ParseKey(public)
		if err != nil {
			b.Fatal(err)
		}
		s, err := targets.New(src, replica, targets.Options{
			Places: []string{web.URL + "/v1/checkpoint"},
			Trust:  checkpoint.Trust{Origin: logName, Codec: anyFixed, Keys: []checkpoint.Key{key}, Quorum: 1, MaxAge: time.Hour},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		return s
	})
}

func benchmarkFollow(b *testing.B, front func(db, replica *database.DB, src *clocked) source.Source) {
	b.Helper()
	const keys = 1_000_000
	db, replica := onDisk(b, true), onDisk(b, false)
	sourcetest.Commit(b, db, 1, 4, keys/4)
	addr := startServer(b, db, serve.Options{})
	pool := source.NewPool([]source.Source{source.NewPeer(addr, source.PeerOptions{Codec: anyFixed})}, source.PoolOptions{})
	defer pool.Close()
	src := &clocked{Pool: pool, heard: make(map[wire.Target]time.Time)}
	s := syncer.New(replica, front(db, replica, src), syncer.Options{Follow: true, BatchSize: wire.MaxOperations})
	ctx, cancel := context.WithCancel(b.Context())
	var run sync.WaitGroup
	defer run.Wait()
	defer cancel()
	run.Go(func() {
		if err := s.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	await := func(size uint64) (at time.Time) {
		for {
			changed := replica.Changed()
			if v, err := replica.View(); err == nil {
				at = time.Now()
				is := v.Size()
				v.Close()
				if is >= size {
					return at
				}
			}
			<-changed
		}
	}
	await(sourcetest.Commit(b, db, 2, 1, 3).Size)
	time.Sleep(2 * time.Second) // what the cold sync left to be done in the background

	var whole, known []time.Duration
	for i := 0; b.Loop(); i++ {
		c := sourcetest.Commit(b, db, uint64(100+2*i), 1, 3)
		if c.Operations != 5 {
			b.Fatalf("%d operations", c.Operations)
		}
		committed := time.Now()
		readable := await(c.Size)
		whole = append(whole, readable.Sub(committed))
		src.mu.Lock()
		for t, at := range src.heard {
			if t.End == c.Size {
				known = append(known, readable.Sub(at))
			}
		}
		clear(src.heard)
		src.mu.Unlock()
		time.Sleep(time.Duration(5+i%7) * time.Millisecond)
	}
	report := func(what string, ds []time.Duration) {
		slices.Sort(ds)
		if len(ds) > 0 {
			b.ReportMetric(float64(ds[len(ds)/2].Microseconds())/1000, what+"-p50-ms")
			b.ReportMetric(float64(ds[len(ds)*99/100].Microseconds())/1000, what+"-p99-ms")
		}
	}
	report("commit", whole)
	report("known", known)
	b.ReportMetric(0, "ns/op")
}
