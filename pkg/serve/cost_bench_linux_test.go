package serve

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// BenchmarkLimitsNotReached says what limits cost that are not reached, as the
// ratio of the processor's time for the same requests with and without them.
// Runs with and without alternate in one process, since machines are not equally
// fast all the time; the time is that of server and client, which only counts bytes.
func BenchmarkLimitsNotReached(b *testing.B) {
	plenty := Limits{Requests: 1e12, TargetRequests: 1e12, Bytes: 1e15}
	f := newFixture(b, anyFixed, 2, 10_000, 32)
	var clients []*client
	for _, opts := range []Options{{}, {Limits: plenty, ClientLimits: plenty}} {
		l := listen(b)
		start(b, f, opts, l)
		c := dial(b, l, anyFixed)
		c.conn.SetDeadline(time.Time{})
		clients = append(clients, c)
	}
	const requests = 2000
	all := frames(b, slices.Repeat([]wire.Message{&wire.GetOperations{ID: 1, Size: f.last().Size, Max: 50}}, requests)...)
	ask := func(c *client) float64 {
		before := processorTime(b)
		go func() { _, _ = c.conn.Write(all) }() // whoever does not get it all does not get the answers
		for range requests {
			n, err := wire.ReadFrameLen(c.br)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.br.Discard(n); err != nil {
				b.Fatal(err)
			}
		}
		return float64(processorTime(b) - before)
	}
	var ratios []float64
	for b.Loop() {
		without, with := ask(clients[0]), ask(clients[1])
		without, with = without+ask(clients[0]), with+ask(clients[1])
		ratios = append(ratios, with/without)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "limited/unlimited")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPass is what limits do for each batch of requests that reaches none: to be
// compared with what Serve50 takes for as many.
func BenchmarkPass(b *testing.B) {
	plenty := Limits{Requests: 1e12, TargetRequests: 1e12, Bytes: 1e15}
	s := New(nil, Options{Limits: plenty, ClientLimits: plenty})
	c := &session{srv: s}
	c.party, _ = s.parties.Use(c.who)
	all := slices.Repeat(batch{{kind: getOperations, reserved: 6000}}, 8)
	b.ReportAllocs()
	for b.Loop() {
		if !c.tryPass(tollOf(all), time.Now()) {
			b.Fatal("a limit was reached")
		}
		c.refund(5000)
	}
}
