package serve

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// chunks writes to a connection by turns: copying what is large into the kernel
// is as much work as building it. Without turns, hundreds of connections that
// can be written to would all run, and others behind them; a worker stands still
// while a chunk is written in its turn.
//
// The turn is for the copying alone, and ends when the kernel takes no more. So
// that can only be done where writing can be tried: on TCP connections. TLS gives
// the kernel a record at a time, which is too little to take turns about.
type chunks struct {
	session *session
	raw     syscall.RawConn // nil: writing cannot be tried
	turn    turn
	granted chan struct{}
	done    chan struct{}
}

func newChunks(c *session) chunks {
	w := chunks{session: c, turn: newTurn(), granted: make(chan struct{}), done: make(chan struct{}, 1)}
	if tcp, ok := c.raw.(*net.TCPConn); ok && canTry {
		if raw, err := tcp.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	return w
}

// let is what a worker does in the turn.
func (w *chunks) let() {
	select {
	case w.granted <- struct{}{}:
		<-w.done
	case <-w.session.end.Done():
	}
}

// write is b.WriteTo the connection: it takes what was written off b, and ends
// with its deadline.
func (w *chunks) write(b *net.Buffers) (written int64, err error) {
	size := 0
	for _, part := range *b {
		size += len(part)
	}
	if w.raw == nil || size < heavy {
		return b.WriteTo(w.session.raw)
	}
	for len(*b) > 0 && err == nil {
		var n int
		failed := w.raw.Write(func(fd uintptr) bool {
			if n, err = w.try(fd, *b, size); errors.Is(err, syscall.EAGAIN) {
				err = nil
				return n > 0
			}
			return true
		})
		if err == nil {
			err = failed
		}
		written += int64(n)
		size -= n
		consume(b, n)
	}
	return written, err
}

// try writes as much as the kernel takes, when it is the connection's turn.
func (w *chunks) try(fd uintptr, b net.Buffers, size int) (int, error) {
	c := w.session
	if !c.srv.turns.put(&w.turn, job{session: c, chunk: true, reserved: int64(size)}) {
		return 0, context.Cause(c.end)
	}
	select {
	case <-w.granted:
	case <-c.end.Done():
		return 0, context.Cause(c.end)
	}
	n, err := tryWrite(fd, b)
	w.done <- struct{}{}
	return max(n, 0), err
}

// consume takes the first n bytes off b.
func consume(b *net.Buffers, n int) {
	for len(*b) > 0 && n >= len((*b)[0]) {
		n -= len((*b)[0])
		(*b)[0] = nil
		*b = (*b)[1:]
	}
	if n > 0 {
		(*b)[0] = (*b)[0][n:]
	}
}
