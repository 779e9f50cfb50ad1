// Package sourcetest is a scripted server for tests of what a client does with
// its answers: honest, wrong, late, oversized or missing ones. It speaks frames
// over real TCP connections and decides nothing by itself.
package sourcetest

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Handler answers one request, by what it sends, or does not. Requests of one
// connection come one after the other.
type Handler func(c *Conn, m wire.Message)

// Conn is one accepted connection.
type Conn struct {
	net.Conn
	N int // connections before this one

	mu sync.Mutex
}

// Send sends a message in its frame. Errors are the peer's business.
func (c *Conn) Send(m wire.Message) {
	frame, err := wire.AppendFrame(nil, m)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = c.Write(frame) // a client may be gone: that is what some tests are about
	}
}

// Server is a scripted server.
type Server struct {
	Addr string
	// Connections and Data count accepted connections and requests for operations.
	Connections, Data atomic.Int64

	mu      sync.Mutex
	handler Handler
	open    map[net.Conn]bool
	tasks   sync.WaitGroup
}

// Start starts a server on a free port; it ends, with all its connections, at
// the end of the test.
func Start(t testing.TB, h Handler) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), handler: h, open: make(map[net.Conn]bool)}
	s.tasks.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			n := int(s.Connections.Add(1)) - 1
			s.mu.Lock()
			s.open[nc] = true
			s.mu.Unlock()
			s.tasks.Go(func() { s.serve(&Conn{Conn: nc, N: n}) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.Reset()
		s.tasks.Wait()
	})
	return s
}

// Handle replaces the handler for requests to come.
func (s *Server) Handle(h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

// Go runs a part of a handler beside the requests that follow; it is joined at
// the end of the test.
func (s *Server) Go(fn func()) { s.tasks.Go(fn) }

// Reset closes every connection.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.open {
		nc.Close()
	}
}

func (s *Server) serve(c *Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		payload, err := wire.ReadFrame(r, nil, wire.MaxFrame)
		if err != nil {
			return
		}
		m, err := wire.Decode(payload, operation.NewCodec(operation.Any, operation.Fixed))
		if err != nil {
			return
		}
		if m.Tag() == wire.TagGetOperations {
			s.Data.Add(1)
		}
		s.mu.Lock()
		h := s.handler
		s.mu.Unlock()
		h(c, m)
	}
}

// Honest answers every request of the published protocol from what the database
// has published. It is a server that knows no subscriptions: it drops them.
func Honest(db *database.DB) Handler {
	return func(c *Conn, m wire.Message) {
		if !wire.Extension(m.Tag()) {
			c.Send(Answer(db, m))
		}
	}
}

// Answer is the honest answer to a request.
func Answer(db *database.DB, m wire.Message) wire.Message {
	refuse := func(err error) wire.Message {
		return &wire.Error{ID: m.RequestID(), Code: wire.Database, Text: err.Error()}
	}
	v, err := db.View()
	if err != nil {
		return refuse(err)
	}
	defer v.Close()
	switch m := m.(type) {
	case *wire.GetTarget:
		return &wire.TargetReply{ID: m.ID, Target: Target(v)}
	case *wire.GetOperations:
		a, err := operations(v, m)
		if err != nil {
			return refuse(err)
		}
		return a
	}
	return refuse(errors.New("not a request"))
}

// Target is the target of a view.
func Target(v *database.View) wire.Target {
	return wire.Target{Root: v.Root(), Start: max(v.Floor(), v.Start()), End: v.Size()}
}

func operations(v *database.View, m *wire.GetOperations) (*wire.Operations, error) {
	if m.Start >= m.Size {
		return nil, errors.New("start is not below the size")
	}
	end := m.Size
	if most := min(m.Max, 1000); end-m.Start > most {
		end = m.Start + most
	}
	ops, n, err := v.AppendOperations(nil, m.Start, end, wire.MaxFrame/2)
	if err != nil {
		return nil, err
	}
	a := &wire.Operations{ID: m.ID, HasPins: m.Pins}
	if a.Run, err = v.Codec().NewRun(ops); err != nil {
		return nil, err
	}
	if a.Proof, err = v.Prove(m.Size, m.Start, m.Start+uint64(n)); err != nil {
		return nil, err
	}
	if m.Pins {
		a.Pins, err = v.Pins(m.Start)
	}
	return a, err
}
