package syncer_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// throttle is a listener whose connections send so many bytes a second, together.
type throttle struct {
	net.Listener
	rate float64

	mu   sync.Mutex
	free time.Time // when what was sent is through
}

func (l *throttle) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &throttled{nc, l}, nil
}

type throttled struct {
	net.Conn
	l *throttle
}

func (c *throttled) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		chunk := b[:min(len(b), 4<<10)]
		c.l.mu.Lock()
		if least := time.Now().Add(-20 * time.Millisecond); c.l.free.Before(least) {
			c.l.free = least // what a sleep was too long is made up for
		}
		c.l.free = c.l.free.Add(time.Duration(float64(len(chunk)) / c.l.rate * float64(time.Second)))
		wait := time.Until(c.l.free)
		c.l.mu.Unlock()
		time.Sleep(wait)
		var m int
		m, err = c.Conn.Write(chunk)
		n, b = n+m, b[m:]
	}
	return n, err
}

// startThrottled serves db at a rate in bytes per second until the test ends.
func startThrottled(t testing.TB, db *database.DB, rate float64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := serve.New(served{db}, serve.Options{})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), &throttle{Listener: l, rate: rate}) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// A source that is ten times slower than the other helps a little, or is of no
// use, but does not hold up a sync.
func TestSlowSourceDoesNotHoldUpAFastOne(t *testing.T) {
	const fast = 4 << 20 // bytes per second: what is measured is not the processor
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 20, 2500)
	took := func(rates ...float64) time.Duration {
		var addrs []string
		for _, r := range rates {
			addrs = append(addrs, startThrottled(t, db, r))
		}
		cl := newClient(t, anyFixed, syncer.Options{BatchSize: 400, MaxInflightBytes: 4 << 20}, addrs...)
		began := time.Now()
		cl.sync(t)
		d := time.Since(began)
		equal(t, db, cl.db)
		if len(rates) > 1 {
			for _, s := range cl.pool.States() {
				t.Logf("%s: %.2f MB/s", s.Name, s.Throughput/1e6)
			}
		}
		return d
	}
	// A machine that is busy with other things may disturb a few comparisons, but not
	// all of them.
	for range 6 {
		alone, both := took(fast), took(fast/10, fast)
		t.Logf("alone %s, with one of a tenth of the speed %s: %.2f", alone, both, both.Seconds()/alone.Seconds())
		if both <= alone*3/2 {
			return
		}
	}
	t.Error("a slow source beside the fast one makes every sync half as long again")
}
