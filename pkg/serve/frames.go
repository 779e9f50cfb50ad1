package serve

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// errOversized is a frame that was skipped because no request is that long.
// The stream goes on after it.
var errOversized = errors.New("frame longer than any request")

// frameReader takes the frames of one connection apart. A frame lies in the
// read buffer, so a length that is only declared costs no memory.
//
// One goroutine reads; drain may be called from any.
type frameReader struct {
	conn    net.Conn
	br      *bufio.Reader
	opts    *Options
	active  func() time.Time // when the peer last had something in work, up to now
	inFrame bool
	length  int       // of the frame
	started time.Time // of the frame, once reading it had to wait

	mu       sync.Mutex // guards what follows, and the read deadline of conn
	draining bool
}

func newFrameReader(conn net.Conn, opts *Options, active func() time.Time) *frameReader {
	r := &frameReader{conn: conn, opts: opts, active: active}
	r.br = bufio.NewReaderSize(r, opts.MaxRequestBytes)
	return r
}

// next returns the message of the next frame; it is valid until the call
// after. The errors: errOversized, and whatever ends the stream as *endError
// or an error of the connection. io.EOF is the end between two frames.
func (r *frameReader) next() ([]byte, error) {
	r.inFrame = false
	first, err := r.br.Peek(1)
	if err != nil {
		return nil, err
	}
	r.inFrame, r.started = true, time.Time{}
	if first[0] == 0x16 { // three bytes of a frame of 22 are there, or come
		if first, err = r.br.Peek(3); err == nil && startsTLS(first) {
			return nil, &endError{byTLS, errTLS}
		}
	}
	n, err := wire.ReadFrameLen(r.br)
	if err != nil {
		if errors.Is(err, wire.ErrFrame) {
			err = &endError{byLengthPrefix, err}
		}
		return nil, err
	}
	r.length = n
	if n > r.br.Size() {
		if _, err := r.br.Discard(n); err != nil {
			return nil, err
		}
		return nil, errOversized
	}
	payload, err := r.br.Peek(n)
	if err != nil {
		return nil, err
	}
	_, err = r.br.Discard(n) // the bytes stay where they are until the next fill
	return payload, err
}

// whole tells whether a whole frame lies in the read buffer: next will not wait.
func (r *frameReader) whole() bool {
	b, _ := r.br.Peek(r.br.Buffered()) // which is there
	n, head := binary.Uvarint(b)
	return head > 0 && n <= uint64(len(b)-head)
}

// Read fills the read buffer; only bufio calls it, when the buffer has run
// dry. So deadlines are set when something has to be waited for, not for each
// frame of a pipeline.
func (r *frameReader) Read(p []byte) (int, error) {
	for {
		if err := r.setDeadline(); err != nil {
			return 0, err
		}
		n, err := r.conn.Read(p)
		r.opts.Metrics.received.Add(float64(n))
		switch {
		case err == nil || n > 0 || !isTimeout(err):
			return n, err
		case r.isDraining():
			return 0, &endError{byShutdown, nil}
		case r.inFrame:
			return 0, &endError{byReadTimeout, err}
		}
		if time.Since(r.active()) >= r.opts.IdleTimeout {
			return 0, &endError{byIdleTimeout, err}
		}
	}
}

// setDeadline bounds a frame from its first wait on, and the time between
// frames from the last request on, whatever else has come since.
func (r *frameReader) setDeadline() error {
	var from time.Time
	var timeout time.Duration
	if r.inFrame {
		if r.started.IsZero() {
			r.started = time.Now()
		}
		from, timeout = r.started, r.opts.ReadTimeout
	} else {
		from, timeout = r.active(), r.opts.IdleTimeout
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return &endError{byShutdown, nil}
	}
	if timeout == 0 {
		return r.conn.SetReadDeadline(time.Time{})
	}
	return r.conn.SetReadDeadline(from.Add(timeout))
}

// drain lets frames that lie complete in the buffer through, and nothing more.
func (r *frameReader) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.conn.SetReadDeadline(time.Unix(1, 0)) // wakes a Read that waits
}

func (r *frameReader) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// lingerTime bounds how long a closing connection listens on.
const lingerTime = 3 * time.Second

// linger reads what is still on its way until the peer closes too. Closing
// with bytes unread would make the kernel reset the connection, and the peer
// might lose replies it has not read yet.
func (r *frameReader) linger() {
	closer, ok := r.conn.(interface{ CloseWrite() error })
	if !ok || closer.CloseWrite() != nil {
		return
	}
	r.conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, r.conn) // it ends with the deadline or the peer
}
