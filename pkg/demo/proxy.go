package demo

import (
	"bufio"
	"io"
	"net"
	"sync"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// proxy stands between a replica and the server. It passes everything on until
// it is armed; then it flips one bit of a value in the next answer that has one.
type proxy struct {
	target   string
	codec    operation.Codec
	listener net.Listener
	tasks    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	armed  bool
	lies   int
}

func newProxy(target string, codec operation.Codec) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{target: target, codec: codec, listener: l, conns: map[net.Conn]struct{}{}}
	p.tasks.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) arm() {
	p.mu.Lock()
	p.armed = true
	p.mu.Unlock()
}

// tampered is how many answers were changed.
func (p *proxy) tampered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lies
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		end := func() { p.drop(client, server) }
		p.tasks.Go(func() { defer end(); _, _ = io.Copy(server, client) })
		p.tasks.Go(func() { defer end(); p.answers(client, server) })
	}
}

// keep registers connections so that close can end them; it is false, and they
// are closed, when that has happened already.
func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			c.Close()
		} else {
			p.conns[c] = struct{}{}
		}
	}
	return !p.closed
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.conns, c)
	}
}

// answers passes frames from the server to the client.
func (p *proxy) answers(client io.Writer, server io.Reader) {
	r := bufio.NewReader(server)
	var payload, frame []byte
	for {
		var err error
		if payload, err = wire.ReadFrame(r, payload, wire.MaxFrame); err != nil {
			return
		}
		p.lie(payload)
		frame = operation.AppendUvarint(frame[:0], uint64(len(payload)))
		if _, err := client.Write(append(frame, payload...)); err != nil {
			return
		}
	}
}

// lie changes the payload if the proxy is armed and the payload has a value to change.
func (p *proxy) lie(payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed {
		return
	}
	message, err := wire.Decode(payload, p.codec)
	answer, ok := message.(*wire.Operations)
	if err != nil || !ok {
		return
	}
	for i := range answer.Run.Len() {
		op, err := p.codec.Decode(answer.Run.At(i))
		if err == nil && op.Kind == operation.Update && len(op.Value) > 0 {
			op.Value[len(op.Value)/2] ^= 1 // aliases the payload
			p.armed = false
			p.lies++
			return
		}
	}
}

func (p *proxy) close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close() // ends the tasks that wait for it
	}
	p.mu.Unlock()
	p.tasks.Wait()
	return err
}
