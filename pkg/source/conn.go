package source

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// headSize is a tag and a request id: what is needed to know whose answer
	// a frame is.
	headSize = 9
	// minAllowance is the room every answer has, so that error replies get through.
	minAllowance = 4 << 10
	// maxText bounds what is kept of the text of an error reply, in bytes.
	maxText = 256
	// maxAbandoned bounds the ids of abandoned requests that are remembered. A
	// connection with more of them is not worth keeping.
	maxAbandoned = 1024
)

// conn is one connection: a task that reads frames, one that writes them, and
// the calls under way. It ends once, with the reason for every call left.
type conn struct {
	peer *Peer
	nc   net.Conn
	wake chan struct{} // there is something to write
	done chan struct{} // closed when the connection is over

	mu        sync.Mutex
	err       error // why it is over
	lastID    uint64
	pending   map[uint64]*call
	abandoned map[uint64]struct{}       // given up, the answer may still come
	out       []byte                    // frames not yet written
	frames    [wire.TagError + 1]uint64 // answers received, by the type asked for
	sub       *subscription             // the latest; nil: targets were not asked to be pushed
}

// call is a request under way. Whoever removes it from pending decides its
// fate: the reader by delivering, the caller by abandoning it.
type call struct {
	want    byte
	allowed int
	frames  uint64 // answers of this type received when it was sent
	result  chan result
}

type result struct {
	payload []byte
	err     error
}

// newConn starts the two tasks of a connection; the peer's mutex is held.
func newConn(p *Peer, nc net.Conn) *conn {
	c := &conn{
		peer: p, nc: nc,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		pending: make(map[uint64]*call), abandoned: make(map[uint64]struct{}),
	}
	p.tasks.Add(2)
	go func() {
		defer p.tasks.Done()
		c.fail(c.read())
	}()
	go func() {
		defer p.tasks.Done()
		if err := c.write(); err != nil {
			c.fail(err)
		}
	}()
	return c
}

// call sends a request and waits for its answer. The payload is the caller's;
// it goes back to the buffer pool of the peer.
func (c *conn) call(ctx context.Context, allowed int, want byte, request func(id uint64) wire.Message) ([]byte, error) {
	w := &call{want: want, allowed: max(allowed, minAllowance), result: make(chan result, 1)}
	id, err := c.send(w, request)
	if err != nil {
		return nil, err
	}
	select {
	case r := <-w.result:
		return r.payload, r.err
	case <-ctx.Done():
		err := context.Cause(ctx)
		c.abandon(id, w, errors.Is(err, ErrTimeout))
		return nil, err
	}
}

func (c *conn) send(w *call, request func(id uint64) wire.Message) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.lastID++
	out, err := wire.AppendFrame(c.out, request(c.lastID))
	if err != nil {
		return 0, err
	}
	c.out = out
	w.frames = c.frames[w.want]
	c.pending[c.lastID] = w
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return c.lastID, nil
}

// abandon gives a request up. Its answer may come late and is then no offence.
// A connection is dropped when the request timed out and no other of its type
// was answered meanwhile, or when it owes too many answers: it is dead, or as
// good as.
func (c *conn) abandon(id uint64, w *call, timedOut bool) {
	c.mu.Lock()
	if c.pending[id] != w {
		c.mu.Unlock()
		return // answered at the same moment, or the connection is over
	}
	delete(c.pending, id)
	c.abandoned[id] = struct{}{}
	silent := timedOut && c.frames[w.want] == w.frames
	hopeless := len(c.abandoned) > maxAbandoned
	c.mu.Unlock()
	switch {
	case hopeless:
		c.fail(&UnreachableError{c.peer.name, fmt.Errorf("%d requests unanswered", maxAbandoned)})
	case silent && !c.closing():
		c.fail(&TimeoutError{Peer: c.peer.name, After: c.peer.o.Timeout})
	}
}

func (c *conn) closing() bool { return c.peer.ctx.Err() != nil }

// fail ends the connection, if it has not ended yet.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	left := c.pending
	c.pending = nil
	c.mu.Unlock()
	close(c.done)
	c.nc.Close()
	c.peer.ended(c, err)
	// Requests that were merely under way are not to blame: for them the peer
	// is gone. The offence itself goes to the call it answered, if there is one.
	reason := err
	if protocol, ok := errors.AsType[*ProtocolError](err); ok {
		c.peer.metrics.failures.WithLabelValues(protocol.Reason).Inc()
		reason = &UnreachableError{c.peer.name, err}
	}
	for _, w := range left {
		w.result <- result{err: reason}
	}
}

// write sends what calls have queued, many of them with one system call.
func (c *conn) write() error {
	var spare []byte
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return nil
		}
		c.mu.Lock()
		out := c.out
		c.out = spare[:0]
		c.mu.Unlock()
		if len(out) > 0 {
			c.nc.SetWriteDeadline(time.Now().Add(c.peer.o.Timeout))
			if _, err := c.nc.Write(out); err != nil {
				return &UnreachableError{c.peer.name, err}
			}
		}
		spare = out
	}
}

// read reads frames until the connection is over, and returns why.
func (c *conn) read() error {
	r := bufio.NewReaderSize(c.nc, 64<<10)
	if first, err := r.Peek(3); err == nil && c.peer.tls == nil && speaksTLS(first) {
		return &UnreachableError{c.peer.name, errSpeaksTLS}
	}
	for {
		// Between frames there may be silence: the calls have deadlines.
		c.nc.SetReadDeadline(time.Time{})
		n, err := wire.ReadFrameLen(r)
		if err != nil {
			if errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrFrameTooLarge) {
				return c.offence(reasonFrame, err)
			}
			if c.peer.tls != nil { // the server judges our certificate after the handshake
				err = explain(err)
			}
			return &UnreachableError{c.peer.name, err}
		}
		if r.Buffered() < n {
			c.nc.SetReadDeadline(time.Now().Add(c.peer.o.Timeout))
		}
		if err := c.frame(r, n); err != nil {
			return c.stalled(n, err)
		}
	}
}

// frame reads the n bytes of a frame and gives them to the call they answer.
func (c *conn) frame(r *bufio.Reader, n int) error {
	if n < headSize {
		return c.offence(reasonShort, fmt.Errorf("%d bytes", n))
	}
	head, err := r.Peek(headSize)
	if err != nil {
		return &UnreachableError{c.peer.name, err}
	}
	tag, id := head[0], binary.BigEndian.Uint64(head[1:])
	if tag == wire.TagTargetPush {
		return c.pushed(r, n, id)
	}
	if s := c.subscription(); tag == wire.TagError && s != nil && s.id == id {
		return c.unsubscribed(r, n, s)
	}
	w, late := c.take(id)
	switch {
	case late:
		c.peer.metrics.late.Inc()
		return c.skip(r, n, min(tag, wire.TagError))
	case w == nil:
		if tag > wire.TagError {
			return c.offence(reasonTag, fmt.Errorf("tag %d", tag))
		}
		return c.offence(reasonID, fmt.Errorf("request id %d", id))
	case tag > wire.TagError:
		return c.blame(w, reasonTag, fmt.Errorf("tag %d", tag))
	case tag != w.want && tag != wire.TagError:
		return c.blame(w, reasonType, fmt.Errorf("tag %d, expected %d", tag, w.want))
	case n > w.allowed:
		if err := c.skip(r, n, w.want); err != nil {
			return c.leave(w, c.stalled(n, err))
		}
		w.result <- result{err: &TooLargeError{c.peer.name, n, w.allowed}}
		return nil
	}
	buf, err := readBody(r, c.peer.buffers.get(n), n)
	if err != nil {
		return c.leave(w, c.stalled(n, &UnreachableError{c.peer.name, err}))
	}
	c.peer.metrics.received.Add(float64(n))
	c.received(w.want)
	if tag == wire.TagError {
		err := c.refusal(buf)
		c.peer.buffers.put(buf)
		if _, ok := errors.AsType[*ProtocolError](err); ok {
			return c.leave(w, err)
		}
		w.result <- result{err: err}
		return nil
	}
	w.result <- result{payload: buf}
	return nil
}

// unsubscribed reads the refusal of a subscription.
func (c *conn) unsubscribed(r *bufio.Reader, n int, s *subscription) error {
	if n > minAllowance {
		return c.offence(reasonUnfit, fmt.Errorf("refusal of %d bytes", n))
	}
	buf, err := readBody(r, c.peer.buffers.get(n), n)
	if err != nil {
		return &UnreachableError{c.peer.name, err}
	}
	defer c.peer.buffers.put(buf)
	c.peer.metrics.received.Add(float64(n))
	err = c.refusal(buf)
	if _, ok := errors.AsType[*ProtocolError](err); ok {
		return err
	}
	s.refuse(err)
	return nil
}

// take removes the call a frame answers; late says that it was given up before.
func (c *conn) take(id uint64) (w *call, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w = c.pending[id]; w != nil {
		delete(c.pending, id)
		return w, false
	}
	if _, late = c.abandoned[id]; late {
		delete(c.abandoned, id)
	}
	return nil, late
}

func (c *conn) received(tag byte) {
	c.mu.Lock()
	c.frames[tag]++
	c.mu.Unlock()
}

func (c *conn) skip(r *bufio.Reader, n int, tag byte) error {
	if _, err := r.Discard(n); err != nil {
		return &UnreachableError{c.peer.name, err}
	}
	c.peer.metrics.received.Add(float64(n))
	c.received(tag)
	return nil
}

// refusal turns an error reply into a *RefusedError.
func (c *conn) refusal(payload []byte) error {
	m, err := wire.Decode(payload, c.peer.o.Codec)
	if err != nil {
		return &ProtocolError{c.peer.name, reasonUndecodable, err}
	}
	reply, ok := m.(*wire.Error)
	if !ok {
		return &ProtocolError{c.peer.name, reasonType, nil}
	}
	text := reply.Text
	if len(text) > maxText {
		text = text[:maxText]
	}
	return &RefusedError{c.peer.name, reply.Code, strings.Clone(text)}
}

func (c *conn) offence(reason string, err error) error {
	return &ProtocolError{c.peer.name, reason, err}
}

// blame ends the connection for a frame whose request is known: that call gets
// the error itself, the others only lose their connection. It ends before the
// call returns, so that a caller who asks again gets a new one.
func (c *conn) blame(w *call, reason string, err error) error {
	e := c.offence(reason, err)
	c.fail(e)
	w.result <- result{err: e}
	return e
}

// stalled turns the end of the read deadline into a *TimeoutError: a frame
// that does not arrive is slowness, which is told apart from lies.
func (c *conn) stalled(n int, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &TimeoutError{Peer: c.peer.name, After: c.peer.o.Timeout, Frame: n}
	}
	return err
}

// leave fails a call the reader has already taken, with the connection.
func (c *conn) leave(w *call, err error) error {
	c.fail(err)
	w.result <- result{err: err}
	return err
}
