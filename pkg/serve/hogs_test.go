package serve

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// narrow is a listener whose connections buffer little in the kernel, so that
// what a peer does not read is left with the server.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetWriteBuffer(8 << 10)
}

// hog pipelines req without end and reads nothing.
func hog(t *testing.T, l net.Listener, req wire.Message) {
	t.Helper()
	c := dial(t, l, anyFixed)
	if err := c.conn.(*net.TCPConn).SetReadBuffer(8 << 10); err != nil {
		t.Fatal(err)
	}
	flood(c, req)
}

// promptly asks and fails the test when that takes longer than a second.
func promptly(t *testing.T, what string, ask func()) {
	t.Helper()
	began := time.Now()
	ask()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%s took %v", what, took)
	}
}

func TestPeersThatDoNotReadDoNotStopTheServer(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 10_000, 32)
	big := &wire.GetOperations{Size: f.last().Size, Max: 10_000}
	for _, tc := range []struct {
		hogs  int
		total int64
	}{
		{9, 6 << 20},
		{40, 24 << 20}, // too little for one reply each
	} {
		t.Run(fmt.Sprint(tc.hogs), func(t *testing.T) {
			l := listen(t)
			// Nothing but the budgets helps.
			s := start(t, f, Options{MaxTotalBytes: tc.total, MaxInflightBytes: tc.total / 8, WriteTimeout: -1}, narrow{l})
			for range tc.hogs {
				hog(t, l, big)
			}
			m := s.opts.Metrics
			eventually(t, "all requests stuck", func() bool {
				before := value(t, m.requests[getOperations])
				time.Sleep(50 * time.Millisecond)
				return before >= float64(tc.hogs) && before == value(t, m.requests[getOperations])
			})
			if held, most := value(t, m.inflightBytes), tc.total+int64(tc.hogs)*guaranteed; held > float64(most) {
				t.Errorf("%v bytes held, want at most %d", held, most)
			}
			for range 3 {
				c := dial(t, l, anyFixed)
				promptly(t, "a target", func() { c.target() })
				few := wire.GetOperations{ID: 2, Size: f.last().Size, Max: 50}
				promptly(t, "50 operations", func() { wantOperations(t, few, c.ask(&few), f.last().Root) })
			}
			// What needs room gets it too, if need be from the slowest.
			c := dial(t, l, anyFixed)
			wantOperations(t, *big, c.ask(big), f.last().Root)
		})
	}
}

// closedWhileReading reads n bytes each second until the server closes the
// connection, and returns how long that took.
func closedWhileReading(c *client, n int, giveUp time.Duration) time.Duration {
	began := time.Now()
	buf := make([]byte, n)
	for time.Since(began) < giveUp {
		for read := 0; read < n; {
			k, err := c.conn.Read(buf[read:])
			if err != nil {
				return time.Since(began)
			}
			read += k
		}
		time.Sleep(time.Second - time.Since(began)%time.Second)
	}
	return giveUp
}

func TestPeersHaveToKeepAPace(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 10_000, 32)
	for _, tc := range []struct {
		name        string
		perSecond   int
		most, least time.Duration
	}{
		{"a trickle", 100, 21 * time.Second, 19 * time.Second},
		{"half the pace", minPace / 2, 42 * time.Second, 38 * time.Second},
		{"the pace", minPace, time.Hour, time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				s := start(t, f, Options{WriteTimeout: 20 * time.Second, IdleTimeout: -1}, l)
				c := dial(t, l, anyFixed)
				flood(c, &wire.GetOperations{Size: f.last().Size, Max: 10_000})
				got := closedWhileReading(c, tc.perSecond, time.Hour)
				if got < tc.least || got > tc.most {
					t.Errorf("closed after %v, want %v to %v", got, tc.least, tc.most)
				}
				synctest.Wait()
				if cut := value(t, s.opts.Metrics.closed[byWriteTimeout]) == 1; cut != (tc.least < time.Hour) {
					t.Errorf("cut off: %v", cut)
				}
				c.conn.Close()
			})
		})
	}
}
