package serve

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Requests of 50 operations are what the reference client sends by default.
func BenchmarkServe50(b *testing.B) { benchmarkServe(b, 50) }

// Requests of 10,000 operations are the largest a peer can decode.
func BenchmarkServe10000(b *testing.B) { benchmarkServe(b, 10_000) }

// benchmarkServe asks for ranges of a log over loopback, with as many requests
// under way as the server admits. The other side only counts bytes, so what is
// measured is the server and the sockets.
func benchmarkServe(b *testing.B, ops uint64) {
	f := newFixture(b, anyFixed, 1, 0, 32)
	for range 20 {
		f.grow(b, 10_000, 32)
	}
	at := f.last()
	l := listen(b)
	s := start(b, f, Options{}, l)
	c := dial(b, l, anyFixed)
	c.conn.SetDeadline(time.Time{})
	rng := rand.New(rand.NewPCG(1, 1))

	b.ReportAllocs()
	b.ResetTimer()
	var sender sync.WaitGroup
	sender.Go(func() {
		var buf []byte
		for i := range b.N {
			start := rng.Uint64N(at.Size-ops) / ops * ops
			buf, _ = wire.AppendFrame(buf, &wire.GetOperations{ID: uint64(i), Size: at.Size, Start: start, Max: ops})
			if len(buf) > 1<<10 || i == b.N-1 {
				if _, err := c.conn.Write(buf); err != nil {
					b.Error(err)
				}
				buf = buf[:0]
			}
		}
	})
	var received int64
	for range b.N {
		n, err := wire.ReadFrameLen(c.br)
		if err != nil {
			b.Fatal(err)
		}
		if uint64(n) < ops*uint64(operation.NewCodec(operation.Any, operation.Fixed).Size()) {
			b.Fatalf("reply of %d bytes", n)
		}
		if _, err := c.br.Discard(n); err != nil {
			b.Fatal(err)
		}
		received += int64(n)
	}
	b.StopTimer()
	sender.Wait()
	b.SetBytes(received / int64(b.N))
	b.ReportMetric(float64(uint64(b.N)*ops)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(b.N)/value(b, s.opts.Metrics.writes), "replies/write")
}
