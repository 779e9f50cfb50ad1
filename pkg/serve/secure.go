package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// handshakeTime bounds a TLS handshake. Until it is over a connection is idle:
// its place is the first that a newcomer can have.
const handshakeTime = 10 * time.Second

// refusalTime is how long a connection is kept open after its handshake has
// failed, so that the peer gets to read why.
const refusalTime = time.Second

// sealed is the connection below TLS. What a session sends goes out at the pace
// of the session: a time-out that reached TLS would end it, since half a record
// would have been sent.
type sealed struct {
	net.Conn
	session *session
}

// Write implements io.Writer for TLS, which never calls it twice at a time.
func (s sealed) Write(b []byte) (int, error) {
	if !s.session.sending.Load() { // TLS itself: handshake, alerts, new keys
		s.Conn.SetWriteDeadline(time.Now().Add(handshakeTime))
		n, err := s.Conn.Write(b)
		s.session.srv.opts.Metrics.sent.Add(float64(n))
		return n, err
	}
	err := s.session.writeOut(net.Buffers{b})
	if err != nil {
		return 0, err // nobody goes on after that
	}
	return len(b), nil
}

// secure does the handshake, if the server speaks TLS.
func (c *session) secure() error {
	if c.tls == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.end, handshakeTime)
	defer cancel()
	err := c.tls.HandshakeContext(ctx)
	if err != nil {
		if cause := context.Cause(c.end); cause != nil { // cut off
			return cause
		}
		if c.frames.isDraining() {
			return &endError{byShutdown, err}
		}
		if c.srv.opts.Refused != nil {
			c.srv.opts.Refused(c.conn.RemoteAddr(), err)
		}
		var word []byte
		if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && record.Conn != nil {
			word = notTLS
		}
		c.turnAway(word)
		return &endError{byHandshake, err}
	}
	if c.srv.opts.Identify != nil {
		state := c.tls.ConnectionState()
		if id := c.srv.opts.Identify(&state); id != "" {
			c.identity = id
			c.log = c.log.With("identity", id)
		}
	}
	return nil
}

// notTLS is an alert of TLS: "protocol version". To whoever speaks without TLS
// it is the beginning of a frame that no server sends, and so a sign.
var notTLS = []byte{0x15, 3, 3, 0, 2, 2, 70}

// plainPort is what a server without TLS says to a client with it: bytes that
// cannot be taken for TLS, so that the client knows at once.
var plainPort, _ = wire.AppendFrame(nil, &wire.Error{Code: wire.InvalidRequest, Text: "this port does not speak TLS"})

// errTLS is the beginning of a TLS handshake where frames were expected.
var errTLS = errors.New("the client speaks TLS, and this port does not (--tls-cert-file, --tls-key-file)")

// startsTLS says whether a stream begins a TLS handshake. As a frame that would
// be a target of 22 bytes, which is no request and too short for a target.
func startsTLS(b []byte) bool { return len(b) >= 3 && b[0] == 0x16 && b[1] == 3 && b[2] <= 4 }

// turnAway says a last word, if there is one, and lets the peer read it and what
// TLS has said: closing with bytes unread would reset the connection, and all of that
// would be lost.
func (c *session) turnAway(word []byte) {
	if len(word) > 0 {
		c.raw.SetWriteDeadline(time.Now().Add(refusalTime))
		if _, err := c.raw.Write(word); err != nil {
			return
		}
	}
	closer, ok := c.raw.(interface{ CloseWrite() error })
	if !ok || closer.CloseWrite() != nil {
		return
	}
	c.raw.SetReadDeadline(time.Now().Add(refusalTime))
	_, _ = io.Copy(io.Discard, c.raw) // it ends with the deadline or the peer
}
