package serve

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// askAll pipelines n requests and returns how long it took to have all replies,
// none of which may be an Error.
func askAll(c *client, n int, req wire.Message) time.Duration {
	c.conn.SetDeadline(time.Time{})
	all := frames(c.t, slices.Repeat([]wire.Message{req}, n)...)
	go func() { _, _ = c.conn.Write(all) }() // whoever does not get it all does not get the answers
	began := time.Now()
	for range n {
		if refused, ok := c.receive().(*wire.Error); ok {
			c.t.Fatalf("refused: %s", refused.Text)
		}
	}
	return time.Since(began)
}

func TestRequestsAboveALimitWait(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2000, 32)
	target, ops := &wire.GetTarget{ID: 1}, &wire.GetOperations{ID: 1, Size: f.last().Size, Max: 20}
	length := float64(len(replyTo(t, f, ops)))
	many := &wire.GetOperations{ID: 1, Size: f.last().Size, Max: 2000}
	manyLength := float64(len(replyTo(t, f, many)))
	for name, tc := range map[string]struct {
		limits Limits
		n      int
		req    wire.Message
		want   time.Duration
		limit  limit
	}{
		"requests":                         {Limits{Requests: 10}, 60, ops, 5 * time.Second, limitRequests},
		"targets are requests":             {Limits{Requests: 10}, 60, target, 5 * time.Second, limitRequests},
		"targets":                          {Limits{TargetRequests: 5}, 60, target, 11 * time.Second, limitTargets},
		"operations are no targets":        {Limits{TargetRequests: 5}, 60, ops, 0, limitTargets},
		"bytes":                            {Limits{Bytes: 10 * length}, 60, ops, 5 * time.Second, limitBytes},
		"less bytes than a reply":          {Limits{Bytes: manyLength / 4}, 10, many, 36 * time.Second, limitBytes},
		"the lowest limit is the one":      {Limits{Requests: 100, Bytes: 10 * length}, 60, ops, 5 * time.Second, limitBytes},
		"nothing waits below the limit":    {Limits{Requests: 60, Bytes: 120 * length}, 60, ops, 0, limitBytes},
		"less than one request per second": {Limits{Requests: 0.25}, 4, ops, 12 * time.Second, limitRequests},
	} {
		for scope, opts := range [numScopes]Options{ofClient: {ClientLimits: tc.limits}, ofAll: {Limits: tc.limits}} {
			t.Run(fmt.Sprint(name, ", of ", scope), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newPipes()
					opts.IdleTimeout = time.Second / 2 // waiting is not idling
					s := start(t, f, opts, l)
					got := askAll(dial(t, l, anyFixed), tc.n, tc.req)
					if off := got - tc.want; off.Abs() > tc.want/10 {
						t.Errorf("it took %v, want %v", got, tc.want)
					}
					m := &s.opts.Metrics.limits[scope][tc.limit]
					if waited := value(t, m.waits) > 0; waited != (tc.want > 0) {
						t.Errorf("%v waits counted", value(t, m.waits))
					}
					if closed, waiting := value(t, m.closed), value(t, m.waiting); closed != 0 || waiting != 0 {
						t.Errorf("%v closed, %v are waiting", closed, waiting)
					}
				})
			})
		}
	}
}

// replyTo is the frame that answers a request.
func replyTo(t *testing.T, f *fixture, req wire.Message) []byte {
	t.Helper()
	l := listen(t)
	start(t, f, Options{}, l)
	return frames(t, dial(t, l, anyFixed).ask(req))
}

func TestLimitsGoByAddress(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := start(t, f, Options{ClientLimits: Limits{Requests: 10}}, l)
		spend := func(ip string) time.Duration { return askAll(dialFrom(t, l, ip), 10, &wire.GetTarget{ID: 1}) }
		if took := spend("192.0.2.1"); took != 0 {
			t.Errorf("a second's worth at once took %v", took)
		}
		if took := spend("192.0.2.2"); took != 0 {
			t.Errorf("another address: %v", took)
		}
		if took := spend("192.0.2.2"); took != time.Second {
			t.Errorf("another connection from there: %v", took)
		}
		if n := value(t, s.opts.Metrics.clients); n != 2 {
			t.Errorf("%v clients", n)
		}
	})
}

func TestLimitsGoByCertificate(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		o := Options{ClientLimits: Limits{Requests: 10}}
		id := secured(t, &o)
		s := start(t, f, o, l)
		spend := func(ip string) time.Duration {
			return askAll(id.over(dialFrom(t, l, ip)), 10, &wire.GetTarget{ID: 1})
		}
		if took := spend("192.0.2.1"); took != 0 {
			t.Errorf("a second's worth at once took %v", took)
		}
		if took := spend("192.0.2.2"); took != time.Second {
			t.Errorf("the same identity elsewhere: %v", took)
		}
		if n := value(t, s.opts.Metrics.clients); n != 1 {
			t.Errorf("%v clients", n)
		}
	})
}

func TestClientThatWaitsTooLongIsClosed(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	for scope, opts := range [numScopes]Options{
		ofClient: {ClientLimits: Limits{Requests: 1}}, ofAll: {Limits: Limits{Requests: 1}},
	} {
		t.Run(fmt.Sprint("limit of ", scope), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				opts.LimitWait = 10 * time.Second
				s := start(t, f, opts, l)
				var greedy []*client
				for range 40 {
					c := dialFrom(t, l, hostile)
					flood(c, &wire.GetTarget{ID: 1})
					discard(c, 0)
					greedy = append(greedy, c)
				}
				time.Sleep(15 * time.Second)
				synctest.Wait()
				m := s.opts.Metrics
				closed := value(t, m.closed[byLimit])
				// One a second gets through the door, and is at the end of the line again.
				if closed < 20 || closed > 39 {
					t.Errorf("%v of 40 connections closed", closed)
				}
				if n := value(t, m.limits[scope][limitRequests].closed); n != closed {
					t.Errorf("%v closings counted for the limit, %v connections were closed", n, closed)
				}
				// Of two clients each has every second turn at the door of all.
				if took := askAll(dialFrom(t, l, honest), 5, &wire.GetTarget{ID: 1}); took > 11*time.Second {
					t.Errorf("another client waited %v for 5 replies", took)
				}
				for _, c := range greedy {
					c.conn.Close()
				}
			})
		})
	}
}

func TestFramesThatAreNoRequestsAreSkippedInModeration(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	large := append([]byte{0x80, 0x80, 0x40}, make([]byte, 1<<20)...)
	for name, tc := range map[string]struct {
		junk    []byte
		skipped int // before there are too many
	}{
		"small frames": {[]byte{1, 0xff}, junkRate},
		"large frames": {large, junkRate/17 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				s := start(t, f, Options{}, l)
				a, b := dialFrom(t, l, hostile), dialFrom(t, l, hostile)
				for range tc.skipped {
					a.write(tc.junk)
				}
				a.target() // it is still served
				b.write(tc.junk)
				b.conn.SetDeadline(time.Now().Add(patience))
				b.wantClosed() // the two are one client
				dialFrom(t, l, honest).target()
				time.Sleep(2 * time.Second)
				a.write(tc.junk)
				if a.target(); value(t, s.opts.Metrics.closed[byLimit]) != 1 {
					t.Error("not counted")
				}
			})
		})
	}
}
