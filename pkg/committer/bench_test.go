package committer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// BenchmarkCommit is one-key batches of many writers, durable on a real disk.
func BenchmarkCommit(b *testing.B) {
	for _, x := range []struct{ keys, writers int }{{1_000_000, 1}, {1_000_000, 64}, {1_000_000, 256}} {
		b.Run(fmt.Sprintf("keys=%d/writers=%d", x.keys, x.writers), func(b *testing.B) {
			db := filled(b, x.keys)
			c := newCommitter(b, db, Options{})
			stop := run(b, c)
			before := head(b, db)
			var left atomic.Int64
			left.Store(int64(b.N))
			var commits sync.Map
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range x.writers {
				rng := rand.New(rand.NewPCG(uint64(w), 7))
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						k := benchKey(rng.IntN(x.keys))
						res, err := c.Commit(context.Background(), Batch{Writes: []Write{{Key: k[:], Value: k[:]}}})
						if err != nil {
							b.Error(err)
							return
						}
						commits.Store(res.Size, nil)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			n := 0
			commits.Range(func(_, _ any) bool { n++; return true })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(b.N)/float64(n), "batches/commit")
			b.ReportMetric(float64(head(b, db)-before)/float64(b.N), "operations/write")
			if err := stop(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func benchKey(i int) (k [32]byte) {
	binary.BigEndian.PutUint64(k[:], uint64(i)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(k[8:], uint64(i))
	return k
}

func head(b testing.TB, db *database.DB) uint64 {
	v, err := db.View()
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	return v.Size()
}

// filled is a database of n keys on a real disk.
func filled(b testing.TB, n int) *database.DB {
	b.Helper()
	db, err := database.Open(b.TempDir(), database.Options{Codec: operation.NewCodec(operation.Any, operation.Fixed), CreateIfMissing: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	for i := 0; i < n; {
		var batch database.Batch
		for ; i < n && len(batch.Writes) < 100_000; i++ {
			k := benchKey(i)
			batch.Writes = append(batch.Writes, database.Write{Key: k[:], Value: k[:]})
		}
		if _, err := db.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	return db
}
