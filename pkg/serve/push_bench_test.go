package serve

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/wire"
)

// spent is the processor time of this process so far.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkApplyWithSubscribers is a durable commit of a few operations, on the
// disk under the temporary directory, while so many connections are told of it:
// one commit after the other, and one every now and then, so that every one
// begins with nothing left to be pushed. The subscribers leave what they are
// sent to the kernel, so that the cost is that of the server.
func BenchmarkApplyWithSubscribers(b *testing.B) {
	for _, pause := range []time.Duration{0, 120 * time.Millisecond} {
		for _, subscribers := range []int{0, 1, 1000} {
			b.Run(fmt.Sprintf("pause=%v/subscribers=%d", pause, subscribers), func(b *testing.B) {
				db, err := database.Open(b.TempDir(), database.Options{Codec: anyFixed, CreateIfMissing: true})
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				l := listen(b)
				s := start(b, FromDatabase(db), Options{MaxConnections: 2000, MaxConnectionsPerHost: -1}, l)
				for range subscribers {
					conn, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						b.Fatal(err)
					}
					defer conn.Close()
					if _, err := conn.Write(frames(b, &wire.Subscribe{ID: 1})); err != nil {
						b.Fatal(err)
					}
				}
				eventually(b, "all subscribed", func() bool { return value(b, s.opts.Metrics.subscribers) == float64(subscribers) })
				time.Sleep(100 * time.Millisecond)

				var took []time.Duration
				var key [32]byte
				before, pushed, began := spent(b), value(b, s.opts.Metrics.pushes), time.Now()
				for b.Loop() {
					binary.BigEndian.PutUint64(key[:], uint64(len(took))*0x9e3779b97f4a7c15)
					at := time.Now()
					if _, err := db.Apply(b.Context(), database.Batch{Writes: []database.Write{{Key: key[:], Value: key[:]}}}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(at))
					time.Sleep(pause)
				}
				n := float64(len(took))
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
				b.ReportMetric(n/time.Since(began).Seconds(), "commits/s")
				b.ReportMetric((spent(b)-before).Seconds()*1000/n, "cpu-ms/commit")
				b.ReportMetric((value(b, s.opts.Metrics.pushes)-pushed)/n, "pushes/commit")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
