package serve

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestConnectionsAboveTheLimitAreClosedAtOnce(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	l := listen(t)
	s := start(t, f, Options{MaxConnections: 2}, l)
	a, b := dial(t, l, anyFixed), dial(t, l, anyFixed)
	a.target()
	b.target()
	dial(t, l, anyFixed).wantClosed()
	if got := value(t, s.opts.Metrics.rejected); got != 1 {
		t.Errorf("%v connections counted as rejected", got)
	}
	a.target() // undisturbed
	b.conn.Close()
	eventually(t, "room for another", func() bool { return value(t, s.opts.Metrics.connections) == 1 })
	dial(t, l, anyFixed).target()
}

// flood writes copies of a request without end and counts what was taken.
// It ends when the connection does.
func flood(c *client, req wire.Message) *atomic.Int64 {
	one := frames(c.t, req)
	taken := new(atomic.Int64)
	c.conn.SetDeadline(time.Time{})
	go func() {
		for {
			n, err := c.conn.Write(one)
			taken.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return taken
}

// discard reads replies until the connection ends; the channel is closed
// after the n-th.
func discard(c *client, n int) <-chan struct{} {
	enough := make(chan struct{})
	go func() {
		for i := 1; ; i++ {
			if _, err := c.tryReceive(); err != nil {
				return
			}
			if i == n {
				close(enough)
			}
		}
	}()
	return enough
}

func TestReadingStopsWhenABudgetIsUsedUp(t *testing.T) {
	f := newFixture(t, anyFixed, 4, 4, 32)
	req := wire.GetOperations{Size: f.last().Size, Max: 5}
	length := int64(len(frames(t, &req)))
	asked := newRequest(&req)
	each := New(f, Options{}).reservation(&asked)
	const buffer = minRequestBytes // as small as it gets, so that little is read ahead
	for name, tc := range map[string]struct {
		opts        Options
		connections int
		admitted    int64 // in all
	}{
		"requests of a connection": {Options{MaxRequestsPerConnection: 7}, 1, 7},
		"bytes of a connection":    {Options{MaxInflightBytes: 5*each + each/2}, 1, 5},
		"each its own":             {Options{MaxRequestsPerConnection: 2, MaxInflightBytes: 9 * each}, 3, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, db := newPipes(), newGated(f)
				tc.opts.MaxRequestBytes = buffer
				tc.opts.IdleTimeout = -1
				// Every request that is admitted gets to a worker.
				tc.opts.Workers = 10
				s := start(t, db, tc.opts, l)
				var clients []*client
				var taken []*atomic.Int64
				for range tc.connections {
					c := dial(t, l, anyFixed)
					clients, taken = append(clients, c), append(taken, flood(c, &req))
				}
				synctest.Wait()
				m := s.opts.Metrics
				if got := db.waiting.Load(); got != tc.admitted {
					t.Errorf("%d requests in work, want %d", got, tc.admitted)
				}
				if got := value(t, m.inflightRequests); got != float64(tc.admitted) {
					t.Errorf("%v requests in flight, want %d", got, tc.admitted)
				}
				// Each reader holds one more request, and its buffer.
				var read int64
				for _, n := range taken {
					read += n.Load()
				}
				if most := (tc.admitted+int64(tc.connections))*length + int64(tc.connections)*buffer; read > most {
					t.Errorf("%d bytes read, want at most %d", read, most)
				}
				// Nothing is lost: it goes on where it stopped.
				close(db.gate)
				var enough []<-chan struct{}
				for _, c := range clients {
					enough = append(enough, discard(c, 100))
				}
				for _, e := range enough {
					<-e
				}
			})
		})
	}
}

func TestPeerThatNeverReadsIsCutOff(t *testing.T) {
	f := newFixture(t, anyFixed, 30, 40, 32)
	l := listen(t)
	s := start(t, f, Options{WriteTimeout: 50 * time.Millisecond}, l)
	c := dial(t, l, anyFixed)
	flood(c, &wire.GetOperations{Size: f.last().Size, Max: 10_000})
	m := s.opts.Metrics
	eventually(t, "the connection cut off", func() bool { return value(t, m.closed[byWriteTimeout]) == 1 })
	if requests, bytes := value(t, m.inflightRequests), value(t, m.inflightBytes); requests != 0 || bytes != 0 {
		t.Errorf("%v requests and %v bytes are still held", requests, bytes)
	}
	dial(t, l, anyFixed).target()
}

// closedAfter is how long the server takes to close the connection.
func closedAfter(c *client) time.Duration {
	c.conn.SetDeadline(time.Time{})
	began := time.Now()
	for {
		if _, err := c.conn.Read(make([]byte, 1)); err != nil {
			return time.Since(began)
		}
	}
}

func TestTimeouts(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	opts := Options{ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: time.Minute}
	half := frames(t, &wire.GetTarget{ID: 1})[:5]
	for _, tc := range []struct {
		name   string
		run    func(t *testing.T, c *client, db *gated) time.Duration
		after  time.Duration
		reason reason
	}{
		{"silence", func(_ *testing.T, c *client, _ *gated) time.Duration {
			return closedAfter(c)
		}, opts.IdleTimeout, byIdleTimeout},
		{"silence after a request", func(_ *testing.T, c *client, db *gated) time.Duration {
			close(db.gate)
			c.target()
			time.Sleep(50 * time.Second)
			c.target()
			return closedAfter(c)
		}, opts.IdleTimeout, byIdleTimeout},
		{"a request in work is no silence", func(_ *testing.T, c *client, db *gated) time.Duration {
			c.conn.SetDeadline(time.Time{})
			c.send(&wire.GetTarget{ID: 1})
			time.Sleep(170 * time.Second)
			close(db.gate)
			c.receive()
			return closedAfter(c)
		}, opts.IdleTimeout, byIdleTimeout},
		{"half a frame", func(_ *testing.T, c *client, _ *gated) time.Duration {
			time.Sleep(50 * time.Second)
			c.write(half)
			return closedAfter(c)
		}, opts.ReadTimeout, byReadTimeout},
		{"half a length prefix", func(_ *testing.T, c *client, _ *gated) time.Duration {
			c.write([]byte{0x80})
			return closedAfter(c)
		}, opts.ReadTimeout, byReadTimeout},
		{"a frame byte by byte", func(_ *testing.T, c *client, _ *gated) time.Duration {
			began := time.Now()
			for _, b := range append([]byte{200, 1}, make([]byte, 200)...) {
				if _, err := c.conn.Write([]byte{b}); err != nil {
					break
				}
				time.Sleep(900 * time.Millisecond)
			}
			return time.Since(began).Truncate(time.Second)
		}, opts.ReadTimeout, byReadTimeout},
		{"an oversized frame byte by byte", func(_ *testing.T, c *client, _ *gated) time.Duration {
			c.write(operation.AppendUvarint(nil, wire.MaxFrame))
			return closedAfter(c)
		}, opts.ReadTimeout, byReadTimeout},
		{"replies not read", func(_ *testing.T, c *client, db *gated) time.Duration {
			close(db.gate)
			c.send(&wire.GetTarget{ID: 1})
			began := time.Now()
			for {
				if _, err := c.conn.Write([]byte{0}); err != nil { // empty frames, skipped
					return time.Since(began).Truncate(time.Second)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}, opts.WriteTimeout, byWriteTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, db := newPipes(), newGated(f)
				s := start(t, db, opts, l)
				c := dial(t, l, anyFixed)
				c.conn.SetDeadline(time.Time{})
				if got := tc.run(t, c, db); got != tc.after {
					t.Errorf("closed after %v, want %v", got, tc.after)
				}
				synctest.Wait()
				if value(t, s.opts.Metrics.closed[tc.reason]) != 1 {
					t.Errorf("not counted as closed by %v", tc.reason)
				}
			})
		})
	}
}

func TestNegativeTimeoutsAreNone(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		start(t, f, Options{ReadTimeout: -1, WriteTimeout: -1, IdleTimeout: -1}, l)
		c := dial(t, l, anyFixed)
		c.conn.SetDeadline(time.Time{})
		time.Sleep(24 * time.Hour)
		for _, b := range frames(t, &wire.GetTarget{ID: 1}) {
			c.write([]byte{b})
			time.Sleep(24 * time.Hour)
		}
		c.receive()
	})
}

func TestDeclaredLengthsCostNoMemory(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	l := listen(t)
	s := start(t, f, Options{}, l)
	const peers, sent = 100, 256 << 10
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range peers {
		c := dial(t, l, anyFixed)
		c.write(operation.AppendUvarint(nil, wire.MaxFrame))
		c.write(make([]byte, sent))
		c.br = nil // the client's own memory does not count
	}
	eventually(t, "everything sent was read", func() bool { return value(t, s.opts.Metrics.received) >= peers*sent })
	// A read buffer, and what goroutines and the poller need.
	if grown, most := int64(heap()-before), int64(peers*(DefaultMaxRequestBytes+24<<10)); grown > most {
		t.Errorf("heap grew by %d bytes for %d frames that never end, want at most %d", grown, peers, most)
	}
}
