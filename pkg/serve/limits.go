package serve

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/internal/guard"
)

// Limits are rates, per second; 0: no limit. Of each, a second's worth may come
// at once.
type Limits struct {
	// Requests of any kind.
	Requests float64
	// TargetRequests are all requests but those for operations; they count as
	// requests, too.
	TargetRequests float64
	// Bytes of replies. What a reply may take at most is taken when its request
	// is admitted, and put right when it is built. A reply may be larger than
	// what is left, so that limits below the size of a reply only make the next
	// one late.
	Bytes float64
}

// A limit is one of Limits. It is a metric label.
type limit uint8

const (
	limitRequests limit = iota
	limitTargets
	limitBytes
	numLimits
)

func (l limit) String() string {
	return [numLimits]string{limitRequests: "requests", limitTargets: "target_requests", limitBytes: "bytes"}[l]
}

// A scope is whom a limit is for. It is a metric label.
type scope uint8

const (
	ofClient scope = iota
	ofAll
	numScopes
)

func (s scope) String() string { return [numScopes]string{ofClient: "client", ofAll: "all"}[s] }

// errLimit is what ends a connection that LimitWait has passed for.
var errLimit = errors.New("requests come faster than the limits allow")

// A door lets requests pass as fast as limits allow, one after the other.
type door struct {
	scope   scope
	turn    chan struct{}  // a token: nobody stands in the door
	buckets *guard.Buckets // by limit

	reached atomic.Pointer[limitMetrics] // of the limit that was waited for last
}

func newDoor(s scope, l Limits) *door {
	rates := [numLimits]float64{limitRequests: l.Requests, limitTargets: l.TargetRequests, limitBytes: l.Bytes}
	d := &door{scope: s, turn: make(chan struct{}, 1), buckets: guard.NewBuckets(rates[:]...)}
	d.turn <- struct{}{}
	return d
}

// unused says whether a new door would be the same.
func (d *door) unused(now time.Time) bool { return d.buckets.Unused(now) }

// junkRate is how many frames that get no answer one party may send a second,
// where each 64 KiB of a frame (a shift by junkShift) count as one. Peers that
// are newer than this server may send some; skipping millions would keep its
// processors busy.
const (
	junkRate  = 1000
	junkShift = 16
)

// errJunk is what ends a connection then: waiting would keep it for as long as
// its peer has filled the kernel's buffers for.
var errJunk = errors.New("too many frames that are no requests")

// A party is whom limits and turns are for: a client that proved an identity
// or came from one host, with all its connections.
type party struct {
	door *door
	junk *guard.Bucket
	flow flow // of turns
}

func (s *Server) newParties() *guard.Clients[party] {
	return guard.NewClients(guard.MaxClients,
		func() *party {
			return &party{door: newDoor(ofClient, s.opts.ClientLimits), junk: guard.NewBucket(junkRate)}
		},
		func(p *party, now time.Time) bool { return p.door.unused(now) && p.junk.Used(now) <= 0 })
}

// identify finds out whom limits and turns count the peer as. Its handshake is over.
func (c *session) identify() {
	c.who = guard.NewClient(c.identity, c.host)
	c.party, c.leave = c.srv.parties.Use(c.who)
	c.srv.opts.Metrics.clients.Set(float64(c.srv.parties.Len()))
}

// toll is what requests take from the buckets.
type toll [numLimits]float64

func tollOf(b batch) toll {
	t := toll{limitRequests: float64(len(b)), limitBytes: float64(b.reserved())}
	if b[0].kind != getOperations { // then it is the only one
		t[limitTargets] = 1
	}
	return t
}

// tryPass takes a toll if all of it is there and nobody waits for it, else nothing.
func (c *session) tryPass(t toll, now time.Time) bool {
	s := c.srv
	if !s.limited {
		return true
	}
	if !c.party.door.tryPass(t, now) {
		return false
	}
	if !s.door.tryPass(t, now) {
		c.party.door.giveBack(t)
		return false
	}
	return true
}

// giveBack gives back the toll of what was not admitted after all.
func (c *session) giveBackToll(t toll) {
	if c.srv.limited {
		c.party.door.giveBack(t)
		c.srv.door.giveBack(t)
	}
}

// pass waits until the limits let a request through: first its client's, then
// those of all. The next request of the client waits for it, whatever its
// connection, so that a client stands at the door of all only once. It fails
// when the connection ends, and when waiting takes longer than LimitWait.
func (c *session) pass(t toll) error {
	s := c.srv
	if !s.limited {
		return nil
	}
	own, all := t, t
	now := time.Now()
	if c.party.door.tryPay(&own, now) && s.door.tryPay(&all, now) {
		return nil
	}
	w := waiting{session: c}
	defer w.over()
	if err := w.turn(c.party.door); err != nil {
		return err
	}
	defer func() { c.party.door.turn <- struct{}{} }()
	if err := w.pay(c.party.door, own); err != nil || all == (toll{}) {
		return err
	}
	if err := w.turn(s.door); err != nil {
		return err
	}
	defer func() { s.door.turn <- struct{}{} }()
	return w.pay(s.door, all)
}

// tryPay pays what can be paid at once, if nobody stands in the door, and tells
// whether that is all; t is what is left.
func (d *door) tryPay(t *toll, now time.Time) bool {
	if len(d.turn) == 0 {
		return false
	}
	_, wait := d.buckets.Take(now, t[:])
	return wait == 0
}

func (d *door) tryPass(t toll, now time.Time) bool {
	return len(d.turn) > 0 && d.buckets.TakeAll(now, t[:])
}

func (d *door) giveBack(t toll) {
	for i, n := range t {
		d.buckets.Put(i, n)
	}
}

// refund gives back bytes that were taken for a reply and not needed.
func (c *session) refund(n int64) {
	if c.srv.limited {
		c.party.door.buckets.Put(int(limitBytes), float64(n))
		c.srv.door.buckets.Put(int(limitBytes), float64(n))
	}
}

// waiting is one request that limits hold up; nothing of it is made before they do.
type waiting struct {
	session *session
	expired *time.Timer // LimitWait after it began to wait
}

// turn waits until nobody else stands in a door.
func (w *waiting) turn(d *door) error {
	select {
	case <-d.turn:
		return nil
	default:
	}
	w.begin()
	select {
	case <-d.turn:
		return nil
	case <-w.expired.C:
		return w.tooLong(d)
	case <-w.session.end.Done():
		return context.Cause(w.session.end)
	}
}

// pay takes what a request costs, and waits for what is not there.
func (w *waiting) pay(d *door, t toll) error {
	for {
		short, wait := d.buckets.Take(time.Now(), t[:])
		if wait == 0 {
			return nil
		}
		if err := w.payLate(d, limit(short), &t, wait); err != nil {
			return err
		}
	}
}

// payLate waits until a limit is not in the way any more.
func (w *waiting) payLate(d *door, l limit, t *toll, wait time.Duration) error {
	c := w.session
	m := &c.srv.opts.Metrics.limits[d.scope][l]
	m.waits.Inc()
	m.waiting.Inc()
	defer m.waiting.Dec()
	d.reached.Store(m)
	c.party.door.reached.Store(m) // also where it is the limit of all that holds up the party
	c.srv.notes.Warn("a client waits: it has reached a limit", "peer", c.conn.RemoteAddr(), "client", c.who, "limit", l.String(), "of", d.scope.String())
	w.begin()
	later := time.NewTimer(wait)
	defer later.Stop()
	for {
		select {
		case <-later.C:
		case <-w.expired.C:
			return w.tooLong(d)
		case <-c.end.Done():
			return context.Cause(c.end)
		}
		short, wait := d.buckets.Take(time.Now(), t[:])
		if wait == 0 || limit(short) != l {
			return nil
		}
		later.Reset(wait)
	}
}

func (w *waiting) begin() {
	if w.expired == nil {
		w.expired = time.NewTimer(w.session.srv.opts.LimitWait)
	}
}

func (w *waiting) over() {
	if w.expired != nil {
		w.expired.Stop()
	}
}

// tooLong ends the connection of a request that waited at a door.
func (w *waiting) tooLong(d *door) error {
	c := w.session
	args := []any{"peer", c.conn.RemoteAddr(), "client", c.who, "limit_wait", c.srv.opts.LimitWait}
	if m := d.reached.Load(); m != nil {
		m.closed.Inc()
		args = append(args, "limit", m.limit.String(), "of", m.scope.String())
	}
	c.srv.notes.Warn("connection closed: its requests wait too long at a limit", args...)
	return &endError{byLimit, errLimit}
}
