package serve

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// pushCost spaces the rounds of pushes: after one, the next waits for so
	// long for each subscriber. A push takes some 15 microseconds of a core, and
	// brings a request for operations besides: so pushing to any number of
	// subscribers leaves most of it to the writer. A log that stood still is
	// announced at once.
	pushCost = 100 * time.Microsecond
	// minPushGap is the least distance of two rounds, so that one subscriber
	// of a fast writer is not told of every commit of a burst.
	minPushGap = time.Millisecond
	// pushRun is how many subscribers are woken before others get to run: the
	// writer of the log may be among them.
	pushRun = 8
)

// pushFrame is what a push in its frame fits in, in bytes.
const pushFrame = 1 + wire.MaxPush

// A publication is a target, ready to be sent.
type publication struct {
	target wire.Target
	seq    uint64 // from 1
	frame  []byte // of a TargetPush with id 0; nobody writes to it
}

// pushIDAt is where the request id lies in the frame of a push: after a length
// of one byte and the tag.
const pushIDAt = 2

// appendTo appends the frame for one subscription.
func (p *publication) appendTo(dst []byte, id uint64) []byte {
	at := len(dst) + pushIDAt
	dst = append(dst, p.frame...)
	binary.BigEndian.PutUint64(dst[at:], id)
	return dst
}

// pushes tells subscribed sessions of new targets.
//
//	Apply --Changed--> run: one view, one frame --wake--> session writers: newest, with their id
//
// It waits for no session and no session for another: a wake-up is a token, and
// what is pushed is whatever is newest when a writer gets to it. A subscriber
// costs a map entry and two words of its session, however far it is behind.
type pushes struct {
	db      Database
	metrics *Metrics
	newest  atomic.Pointer[publication]
	begin   chan struct{} // a token: there may be subscribers

	mu       sync.Mutex
	sessions map[*session]struct{} // subscribed
	told     uint64                // seq of the last publication that a round told of
}

func newPushes(db Database, m *Metrics) *pushes {
	return &pushes{db: db, metrics: m, begin: make(chan struct{}, 1), sessions: make(map[*session]struct{})}
}

// subscribe lets c be told of targets from now on, and returns the newest one.
func (p *pushes) subscribe(c *session) (*publication, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	latest, err := p.refresh()
	if err != nil {
		return nil, err
	}
	p.sessions[c] = struct{}{}
	p.metrics.subscribers.Set(float64(len(p.sessions)))
	select {
	case p.begin <- struct{}{}:
	default:
	}
	return latest, nil
}

// remove ends the subscription of c, if it has one.
func (p *pushes) remove(c *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, c)
	p.metrics.subscribers.Set(float64(len(p.sessions)))
}

// refresh takes note of what the database shows now. The mutex is held, so that
// publications are in the order of their views.
func (p *pushes) refresh() (latest *publication, err error) {
	v, err := p.db.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	target := targetOf(v)
	latest = p.newest.Load()
	if latest != nil && latest.target == target {
		return latest, nil
	}
	next := &publication{target: target, seq: 1}
	if latest != nil {
		next.seq = latest.seq + 1
	}
	if next.frame, err = wire.AppendFrame(nil, &wire.TargetPush{Target: target}); err != nil {
		return nil, err
	}
	p.newest.Store(next)
	return next, nil
}

// run pushes until ctx ends. While nobody is subscribed it only waits.
func (p *pushes) run(ctx context.Context) {
	gap := time.NewTimer(0)
	defer gap.Stop()
	for {
		select {
		case <-p.begin:
		case <-ctx.Done():
			return
		}
		for {
			changed := p.db.Changed() // before the view, or one is missed
			told := p.round()
			if told < 0 {
				break
			}
			if told > 0 {
				gap.Reset(max(minPushGap, time.Duration(told)*pushCost))
				select {
				case <-gap.C:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// round wakes the writers of all subscribers if there is something new to say,
// and returns how many. It is negative when there is none left.
func (p *pushes) round() int {
	p.mu.Lock()
	if len(p.sessions) == 0 {
		p.mu.Unlock()
		return -1
	}
	latest, err := p.refresh()
	// A database that is being closed says so to those who ask. What is newest
	// may have been found by a new subscriber: the others were not told of it.
	if err != nil || latest.seq == p.told {
		p.mu.Unlock()
		return 0
	}
	p.told = latest.seq
	told := make([]*session, 0, len(p.sessions))
	for c := range p.sessions {
		told = append(told, c)
	}
	p.mu.Unlock()
	for i, c := range told {
		c.wake()
		if i%pushRun == pushRun-1 {
			runtime.Gosched()
		}
	}
	return len(told)
}

// A subscription is a session's side of it: its writer owns it.
type subscription struct {
	id   uint64
	sent uint64 // seq of the publication sent last; 0: not subscribed
}

// wake makes the writer look for a publication it has not sent.
func (c *session) wake() {
	select {
	case c.news <- struct{}{}:
	default: // it has not come to the last one yet
	}
}

// begin begins a subscription with what is newest by now: under an earlier one
// something newer than in its answer may have been sent already.
func (c *session) begin(r *reply) {
	p := c.srv.pushes.newest.Load()
	*r.buffer = p.appendTo((*r.buffer)[:0], r.sub.id)
	r.frames = *r.buffer
	c.sub = subscription{r.sub.id, p.seq}
}

// push sends the newest publication, if the subscriber does not have it.
func (c *session) push() error {
	p := c.srv.pushes.newest.Load()
	if c.sub.sent == 0 || p.seq <= c.sub.sent {
		return nil
	}
	m := c.srv.opts.Metrics
	m.pushesCoalesced.Add(float64(p.seq - c.sub.sent - 1))
	c.sub.sent = p.seq
	c.pushed = p.appendTo(c.pushed[:0], c.sub.id)
	c.pace.begin(time.Now())
	defer c.took()
	if err := c.flush([][]byte{c.pushed}); err != nil {
		return err
	}
	m.pushes.Inc()
	return nil
}
