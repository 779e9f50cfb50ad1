package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// loadDepth is how many requests each connection has under way. Replicas have
	// more; this is enough to keep a server busy, and short enough for a latency
	// that means something.
	loadDepth = 8
	// loadPatience bounds the silence of a server.
	loadPatience = 30 * time.Second
)

// load is a child that asks a server for as much as it can give, and looks at
// nothing but the frames of the answers.
type load struct {
	job   job
	conns []*loadConn
}

func newLoad(_ context.Context, j job) (worker, answer, error) { return &load{job: j}, answer{}, nil }

func (l *load) close() error {
	for _, c := range l.conns {
		c.conn.Close()
	}
	return nil
}

// do sends Count requests over Tasks connections, for the log of Size operations
// under Root; each connection reads on from a place of its own, as replicas do.
// One answer more is verified, so that the figures are not of rubbish.
func (l *load) do(ctx context.Context, s step) (a answer, err error) {
	if err := l.dial(ctx, s); err != nil {
		return a, err
	}
	each := max(loadDepth, s.Count/s.Tasks)
	stop := context.AfterFunc(ctx, func() { _ = l.close() })
	defer stop()
	errs := make([]error, len(l.conns))
	var running sync.WaitGroup
	watch := startWatch()
	for i, c := range l.conns {
		running.Go(func() { errs[i] = c.run(each) })
	}
	running.Wait()
	watch.stop(&a)
	if err := errors.Join(errs...); err != nil {
		return a, err
	}
	times := make([]float64, 0, each*len(l.conns))
	for _, c := range l.conns {
		times = append(times, c.times...)
	}
	a.Operations = uint64(each*len(l.conns)) * min(proveBatch, s.Size-s.First)
	a.P50, a.P99 = quantile(times, 0.50), quantile(times, 0.99)
	return a, l.verify(s)
}

func (l *load) dial(ctx context.Context, s step) error {
	for len(l.conns) < s.Tasks {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.job.Addr)
		if err != nil {
			return err
		}
		n := s.Size - s.First
		length := min(proveBatch, n)
		l.conns = append(l.conns, &loadConn{
			conn: conn, r: bufio.NewReaderSize(conn, 64<<10), size: s.Size, first: s.First, length: length,
			// The parts begin at their places, all over the log.
			at: s.First + min(n-length, uint64(len(l.conns))*(n/uint64(s.Tasks))),
			// No answer with so many operations is shorter.
			least: int(length) * max(l.job.codec.Size(), l.job.ValueBytes),
		})
	}
	return nil
}

// verify asks once more, and checks the answer against the root.
func (l *load) verify(s step) error {
	c := l.conns[0]
	if err := c.send(1); err != nil {
		return err
	}
	frame, err := wire.ReadFrame(c.r, nil, wire.MaxFrame)
	if err != nil {
		return err
	}
	message, err := wire.Decode(frame, l.job.codec)
	if err != nil {
		return err
	}
	answer, ok := message.(*wire.Operations)
	if !ok {
		return fmt.Errorf("answer with tag %d: operations expected", message.Tag())
	}
	asked := wire.GetOperations{ID: c.id, Size: c.size, Start: c.at - c.length, Max: c.length}
	if err := answer.Answers(asked); err != nil {
		return err
	}
	return answer.Proof.Verify(mmr.HashSpan(asked.Start, answer.Run), s.Root)
}

// loadConn is one connection of a load. Answers may come in any order, so every
// request has a slot, which is the rest of its id by loadDepth.
type loadConn struct {
	conn        net.Conn
	r           *bufio.Reader
	size, first uint64 // of the log
	length      uint64 // operations in a request
	at          uint64 // where the next request begins
	least       int    // bytes of an answer

	asked uint64 // so far
	id    uint64 // of the last request
	slots [loadDepth]struct {
		id   uint64
		sent time.Time
	}
	free  []uint64
	buf   []byte
	times []float64
}

// run asks count times, at least loadDepth, and returns when all answers are there.
func (c *loadConn) run(count int) error {
	c.times, c.free = make([]float64, 0, count), c.free[:0]
	for slot := range uint64(loadDepth) {
		c.free = append(c.free, slot)
	}
	for asked := 0; len(c.times) < count; {
		n := min(len(c.free), count-asked)
		if err := c.send(n); err != nil {
			return err
		}
		asked += n
		for first := true; len(c.times) < asked && (first || c.whole()); first = false {
			if err := c.receive(); err != nil {
				return err
			}
		}
	}
	return nil
}

// send writes requests for the next n ranges in one go.
func (c *loadConn) send(n int) (err error) {
	now := time.Now()
	c.conn.SetDeadline(now.Add(loadPatience))
	if n == 0 {
		return nil
	}
	c.buf = c.buf[:0]
	for _, slot := range c.free[len(c.free)-n:] {
		if c.at+c.length > c.size {
			c.at = c.first
		}
		c.asked++
		c.id = c.asked*loadDepth + slot
		c.slots[slot].id, c.slots[slot].sent = c.id, now
		if c.buf, err = wire.AppendFrame(c.buf, &wire.GetOperations{ID: c.id, Size: c.size, Start: c.at, Max: c.length}); err != nil {
			return err
		}
		c.at += c.length
	}
	c.free = c.free[:len(c.free)-n]
	_, err = c.conn.Write(c.buf)
	return err
}

// whole says whether a whole frame has arrived.
func (c *loadConn) whole() bool {
	b, err := c.r.Peek(c.r.Buffered())
	n, head := binary.Uvarint(b)
	return err == nil && head > 0 && uint64(len(b)-head) >= n
}

// receive reads one frame, which has to be an answer to a request under way.
func (c *loadConn) receive() error {
	n, err := wire.ReadFrameLen(c.r)
	if err != nil {
		return err
	}
	head, err := c.r.Peek(min(n, 9)) // tag and id
	if err != nil {
		return err
	}
	tag, id, ok := wire.Peek(head)
	slot := &c.slots[id%loadDepth]
	switch {
	case !ok || tag != wire.TagOperations:
		return fmt.Errorf("answer with tag %d of %d bytes: operations expected", tag, n)
	case slot.id != id:
		return fmt.Errorf("answer to request %d, which is not under way", id)
	case n < c.least:
		return fmt.Errorf("answer of %d bytes: at least %d expected", n, c.least)
	}
	if _, err := c.r.Discard(n); err != nil {
		return err
	}
	slot.id = 0
	c.free = append(c.free, id%loadDepth)
	c.times = append(c.times, time.Since(slot.sent).Seconds())
	return nil
}
