package serve

import (
	"bufio"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// from is a connection that comes from an address.
type from struct {
	net.Conn
	addr net.Addr
}

func (c from) RemoteAddr() net.Addr { return c.addr }

func dialFrom(t testing.TB, p *pipes, ip string) *client {
	t.Helper()
	server, conn := net.Pipe()
	t.Cleanup(func() { conn.Close() })
	p.conns <- from{server, &net.TCPAddr{IP: net.ParseIP(ip), Port: 4000}}
	return &client{t, conn, bufio.NewReader(conn), anyFixed}
}

// hostile and honest are two hosts.
const hostile, honest = "192.0.2.1", "198.51.100.1"

func isClosed(c *client) bool {
	c.t.Helper()
	synctest.Wait()
	c.conn.SetReadDeadline(time.Now())
	defer c.conn.SetReadDeadline(time.Time{})
	_, err := c.br.Peek(1)
	return !isTimeout(err)
}

func TestOneHostCannotTakeAllPlaces(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := start(t, f, Options{MaxConnections: 8, MaxConnectionsPerHost: 6}, l)
		for range 20 {
			dialFrom(t, l, hostile)
		}
		synctest.Wait()
		if got := value(t, s.opts.Metrics.connections); got != 6 {
			t.Errorf("%v connections, want 6", got)
		}
		if got := value(t, s.opts.Metrics.rejected); got != 14 {
			t.Errorf("%v connections rejected, want 14", got)
		}
		dialFrom(t, l, honest).target()
	})
}

func TestIdleConnectionsOfAHostMakeRoomForItsNext(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l, db := newPipes(), newGated(f)
		s := start(t, db, Options{MaxConnections: 100, MaxConnectionsPerHost: 3}, l)
		other := dialFrom(t, l, honest)
		time.Sleep(time.Minute)
		busy := dialFrom(t, l, hostile)
		busy.send(&wire.GetTarget{ID: 7})
		time.Sleep(time.Second)
		close(db.gate)
		busy.receive()
		db.gate = make(chan struct{})
		junk, quiet := dialFrom(t, l, hostile), dialFrom(t, l, hostile)
		for range 3 {
			time.Sleep(time.Second)
			junk.write([]byte{1, 0xff})
			busy.send(&wire.GetTarget{ID: 8})
		}
		quiet.send(&wire.GetTarget{ID: 9})
		synctest.Wait()
		first := dialFrom(t, l, hostile)
		if isClosed(first) || !isClosed(junk) || isClosed(busy) || isClosed(quiet) {
			t.Errorf("closed: newcomer %v, junk %v, busy %v, quiet %v", isClosed(first), isClosed(junk), isClosed(busy), isClosed(quiet))
		}
		if second := dialFrom(t, l, hostile); !isClosed(second) {
			t.Error("a newcomer took the place of a connection in use or just made")
		}
		if isClosed(other) {
			t.Error("another host had to go")
		}
		if got := value(t, s.opts.Metrics.closed[byNewcomer]); got != 1 {
			t.Errorf("%v connections counted as replaced, want 1", got)
		}
		close(db.gate)
	})
}

func TestHostWithTheMostConnectionsMakesRoomForOthers(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		start(t, f, Options{MaxConnections: 4, MaxConnectionsPerHost: -1}, l)
		a := dialFrom(t, l, honest) // idle longest
		time.Sleep(time.Second)
		var many []*client
		for range 3 {
			many = append(many, dialFrom(t, l, hostile))
			time.Sleep(time.Second)
		}
		b := dialFrom(t, l, "203.0.113.1")
		b.target()
		if !isClosed(many[0]) || isClosed(a) {
			t.Errorf("closed: first of many %v, the only one of its host %v", isClosed(many[0]), isClosed(a))
		}
		// Its own connections make room for its next, not the others'.
		time.Sleep(time.Second)
		c := dialFrom(t, l, hostile)
		if isClosed(c) || !isClosed(many[1]) || isClosed(a) || isClosed(b) {
			t.Errorf("closed: newcomer %v, its oldest %v, others %v %v", isClosed(c), isClosed(many[1]), isClosed(a), isClosed(b))
		}
	})
}

func TestHostsWithAsManyConnectionsGiveNoPlaces(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l, db := newPipes(), newGated(f)
		start(t, db, Options{MaxConnections: 4, MaxConnectionsPerHost: -1}, l)
		a := dialFrom(t, l, honest)
		time.Sleep(time.Second)
		b := dialFrom(t, l, "203.0.113.1")
		for range 2 {
			dialFrom(t, l, hostile).send(&wire.GetTarget{ID: 1})
		}
		time.Sleep(time.Minute)
		if c := dialFrom(t, l, hostile); !isClosed(c) || isClosed(a) || isClosed(b) {
			t.Errorf("closed: newcomer %v, idle ones of hosts with fewer %v %v", isClosed(c), isClosed(a), isClosed(b))
		}
		// One that has none yet is not locked out.
		c := dialFrom(t, l, "203.0.113.2")
		if isClosed(c) || !isClosed(a) {
			t.Errorf("closed: a fourth host %v, the one idle longest %v", isClosed(c), isClosed(a))
		}
		close(db.gate)
	})
}

func TestJunkDoesNotKeepAConnection(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	for name, tc := range map[string]struct {
		junk  []byte
		every time.Duration
	}{
		"a frame now and then": {[]byte{1, 0xff}, 10 * time.Second},
		// Frames that never end where the read buffer does.
		"without a pause": {make([]byte, 100), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				s := start(t, f, Options{IdleTimeout: time.Minute, MaxRequestBytes: 64}, l)
				c := dial(t, l, anyFixed)
				c.conn.SetDeadline(time.Time{})
				if tc.every == 0 {
					tc.junk = append([]byte{40}, make([]byte, 40)...)
					for i := range tc.junk[1:] {
						tc.junk[1+i] = 0xff
					}
				}
				began := time.Now()
				for time.Since(began) < 2*time.Minute {
					chunk := tc.junk
					if tc.every == 0 { // always half a frame ahead
						chunk = append(tc.junk[20:len(tc.junk):len(tc.junk)], tc.junk[:20]...)
						if time.Since(began) == 0 {
							chunk = tc.junk[:20]
						}
					}
					if _, err := c.conn.Write(chunk); err != nil {
						break
					}
					time.Sleep(max(tc.every, 10*time.Millisecond))
				}
				if took := time.Since(began).Round(time.Second); took != time.Minute && took != time.Minute+tc.every {
					t.Errorf("closed after %v, want a minute", took)
				}
				synctest.Wait()
				if value(t, s.opts.Metrics.closed[byIdleTimeout]) != 1 {
					t.Error("not counted as closed for being idle")
				}
			})
		})
	}
}
