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
	"strings"
	"sync/atomic"
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
		b.Floor = &floor
		if _, err := db.Apply(context.Background(), b); err != nil {
			tb.Fatal(err)
		}
	}
	return db
}

// used is the space of the files below dir whose names end so, in bytes.
func used(tb testing.TB, dir, ending string) (n int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ending) {
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
func commits(tb testing.TB, db *database.DB, stop <-chan struct{}) []time.Duration {
	tb.Helper()
	took := commitsBy(tb, db, stop, func() int { return 0 })
	return took[0]
}

// commitsBy tells apart commits by what kind was when they began and ended; one
// that saw two kinds is of the larger.
func commitsBy(tb testing.TB, db *database.DB, stop <-chan struct{}, kind func() int) (took [2][]time.Duration) {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for {
		select {
		case <-stop:
			slices.Sort(took[0])
			slices.Sort(took[1])
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
		began, k := time.Now(), kind()
		if _, err := db.Apply(context.Background(), b); err != nil {
			tb.Fatal(err)
		}
		k = max(k, kind())
		took[k] = append(took[k], time.Since(began))
		time.Sleep(2 * time.Millisecond) // a writer, not a flood
	}
}

func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}

// turn is how long inTurns prunes, and how long it does not.
const turn = time.Second

// inTurns prunes all there is to prune, with pauses as long, and returns how long it
// was at it. What the disk does by itself is the same in both.
func inTurns(l *Loop, pruning *atomic.Bool) (took time.Duration, err error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), turn)
		began := time.Now()
		pruning.Store(true)
		err := l.Tick(ctx)
		pruning.Store(false)
		took += time.Since(began)
		cancel()
		if err != nil {
			return took, err
		}
		if s, err := l.db.Pruning(); err != nil || s.Done() {
			return took, err
		}
		time.Sleep(turn)
	}
}

// BenchmarkCommitsDuringPruning prunes most of a large log while small commits
// are made: how long they take before, while it prunes and in the pauses between,
// and what is left on disk.
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
		disk := used(b, dir, "")
		l := New(db, Options{Policy: Policy{operations: 1}})
		done := make(chan struct{})
		var failed error
		var pruning atomic.Bool
		var took time.Duration
		go func() {
			defer close(done)
			took, failed = inTurns(l, &pruning)
		}()
		meanwhile := commitsBy(b, db, done, func() int {
			if pruning.Load() {
				return 1
			}
			return 0
		})
		if failed != nil {
			b.Fatal(failed)
		}
		without, with := quantile(meanwhile[0], 0.99), quantile(meanwhile[1], 0.99)
		b.ReportMetric(quantile(meanwhile[0], 0.5), "ms-p50-between")
		b.ReportMetric(quantile(meanwhile[1], 0.5), "ms-p50")
		b.ReportMetric(without, "ms-p99-between")
		b.ReportMetric(with, "ms-p99")
		b.ReportMetric(with-without, "ms-p99-more")
		b.ReportMetric(with/without, "p99-ratio")
		b.ReportMetric(quantile(meanwhile[1], 1), "ms-max")
		b.ReportMetric(float64(len(meanwhile[1])), "commits")
		b.ReportMetric(float64(n)/took.Seconds(), "pruned/s")
		b.ReportMetric(float64(disk)/1e6, "MB-before")
		b.ReportMetric(float64(used(b, dir, ""))/1e6, "MB-pruned")
		settled := make(chan struct{})
		time.AfterFunc(15*time.Second, func() { close(settled) })
		after := commits(b, db, settled)
		b.ReportMetric(quantile(after, 0.99), "ms-p99-tidying")
		b.ReportMetric(float64(used(b, dir, ""))/1e6, "MB-settled")
		g, total, _ := db.Garbage()
		b.Logf("tidied %v, garbage %d of %d", l.tidied, g, total)
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(used(b, dir, ""))/1e6, "MB-closed")
	}
}
