package syncer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// BenchmarkSync is a cold sync over loopback, from nothing to readable and
// durable on the disk under the temporary directory, server included.
func BenchmarkSync(b *testing.B) {
	const operations = 200_000
	db := sourcetest.Writer(b, anyFixed)
	sourcetest.Commit(b, db, 1, 10, operations/10)
	addr := startServer(b, db, serve.Options{})
	for _, batch := range []int{50, 10_000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			var fetched uint64
			var busy time.Duration
			for b.Loop() {
				replica, err := database.Open(b.TempDir(), database.Options{Codec: anyFixed})
				if err != nil {
					b.Fatal(err)
				}
				peer := source.NewPeer(addr, source.PeerOptions{Codec: anyFixed})
				pool := source.NewPool([]source.Source{peer}, source.PoolOptions{})
				s := syncer.New(replica, pool, syncer.Options{BatchSize: batch})
				r, err := s.Sync(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				fetched += r.Fetched
				busy += r.Duration
				pool.Close()
				replica.Close()
			}
			b.ReportMetric(float64(fetched)/busy.Seconds(), "ops/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
