package serve

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// start serves db on l until the test ends, which joins the server.
func start(t testing.TB, db Database, opts Options, l net.Listener) *Server {
	t.Helper()
	s := New(db, opts)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// listen listens on a free loopback port.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pipes is a listener of in-memory connections: a write waits for the reader.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (p *pipes) dial() net.Conn {
	server, client := net.Pipe()
	p.conns <- server
	return client
}

// client speaks to a server frame by frame.
type client struct {
	t     testing.TB
	conn  net.Conn
	br    *bufio.Reader
	codec operation.Codec
}

func dial(t testing.TB, l net.Listener, codec operation.Codec) *client {
	t.Helper()
	var conn net.Conn
	if p, ok := l.(*pipes); ok {
		conn = p.dial()
	} else {
		var err error
		if conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t, conn, bufio.NewReaderSize(conn, 64<<10), codec}
}

func frames(t testing.TB, ms ...wire.Message) []byte {
	t.Helper()
	var b []byte
	for _, m := range ms {
		var err error
		if b, err = wire.AppendFrame(b, m); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (c *client) send(ms ...wire.Message) {
	c.t.Helper()
	c.write(frames(c.t, ms...))
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// receive returns the next message; its bytes are the caller's.
func (c *client) receive() wire.Message {
	c.t.Helper()
	m, err := c.tryReceive()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return m
}

func (c *client) tryReceive() (wire.Message, error) {
	payload, err := wire.ReadFrame(c.br, nil, wire.MaxFrame)
	if err != nil {
		return nil, err
	}
	return wire.Decode(payload, c.codec)
}

// ask sends one request and returns its reply.
func (c *client) ask(m wire.Message) wire.Message {
	c.t.Helper()
	c.send(m)
	reply := c.receive()
	if reply.RequestID() != m.RequestID() {
		c.t.Fatalf("reply to request %d, asked with %d", reply.RequestID(), m.RequestID())
	}
	return reply
}

// target asks for the current target.
func (c *client) target() wire.Target {
	c.t.Helper()
	reply, ok := c.ask(&wire.GetTarget{ID: 1}).(*wire.TargetReply)
	if !ok {
		c.t.Fatal("no target came back")
	}
	return reply.Target
}

// wantRefusal checks that m is refused with the code.
func (c *client) wantRefusal(m wire.Message, code wire.Code) string {
	c.t.Helper()
	reply := c.ask(m)
	refused, ok := reply.(*wire.Error)
	if !ok {
		c.t.Fatalf("%+v answered by a %T, want error %v", m, reply, code)
	}
	if refused.Code != code {
		c.t.Fatalf("%+v refused with %v (%q), want %v", m, refused.Code, refused.Text, code)
	}
	if refused.Text == "" {
		c.t.Errorf("%+v refused without a word", m)
	}
	return refused.Text
}

// wantOperations checks that reply answers req truly under root.
func wantOperations(t testing.TB, req wire.GetOperations, reply wire.Message, root mmr.Digest) *wire.Operations {
	t.Helper()
	ops, ok := reply.(*wire.Operations)
	if !ok {
		t.Fatalf("%+v answered by %+v", req, reply)
	}
	if err := ops.Answers(req); err != nil {
		t.Fatalf("%+v: %v", req, err)
	}
	span := mmr.HashSpan(req.Start, ops.Run)
	err := ops.Proof.Verify(span, root)
	if req.Pins {
		err = ops.Proof.VerifyPins(span, ops.Pins, root)
	}
	if err != nil {
		t.Fatalf("%+v: %v", req, err)
	}
	return ops
}

// wantClosed checks that the server closes the connection without another byte.
func (c *client) wantClosed() {
	c.t.Helper()
	m, err := c.tryReceive()
	if err == nil {
		c.t.Fatalf("got %+v, want the connection closed", m)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection was not closed")
	}
}

// closeWrite shuts the sending side.
func (c *client) closeWrite() {
	c.t.Helper()
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// value reads a counter or gauge.
func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	if d.Gauge != nil {
		return d.Gauge.GetValue()
	}
	return d.Counter.GetValue()
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
