package generator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var codecs = []operation.Codec{
	operation.NewCodec(operation.Any, operation.Fixed), operation.NewCodec(operation.Any, operation.Variable),
	operation.NewCodec(operation.Immutable, operation.Fixed), operation.NewCodec(operation.Immutable, operation.Variable),
}

func open(t *testing.T, fs store.FS, c operation.Codec) *database.DB {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: c, FS: fs, CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func fresh(t *testing.T, c operation.Codec) *database.DB {
	t.Helper()
	db := open(t, store.MemFS(), c)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func head(t *testing.T, db *database.DB) (size, floor uint64, root mmr.Digest) {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return v.Size(), v.Floor(), v.Root()
}

// step commits n generated batches, as Run does at its ticks.
func step(t *testing.T, g *Generator, n int) {
	t.Helper()
	for range n {
		size, err := g.head()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.apply(t.Context(), g.batch(size, g.opts.OpsPerInterval)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheSameSeedGivesTheSameRootsAlsoAcrossARestart(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			opts := Options{Seed: 7, InitialOps: 33, OpsPerInterval: 5}
			whole := fresh(t, c)
			g := New(whole, opts)
			if err := g.Initialize(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, _, initial := head(t, whole)
			step(t, g, 6)

			fs := store.MemFS()
			db := open(t, fs, c)
			g = New(db, opts)
			if err := g.Initialize(t.Context()); err != nil {
				t.Fatal(err)
			}
			step(t, g, 2)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, fs, c)
			g = New(db, opts)
			if err := g.Initialize(t.Context()); err != nil { // does nothing
				t.Fatal(err)
			}
			step(t, g, 4)

			_, _, want := head(t, whole)
			_, _, got := head(t, db)
			if got != want {
				t.Errorf("root with a restart %s, without %s", got, want)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}

			opts.Seed = 8
			other := fresh(t, c)
			if err := New(other, opts).Initialize(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, r := head(t, other); r == initial {
				t.Error("another seed, the same root")
			}
		})
	}
}

func TestInitialOperationsAreOneCommitForEveryTen(t *testing.T) {
	c := operation.NewCodec(operation.Immutable, operation.Fixed)
	db := fresh(t, c)
	g := New(db, Options{InitialOps: 25})
	if f, err := g.Fresh(); err != nil || !f {
		t.Fatalf("fresh: %v %v", f, err)
	}
	if err := g.Initialize(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, err := g.Fresh(); err != nil || f {
		t.Fatalf("still fresh: %v %v", f, err)
	}
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var commits []uint64
	err = v.Operations(0, v.Size(), func(loc uint64, op []byte) bool {
		o, err := c.Decode(op)
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind == operation.Commit {
			commits = append(commits, loc)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	// Location 0, then 10 operations, 10 and 5, each with a commit behind them.
	if len(commits) != 4 || commits[1] != 11 || commits[2] != 22 || commits[3] != 28 || v.Size() != 29 {
		t.Errorf("commits at %v, size %d", commits, v.Size())
	}
}

func TestADatabaseWithOperationsGetsNoInitialOnes(t *testing.T) {
	db := fresh(t, codecs[0])
	if _, err := db.Apply(t.Context(), database.Batch{}); err != nil {
		t.Fatal(err)
	}
	before, _, _ := head(t, db)
	if err := New(db, Options{InitialOps: 10}).Initialize(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, _, _ := head(t, db); after != before {
		t.Errorf("size %d, was %d", after, before)
	}
}

func TestWritesHaveDistinctKeysSomeOfThemKnownInAny(t *testing.T) {
	for _, c := range codecs {
		known, updates := map[string]bool{}, 0
		size := uint64(1)
		for range 200 {
			batch := map[string]bool{}
			for _, w := range writes(c, 3, size, 5) {
				if err := c.Check(operation.Operation{Kind: kind(c), Key: w.Key, Value: w.Value}); err != nil {
					t.Fatal(err)
				}
				if batch[string(w.Key)] {
					t.Fatalf("%s: key twice in a batch", c)
				}
				if batch[string(w.Key)] = true; known[string(w.Key)] {
					updates++
				}
			}
			for k := range batch {
				known[k] = true
			}
			size += 6
		}
		if c.Family() == operation.Immutable && updates > 0 {
			t.Errorf("%s: %d keys written again", c, updates)
		}
		if c.Family() == operation.Any && (updates < 100 || updates > 900) {
			t.Errorf("%s: %d of 1000 writes are updates", c, updates)
		}
	}
}

func kind(c operation.Codec) operation.Kind {
	if c.Family() == operation.Immutable {
		return operation.Set
	}
	return operation.Update
}

func TestTheFloorOfImmutableFollowsItsPolicy(t *testing.T) {
	retain, err := database.ParseFloorPolicy("retain:20")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		policy database.FloorPolicy
		want   func(size uint64) uint64
	}{
		{database.FloorPolicy{}, func(uint64) uint64 { return 0 }},
		{retain, func(size uint64) uint64 { return size - 1 - 20 }},
	} {
		db := fresh(t, codecs[2])
		g := New(db, Options{InitialOps: 50, OpsPerInterval: 5, FloorPolicy: c.policy})
		if err := g.Initialize(t.Context()); err != nil {
			t.Fatal(err)
		}
		step(t, g, 3)
		if size, floor, _ := head(t, db); floor != c.want(size) {
			t.Errorf("%s: floor %d at size %d, want %d", c.policy, floor, size, c.want(size))
		}
	}
}

func TestRunWritesABatchAtEveryIntervalUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, store.MemFS(), codecs[0])
		reg := prometheus.NewRegistry()
		var log bytes.Buffer
		g := New(db, Options{OpInterval: time.Second, OpsPerInterval: 5, Metrics: NewMetrics(reg), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		time.Sleep(3*time.Second + time.Millisecond)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{3, 15} { // batches, operations
			if n := families[i].GetMetric()[0].GetCounter().GetValue(); n != want {
				t.Errorf("%s is %v, want %v", families[i].GetName(), n, want)
			}
		}
		_, _, root := head(t, db)
		if s := log.String(); strings.Count(s, `msg="added operations" operations_added=5 root=`) != 3 || !strings.Contains(s, root.String()) {
			t.Errorf("log:\n%s", s)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRunEndsWithTheDatabasesError(t *testing.T) {
	db := open(t, store.MemFS(), codecs[0])
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	g := New(db, Options{OpInterval: time.Millisecond, OpsPerInterval: 1})
	if err := g.Run(t.Context()); !errors.Is(err, database.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := New(db, Options{}).Run(t.Context()); err != nil {
		t.Errorf("without an interval: %v", err)
	}
}

func BenchmarkInitialize(b *testing.B) {
	for range b.N {
		db, err := database.Open("db", database.Options{Codec: codecs[0], FS: store.MemFS(), CreateIfMissing: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := New(db, Options{InitialOps: 10_000}).Initialize(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
