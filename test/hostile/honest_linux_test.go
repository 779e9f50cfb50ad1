package hostile

import (
	"bufio"
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// honest is a client that asks for what a sync needs and checks every answer.
type honest struct {
	t      *testing.T
	server *server
	conn   net.Conn
	br     *bufio.Reader
	target wire.Target
	next   uint64 // location
}

func connect(t *testing.T, s *server) *honest {
	t.Helper()
	h := &honest{t: t, server: s}
	h.dial()
	t.Cleanup(func() { h.conn.Close() })
	reply, ok := h.ask(&wire.GetTarget{ID: 1}).(*wire.TargetReply)
	if !ok {
		t.Fatal("no target came back")
	}
	h.target, h.next = reply.Target, reply.Target.Start
	return h
}

func (h *honest) dial() {
	h.t.Helper()
	c, err := net.DialTimeout("tcp", h.server.addr, patience)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.server.tls != nil {
		c = tls.Client(c, h.server.tls) // shakes hands with the first request
	}
	h.conn, h.br = c, bufio.NewReaderSize(c, 64<<10)
}

// reconnect is what a new client does.
func (h *honest) reconnect() {
	h.t.Helper()
	h.conn.Close()
	h.dial()
}

func (h *honest) ask(m wire.Message) wire.Message {
	h.t.Helper()
	_ = h.conn.SetDeadline(time.Now().Add(patience))
	if _, err := h.conn.Write(frame(m)); err != nil {
		h.t.Fatal(err)
	}
	payload, err := wire.ReadFrame(h.br, nil, wire.MaxFrame)
	if err != nil {
		h.t.Fatal(err)
	}
	reply, err := wire.Decode(payload, codec)
	if err != nil {
		h.t.Fatal(err)
	}
	return reply
}

// step fetches the next 50 operations, and returns how long the answer took.
func (h *honest) step() time.Duration {
	h.t.Helper()
	req := wire.GetOperations{ID: 2, Size: h.target.End, Start: h.next, Max: 50}
	began := time.Now()
	reply := h.ask(&req)
	took := time.Since(began)
	got, ok := reply.(*wire.Operations)
	if !ok {
		h.t.Fatalf("%+v answered by %+v", req, reply)
	}
	if err := got.Answers(req); err != nil {
		h.t.Fatal(err)
	}
	if err := got.Proof.Verify(mmr.HashSpan(req.Start, got.Run), h.target.Root); err != nil {
		h.t.Fatal(err)
	}
	if h.next += uint64(got.Run.Len()); h.next >= h.target.End {
		h.next = h.target.Start
	}
	return took
}

// steps takes steps for a while, and returns their times, sorted.
func (h *honest) steps(d time.Duration) []time.Duration {
	h.t.Helper()
	var all []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		all = append(all, h.step())
	}
	slices.Sort(all)
	return all
}

// quantile is the q-th part of sorted times.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
