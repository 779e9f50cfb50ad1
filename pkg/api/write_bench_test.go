package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
)

// onDisk is a writing API over n keys on a real disk.
func onDisk(b *testing.B, n int) *fixture {
	b.Helper()
	db, err := database.Open(b.TempDir(), database.Options{Codec: anyFixed, CreateIfMissing: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	for i := 0; i < n; {
		var batch database.Batch
		for ; i < n && len(batch.Writes) < 100_000; i++ {
			k := diskKey(i)
			batch.Writes = append(batch.Writes, database.Write{Key: k[:], Value: k[:]})
		}
		if _, err := db.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	com, err := committer.New(db, committer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = com.Run(ctx) })
	b.Cleanup(func() { cancel(); running.Wait() })
	return fixtureOf(b, db, func(o *Options) {
		o.Committer, o.Logger = com, nil
		o.Token = func(s string) bool { return s == testToken }
	})
}

func diskKey(i int) (k [32]byte) {
	binary.BigEndian.PutUint64(k[:], uint64(i)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(k[8:], uint64(i))
	return k
}

// BenchmarkBatches is 64 writers that post one-key batches over connections of
// their own, durable on a real disk. The clients do as little as they can, as
// a load generator does.
func BenchmarkBatches(b *testing.B) {
	const keys, writers = 1_000_000, 64
	f := onDisk(b, keys)
	s := httptest.NewServer(f.h)
	b.Cleanup(s.Close)
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	used := cpu()
	b.ResetTimer()
	for w := range writers {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		rng, in := rand.New(rand.NewPCG(uint64(w), 7)), bufio.NewReader(c)
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				k := diskKey(rng.IntN(keys))
				text := b64(string(k[:]))
				body := `{"writes":[{"key":"` + text + `","value":"` + text + `"}]}`
				begun := time.Now()
				fmt.Fprintf(c, "POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", testToken, len(body), body)
				r, err := http.ReadResponse(in, nil)
				if err != nil {
					b.Error(err)
					return
				}
				answer, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || r.StatusCode != http.StatusOK {
					b.Error(err, r.StatusCode, string(answer))
					return
				}
				took[w] = append(took[w], time.Since(begun))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "cpu-us/write")
	report(b, slices.Concat(took...))
}

// cpu is what the process has used, clients included. Unlike times it says
// something on a machine that is shared.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report gives the quantiles of durations.
func report(b *testing.B, ds []time.Duration) {
	slices.Sort(ds)
	for _, q := range []int{50, 99} {
		if len(ds) > 0 {
			b.ReportMetric(float64(ds[(len(ds)-1)*q/100].Microseconds())/1000, fmt.Sprintf("ms-p%d", q))
		}
	}
}

// BenchmarkWatchers is the time from a commit being handed in, and from it
// being made, to each of a thousand watchers having read its event.
func BenchmarkWatchers(b *testing.B) {
	for _, query := range []string{"", "?changes=true"} {
		b.Run("query="+query, func(b *testing.B) {
			const watchers = 1000
			f := onDisk(b, 10_000)
			s := httptest.NewServer(f.h)
			b.Cleanup(s.Close)
			seen := make(chan time.Time, watchers)
			var wg sync.WaitGroup
			var conns []net.Conn
			for range watchers {
				c, err := net.Dial("tcp", s.Listener.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				conns = append(conns, c)
				fmt.Fprintf(c, "GET /v1/watch%s HTTP/1.1\r\nHost: x\r\n\r\n", query)
				wg.Go(func() {
					in := bufio.NewReaderSize(c, 2048)
					for {
						line, err := in.ReadSlice('\n')
						if err != nil {
							return
						}
						if strings.HasPrefix(string(line), "event: root") {
							seen <- time.Now()
						}
					}
				})
			}
			for range watchers {
				<-seen
			}
			var ds []time.Duration
			used := cpu()
			b.ResetTimer()
			for i := range b.N {
				k := diskKey(i)
				if _, err := f.db.Apply(b.Context(), database.Batch{Writes: []database.Write{{Key: k[:], Value: k[:]}}}); err != nil {
					b.Fatal(err)
				}
				done := time.Now()
				for range watchers {
					ds = append(ds, max(0, (<-seen).Sub(done)))
				}
				b.StopTimer()
				time.Sleep(20 * time.Millisecond)
				b.StartTimer()
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N*watchers), "cpu-us/event")
			report(b, ds)
			for _, c := range conns {
				c.Close()
			}
			wg.Wait()
		})
	}
}
