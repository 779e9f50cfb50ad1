// Package deadline makes deadlines cheap that are set for every request and hardly
// ever met. net/http sets eight of them for one, and each makes the runtime take
// locks and move a timer, though nearly all are replaced within microseconds.
//
// A Conn notes what deadline is wanted and passes on only what would otherwise be
// met too late. A connection may then wake up too early: it is told what is wanted
// by now, and goes on.
//
//	SetReadDeadline ─► wanted ──(earlier than what is set, or nothing is)──► connection
//	Read ◄── connection wakes up ──(not wanted yet)──► what is wanted is set, once more
//
// It is not for connections whose deadlines are the rule, as with those who poll.
package deadline

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Conn is a connection with such deadlines. They are met as those of the
// connection itself; what setting them returns says less: an error that the
// connection would have met is that of the next Read or Write.
type Conn struct {
	net.Conn
	read, write side
}

// New makes a Conn of a connection that is nobody else's from now on, and that has
// no deadlines.
func New(c net.Conn) *Conn {
	d := &Conn{Conn: c}
	d.read.set, d.write.set = c.SetReadDeadline, c.SetWriteDeadline
	return d
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if err := c.read.begin(); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		again, err := c.read.end(err)
		if !again {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (written int, err error) {
	for {
		if err := c.write.begin(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		again, err := c.write.end(err)
		if !again {
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
	}
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.read.want(t), c.write.want(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.read.want(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.write.want(t) }

// CloseWrite ends one direction, where the connection can do that: net/http asks
// for it before it closes a connection with unread data.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// side is one direction.
type side struct {
	set func(time.Time) error

	mu     sync.Mutex
	wanted time.Time // zero: none
	armed  time.Time // what the connection has; zero: none
	calls  int       // under way: want has to reach them
}

// started tells deadlines in the past without looking at the clock: those who want
// to end a call take one that was over before there was a program.
var started = time.Now()

func past(t time.Time) bool { return !t.IsZero() && t.Before(started) }

// want notes a deadline. Calls that begin later look at it by themselves.
func (s *side) want(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = t
	if s.calls > 0 && s.late() {
		return s.arm()
	}
	return nil
}

// late says whether the connection would wake up later than is wanted.
func (s *side) late() bool {
	return !s.wanted.IsZero() && (s.armed.IsZero() || s.wanted.Before(s.armed))
}

func (s *side) arm() error {
	s.armed = s.wanted
	return s.set(s.wanted)
}

// begin comes before a call, and end after it unless there was an error.
func (s *side) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if past(s.wanted) {
		return os.ErrDeadlineExceeded
	}
	if s.late() || past(s.armed) {
		if err := s.arm(); err != nil {
			return err
		}
	}
	s.calls++
	return nil
}

// end says whether the call is to be made again: the connection woke up for a
// deadline that is no longer wanted. Otherwise err is the call's, or why it cannot be.
func (s *side) end(err error) (again bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false, err
	}
	if !s.wanted.IsZero() && !time.Now().Before(s.wanted) {
		return false, err
	}
	err = s.arm()
	return err == nil, err
}
