//go:build unix

package database

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
)

// The database the reading benchmarks share: a million keys, a tenth of which
// were then written again in small commits.
const (
	benchKeys    = 1_000_000
	benchRewrite = 100_000
	benchCommits = 2_000
	benchCache   = 256 << 20
)

// benchPath is where it is kept from one run to the next.
func benchPath(c operation.Codec) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("proofsync-bench-1-%s-%s-%d", c.Family(), c.Encoding(), benchKeys))
}

// openBench opens the shared database, or makes it.
func openBench(b *testing.B, c operation.Codec) *DB {
	b.Helper()
	if testing.Short() {
		b.Skip("needs a million keys")
	}
	path := benchPath(c)
	buildOnce(b, path, c)
	return openBenchAt(b, path, c)
}

// copyBench opens a copy of the shared database, to be written to.
func copyBench(b *testing.B, c operation.Codec) *DB {
	b.Helper()
	openBench(b, c).Close()
	path := filepath.Join(b.TempDir(), "db")
	if err := os.CopyFS(path, os.DirFS(benchPath(c))); err != nil {
		b.Fatal(err)
	}
	return openBenchAt(b, path, c)
}

func buildOnce(b *testing.B, path string, c operation.Codec) {
	b.Helper()
	if _, err := os.Stat(path); err != nil {
		if err := buildBench(path+".part", c); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(path+".part", path); err != nil {
			b.Fatal(err)
		}
	}
}

func openBenchAt(b *testing.B, path string, c operation.Codec) *DB {
	b.Helper()
	db, err := Open(path, Options{Codec: c, CacheBytes: benchCache})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

func buildBench(path string, c operation.Codec) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	db, err := Open(path, Options{Codec: c, CreateIfMissing: true})
	if err != nil {
		return err
	}
	const batch = 50_000
	for i := 0; i < benchKeys && err == nil; i += batch {
		ws := make([]Write, batch)
		for j := range ws {
			ws[j] = Write{Key: benchKey(uint64(i + j)), Value: benchKey(uint64(i + j))}
		}
		_, err = db.Apply(context.Background(), Batch{Writes: ws})
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i := 0; i < benchCommits && err == nil; i++ {
		ws := make([]Write, benchRewrite/benchCommits)
		for j := range ws {
			ws[j] = Write{Key: benchKey(r.Uint64N(benchKeys)), Value: benchKey(r.Uint64())}
		}
		_, err = db.Apply(context.Background(), Batch{Writes: ws})
	}
	return errors.Join(err, db.Close())
}

func benchView(b *testing.B) *View {
	b.Helper()
	v, err := openBench(b, codecs[0]).View()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(v.Close)
	// Warm: every block has been read once.
	if err := v.Keys(nil, nil, func([]byte, uint64) bool { return true }); err != nil {
		b.Fatal(err)
	}
	if err := v.Operations(v.Start(), v.Size(), func(uint64, []byte) bool { return true }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return v
}

// sample are random keys, of those there are (from 0) or of others.
func sample(from uint64) [][]byte {
	r := rand.New(rand.NewPCG(1, from))
	keys := make([][]byte, 1<<16)
	for i := range keys {
		keys[i] = benchKey(from + r.Uint64N(benchKeys))
	}
	return keys
}

// parallel runs fn with running numbers on every core, several at a time.
func parallel(b *testing.B, fn func(i uint64) error) {
	var next atomic.Uint64
	b.SetParallelism(8)
	b.ResetTimer()
	defer reportCPU(b)()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := fn(next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// reportCPU reports processor time per operation: on a machine that does
// other things as well it says more than the time that passed.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkReadGet(b *testing.B) {
	v := benchView(b)
	keys := sample(0)
	parallel(b, func(i uint64) error {
		_, err := v.Get(keys[i%uint64(len(keys))])
		return err
	})
}

func BenchmarkReadGetAbsent(b *testing.B) {
	v := benchView(b)
	keys := sample(benchKeys)
	parallel(b, func(i uint64) error {
		if _, err := v.Get(keys[i%uint64(len(keys))]); !errors.Is(err, ErrKeyNotFound) {
			return fmt.Errorf("absent key: %w", err)
		}
		return nil
	})
}

// One operation with its proof and pinned nodes.
func BenchmarkReadProve(b *testing.B) {
	v := benchView(b)
	locs := make([]uint64, 1<<16)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range locs {
		locs[i] = v.Start() + r.Uint64N(v.Size()-v.Start())
	}
	parallel(b, func(i uint64) error {
		loc := locs[i%uint64(len(locs))]
		if _, err := v.Prove(v.Size(), loc, loc+1); err != nil {
			return err
		}
		_, err := v.Pins(loc)
		return err
	})
}

func BenchmarkReadAt(b *testing.B) {
	v := benchView(b)
	var sizes []uint64
	if _, err := v.Commits(v.Size(), v.Size(), func(c CommitInfo) bool {
		sizes = append(sizes, c.Size)
		return true
	}); err != nil {
		b.Fatal(err)
	}
	keys := sample(0)
	parallel(b, func(i uint64) error {
		old, err := v.At(sizes[i%1000])
		if err != nil {
			return err
		}
		defer old.Close()
		_, err = old.Get(keys[i%uint64(len(keys))])
		return err
	})
}

// walk measures a walk over everything; items are what it met.
func walk(b *testing.B, fn func(met func()) error) {
	b.Helper()
	items := 0
	b.ResetTimer()
	defer reportCPU(b)()
	for b.Loop() {
		if err := fn(func() { items++ }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(items)/b.Elapsed().Seconds(), "items/s")
}

func BenchmarkReadKeys(b *testing.B) {
	v := benchView(b)
	walk(b, func(met func()) error {
		return v.Keys(nil, nil, func([]byte, uint64) bool { met(); return true })
	})
}

func BenchmarkReadScan(b *testing.B) {
	v := benchView(b)
	walk(b, func(met func()) error {
		return v.Scan(nil, nil, func([]byte, Entry) bool { met(); return true })
	})
}

// Pages of a listing, each begun anew.
func BenchmarkReadPages(b *testing.B) {
	v := benchView(b)
	for _, page := range []int{100, 1000} {
		b.Run(fmt.Sprint(page), func(b *testing.B) {
			starts := sample(0)
			at := 0
			walk(b, func(met func()) error {
				at++
				return v.Page(nil, starts[at%len(starts)], page, func([]byte, Entry) bool { met(); return true })
			})
		})
	}
}

// Everything that happened since the first commits of many.
func BenchmarkReadChanges(b *testing.B) {
	v := benchView(b)
	sizes := []uint64{}
	if _, err := v.Commits(v.Size(), v.Size(), func(c CommitInfo) bool {
		sizes = append(sizes, c.Size)
		return len(sizes) < benchCommits
	}); err != nil {
		b.Fatal(err)
	}
	for _, commits := range []int{1, 100, benchCommits - 1} {
		b.Run(fmt.Sprint(commits), func(b *testing.B) {
			b.ReportAllocs()
			walk(b, func(met func()) error {
				return v.Changes(sizes[commits], func(Change) bool { met(); return true })
			})
		})
	}
}

// Commits of one write each, as they come from writers that wait for each
// other. In a directory in memory (TMPDIR) it is all but the disk's time.
func BenchmarkWriteOne(b *testing.B) {
	db := copyBench(b, codecs[0])
	keys := sample(0)
	b.ReportAllocs()
	at := 0
	walk(b, func(met func()) error {
		met()
		at++
		_, err := db.Update(context.Background(), func(*View) (Batch, error) {
			return Batch{
				Writes: []Write{{Key: keys[at%len(keys)], Value: keys[(at+1)%len(keys)]}},
				Notes:  []Note{{Key: keys[at%len(keys)], Value: keys[at%len(keys)]}},
			}, nil
		})
		return err
	})
}
