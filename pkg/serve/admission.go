package serve

import (
	"context"
	"errors"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// read admits requests until the stream ends, and returns why it did. Small ones
// that have come together go on together.
func (c *session) read() error {
	waiting := make(batch, 0, maxBatch)
	admit := func() error {
		err := c.admit(waiting)
		waiting = waiting[:0]
		return err
	}
	for {
		if len(waiting) > 0 && !c.frames.whole() {
			if err := admit(); err != nil {
				return err
			}
		}
		r, err := c.request()
		if errors.Is(err, errSkipped) {
			continue
		}
		if err != nil || c.goesAlone() || !waiting.takes(&r) {
			if err := admit(); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		waiting = append(waiting, r)
	}
}

// goesAlone tells whether the next request does not go together with others.
func (c *session) goesAlone() bool {
	return c.alone.Load() > 0 && c.alone.Add(-1) >= 0
}

// errSkipped is a frame that was skipped.
var errSkipped = errors.New("frame skipped")

// request reads one frame. The errors: errSkipped, and whatever ends the stream.
func (c *session) request() (request, error) {
	m := c.srv.opts.Metrics
	payload, err := c.frames.next()
	if errors.Is(err, errOversized) {
		m.oversized.Inc()
		return request{}, c.skip(c.frames.length, err)
	}
	if err != nil {
		return request{}, err
	}
	msg, err := wire.Decode(payload, c.srv.db.Codec())
	if err != nil {
		m.undecodable.Inc()
		return request{}, c.skip(len(payload), err)
	}
	c.requests++
	r := newRequest(msg)
	r.reserved = c.srv.reservation(&r)
	m.requests[r.kind].Inc()
	return r, nil
}

// skip takes note of a frame that gets no answer, and returns errSkipped. It is another
// error when nothing else has come for too long: the frame reader looks at the idle time
// only when it waits between frames, and a peer need not let it.
func (c *session) skip(length int, err error) error {
	if c.undecodable++; c.undecodable == 1 {
		c.srv.notes.Warn("frame skipped", "peer", c.conn.RemoteAddr(), "error", err)
	}
	if c.party.junk.Take(time.Now(), 1+float64(length>>junkShift)) > 0 {
		c.srv.notes.Warn("connection closed: too many frames that are no requests", "peer", c.conn.RemoteAddr(), "client", c.who)
		return &endError{byLimit, errJunk}
	}
	if t := c.srv.opts.IdleTimeout; t > 0 && time.Since(c.lastWanted()) >= t {
		return &endError{byIdleTimeout, err}
	}
	return errSkipped
}

// admit hands requests to workers, in batches as large as limits and budgets let pass.
// It fails only when the connection ends.
func (c *session) admit(all batch) error {
	m := c.srv.opts.Metrics
	for len(all) > 0 {
		n, bytes, err := c.enter(all)
		if err != nil {
			return err
		}
		b := c.srv.batches.get()
		*b = append(*b, all[:n]...)
		all = all[n:]
		m.inflightRequests.Add(float64(n))
		m.inflightBytes.Add(float64(bytes))
		c.pending.Add(1)
		if !c.srv.turns.put(&c.next, job{session: c, batch: b, reserved: bytes, admitted: time.Now()}) {
			c.pending.Done()
			c.srv.batches.put(b)
			c.release(reply{requests: n, reserved: bytes})
			return context.Cause(c.end)
		}
	}
	return nil
}

// enter lets the first n requests pass, whose replies take so many bytes: those that
// nothing is in the way of, or one for which it has waited. Limits come before the budget
// of all, as a request that waits there should hold no memory, and the connection's own
// before both: who waits there takes nothing from others.
func (c *session) enter(all batch) (n int, bytes int64, err error) {
	n, bytes, err = c.inflight.take(c.end, all)
	if err != nil {
		return 0, 0, err
	}
	if n > 1 {
		t := tollOf(all[:n])
		if c.tryPass(t, time.Now()) {
			if c.srv.bytes.tryAcquire(&c.account, bytes) {
				return n, bytes, nil
			}
			c.giveBackToll(t)
		}
		c.inflight.giveBack(n-1, bytes-all[0].reserved)
	}
	bytes = all[0].reserved
	if err := c.pass(tollOf(all[:1])); err != nil {
		c.inflight.giveBack(1, bytes)
		return 0, 0, err
	}
	if err := c.srv.bytes.acquire(c.end, &c.account, bytes); err != nil {
		c.inflight.giveBack(1, bytes)
		return 0, 0, err
	}
	return 1, bytes, nil
}
