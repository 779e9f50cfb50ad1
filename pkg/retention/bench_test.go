package retention

import (
	"context"
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// fill makes an immutable database of n random keys whose floor leaves keep
// operations above it.
func fill(tb testing.TB, dir string, n, keep int) *database.DB {
	tb.Helper()
	db, err := database.Open(dir, database.Options{Codec: operation.NewCodec(operation.Immutable, operation.Fixed), CreateIfMissing: true})
	if err != nil {
		tb.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{1})
	size := 1
	for size < n {
		var b database.Batch
		for range min(50_000, n-size) {
			kv := make([]byte, 64)
			for j := 0; j < len(kv); j += 8 {
				binary.LittleEndian.PutUint64(kv[j:], rng.Uint64())
			}
			b.Writes = append(b.Writes, database.Write{Key: kv[:32], Value: kv[32:]})
		}
		size += len(b.Writes) + 1
		floor := uint64(max(0, size-keep))
		b.Floor, b.NoSync = &floor, true
		if _, err := db.Apply(context.Background(), b); err != nil {
			tb.Fatal(err)
		}
	}
	if err := db.Sync(); err != nil {
		tb.Fatal(err)
	}
	return db
}

// used is the space of all files below dir, in bytes.
func used(tb testing.TB, dir string) (n int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // files go while they are counted
		}
		if i, err := d.Info(); err == nil {
			n += i.Size()
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// commits makes small synced commits until stop is closed, and returns how
// long each took, sorted.
func commits(tb testing.TB, db *database.DB, stop <-chan struct{}) (took []time.Duration) {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for {
		select {
		case <-stop:
			slices.Sort(took)
			return took
		default:
		}
		var b database.Batch
		for range 10 {
			kv := make([]byte, 64)
			for j := 0; j < len(kv); j += 8 {
				binary.LittleEndian.PutUint64(kv[j:], rng.Uint64())
			}
			b.Writes = append(b.Writes, database.Write{Key: kv[:32], Value: kv[32:]})
		}
		began := time.Now()
		if _, err := db.Apply(context.Background(), b); err != nil {
			tb.Fatal(err)
		}
		took = append(took, time.Since(began))
		time.Sleep(2 * time.Millisecond) // a writer, not a flood
	}
}

func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}

// BenchmarkCommitsDuringPruning prunes most of a large log while small commits
// are made: how long they take, before and meanwhile, and what is left on disk.
// PROOFSYNC_PRUNE_OPS is how many operations go; 200,000 without it.
func BenchmarkCommitsDuringPruning(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("PROOFSYNC_PRUNE_OPS"))
	if err != nil {
		n = 200_000
	}
	for b.Loop() {
		dir := b.TempDir()
		db := fill(b, dir, n+n/4, n/4)
		time.Sleep(5 * time.Second) // bulk commits are tidied up
		stop := make(chan struct{})
		time.AfterFunc(5*time.Second, func() { close(stop) })
		before := commits(b, db, stop)
		b.ReportMetric(quantile(before, 0.99), "ms-p99-before")
		b.ReportMetric(quantile(before, 0.5), "ms-p50-before")
		disk := used(b, dir)
		l := New(db, Options{Policy: Policy{operations: 1}})
		done := make(chan struct{})
		began := time.Now()
		var failed error
		go func() {
			defer close(done)
			failed = l.Tick(context.Background())
		}()
		meanwhile := commits(b, db, done)
		took := time.Since(began)
		if failed != nil {
			b.Fatal(failed)
		}
		b.ReportMetric(quantile(meanwhile, 0.5), "ms-p50")
		b.ReportMetric(quantile(meanwhile, 0.99), "ms-p99")
		b.ReportMetric(quantile(meanwhile, 1), "ms-max")
		b.ReportMetric(float64(n)/took.Seconds(), "pruned/s")
		b.ReportMetric(float64(disk)/1e6, "MB-before")
		b.ReportMetric(float64(used(b, dir))/1e6, "MB-pruned")
		settled := make(chan struct{})
		time.AfterFunc(15*time.Second, func() { close(settled) })
		after := commits(b, db, settled)
		b.ReportMetric(quantile(after, 0.99), "ms-p99-tidying")
		b.ReportMetric(float64(used(b, dir))/1e6, "MB-settled")
		g, total, _ := db.Garbage()
		b.Logf("tidied %v, garbage %d of %d", l.tidied, g, total)
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(used(b, dir))/1e6, "MB-closed")
	}
}
