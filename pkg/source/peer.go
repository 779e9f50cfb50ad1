package source

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// DefaultTimeout is how long a request may take unless PeerOptions say otherwise.
const DefaultTimeout = 5 * time.Second

// PeerOptions configure a Peer. The zero value of every field but Codec is usable.
type PeerOptions struct {
	// Codec reads the operations of answers.
	Codec operation.Codec
	// Timeout bounds a request from call to answer, the dialing of a
	// connection, and a frame from its first to its last byte; 0 means
	// DefaultTimeout.
	Timeout time.Duration
	// Dial makes a connection; nil means TCP. Names are resolved anew by every
	// call.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// ServerName is the name the server has to prove, where it proves one; empty
	// means the host of the address.
	ServerName string
	// TLS returns what is put over every connection to the server of that name,
	// which one with another certificate than it accepts does not get. nil, from it
	// as well, means none.
	TLS func(serverName string) *tls.Config
	// Logger gets one line per lost or refused connection; nil discards.
	Logger *slog.Logger
	// Metrics may be shared by several peers; nil counts for nobody.
	Metrics *Metrics
}

// Peer is one server address. It keeps at most one connection, over which any
// number of requests may be under way, and reconnects when a request needs it.
type Peer struct {
	name    string      // in logs and metrics
	addr    string      // host:port, what is dialed
	tls     *tls.Config // nil: none
	o       PeerOptions
	metrics *peerMetrics
	buffers *bufferPool
	ctx     context.Context // ends dials when the peer is closed
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // dials, and the two tasks of a connection

	mu        sync.Mutex
	closed    bool
	conn      *conn // nil when there is none
	dialing   *dial // nil when none is under way
	failures  int   // connections in a row that brought no answer
	notBefore time.Time
	down      bool      // the loss of the peer has been logged
	lastError error     // since the last good answer
	pushing   pushing   // whether it pushes targets, as far as is known
	hungUpAt  time.Time // when it was last logged that we dropped the peer for its answers
}

// dial is an attempt to connect, which any number of requests wait for.
type dial struct {
	done chan struct{}
	err  error // valid once done is closed
}

// NewPeer returns the peer at addr (host:port); it connects when first asked.
// Close must be called when it is no longer needed.
func NewPeer(addr string, o PeerOptions) *Peer { return newPeer(addr, addr, o) }

// newPeer returns the peer at addr under another name.
func newPeer(name, addr string, o PeerOptions) *Peer {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Dial == nil {
		d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", address)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Peer{name: name, addr: addr, o: o, metrics: o.Metrics.peer(name), buffers: new(bufferPool), ctx: ctx, cancel: cancel}
	if o.TLS != nil {
		host := o.ServerName
		if h, _, err := net.SplitHostPort(addr); err == nil && host == "" {
			host = h
		}
		p.tls = o.TLS(host)
	}
	return p
}

// Name is the address, unless the peer is one of several that share a name.
func (p *Peer) Name() string { return p.name }

// Target asks the peer for its newest target.
func (p *Peer) Target(ctx context.Context) (Target, error) {
	p.metrics.targets.Inc()
	var t Target
	err := p.ask(ctx, minAllowance, wire.TagTargetReply, func(id uint64) wire.Message { return &wire.GetTarget{ID: id} },
		func(payload []byte) error {
			m, err := wire.Decode(payload, p.o.Codec)
			if err != nil {
				return &ProtocolError{p.name, reasonUndecodable, err}
			}
			reply, ok := m.(*wire.TargetReply)
			if !ok {
				return &ProtocolError{p.name, reasonType, nil}
			}
			t = Target{Target: reply.Target, Peer: p.name}
			return nil
		})
	return t, err
}

// Operations asks the peer for operations; see Source.
func (p *Peer) Operations(ctx context.Context, r Request) (*Answer, error) {
	p.metrics.operations.Inc()
	allowed := r.MaxFrame
	if allowed <= 0 || allowed > wire.MaxFrame {
		allowed = wire.MaxFrame
	}
	codec := p.o.Codec
	if r.Codec != nil {
		codec = *r.Codec
	}
	asked := wire.GetOperations{Size: r.Size, Start: r.Start, Max: r.Max, Pins: r.Pins}
	var a *Answer
	err := p.ask(ctx, allowed, wire.TagOperations,
		func(id uint64) wire.Message {
			asked.ID = id
			m := asked
			return &m
		},
		func(payload []byte) error {
			m, err := wire.Decode(payload, codec)
			if err != nil {
				if r.Codec != nil {
					return &DecodeError{p.name, err}
				}
				return &ProtocolError{p.name, reasonUndecodable, err}
			}
			reply, ok := m.(*wire.Operations)
			if !ok {
				return &ProtocolError{p.name, reasonType, nil}
			}
			if err := reply.Answers(asked); err != nil {
				return &ProtocolError{p.name, reasonUnfit, err}
			}
			a = &Answer{
				Proof: reply.Proof, Run: reply.Run, Pins: reply.Pins,
				Bytes: len(payload), Peer: p.name,
				release: func() { p.buffers.put(payload) },
			}
			return nil
		})
	return a, err
}

// ask sends a request and hands the payload of its answer, which it then owns,
// to read. Errors of read that are protocol errors end the connection.
func (p *Peer) ask(ctx context.Context, allowed int, want byte, request func(id uint64) wire.Message, read func(payload []byte) error) error {
	began := time.Now()
	limit, cancel := context.WithTimeoutCause(ctx, p.o.Timeout, &TimeoutError{Peer: p.name, After: p.o.Timeout})
	defer cancel()
	c, err := p.connect(limit)
	if err != nil {
		return p.failed(ctx, err)
	}
	payload, err := c.call(limit, allowed, want, request)
	if err != nil {
		return p.failed(ctx, err)
	}
	if err := read(payload); err != nil {
		if _, ok := errors.AsType[*ProtocolError](err); ok {
			c.fail(err)
		}
		return p.failed(ctx, err)
	}
	p.metrics.duration.Observe(time.Since(began).Seconds())
	p.answered()
	return nil
}

// failed counts what was not the caller's doing, and makes an ended context of
// the caller plain.
func (p *Peer) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	reason := ""
	switch Classify(err) { // offences are counted where they end the connection
	case Slow:
		reason = "unreachable"
		if errors.Is(err, ErrTimeout) {
			reason = "timeout"
		}
	case Refused:
		reason = "refused"
		if _, ok := errors.AsType[*TooLargeError](err); ok {
			reason = "too large"
		}
	}
	if reason != "" {
		p.metrics.failures.WithLabelValues(reason).Inc()
		p.mu.Lock()
		p.lastError = err
		p.mu.Unlock()
	}
	return err
}

// connect returns the connection, waiting for one to be made if need be.
func (p *Peer) connect(ctx context.Context) (*conn, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, ErrClosed
		}
		if c := p.conn; c != nil {
			p.mu.Unlock()
			return c, nil
		}
		d := p.dialing
		if d == nil {
			d = &dial{done: make(chan struct{})}
			p.dialing = d
			p.tasks.Add(1)
			go p.dial(d, time.Until(p.notBefore))
		}
		p.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// dial makes a connection after wait, and starts its two tasks.
func (p *Peer) dial(d *dial, wait time.Duration) {
	defer p.tasks.Done()
	nc, err := p.dialAfter(wait)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(d.done)
	p.dialing = nil
	switch {
	case p.closed:
		if nc != nil {
			nc.Close()
		}
		d.err = ErrClosed
	case err != nil:
		d.err = &UnreachableError{p.name, err}
		p.lost(err)
	default:
		p.metrics.connections.Inc()
		p.metrics.connected.Set(1)
		p.conn = newConn(p, nc)
	}
}

func (p *Peer) dialAfter(wait time.Duration) (net.Conn, error) {
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.ctx.Done():
			return nil, ErrClosed
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.o.Timeout)
	defer cancel()
	nc, err := p.o.Dial(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	return p.secure(ctx, nc)
}

// answered is called after every good answer: the peer is in order.
func (p *Peer) answered() {
	p.mu.Lock()
	p.failures, p.lastError = 0, nil
	back := p.down
	p.down = false
	p.mu.Unlock()
	if back {
		p.o.Logger.Info("peer is back", "peer", p.name)
	}
}

// sayAgain is how often the same trouble with the same peer is worth a line.
const sayAgain = time.Minute

// lost notes the end of a connection, or that none could be made, and sets
// when the next may be tried. It says so once until the peer answers again.
// The mutex is held.
func (p *Peer) lost(err error) {
	p.failures++
	p.lastError = err
	p.notBefore = time.Now().Add(Backoff(p.failures))
	if p.down {
		return
	}
	// We hang up on a peer that gives wrong answers, again and again if it
	// does not mend: that is worth a line a minute.
	_, wrong := errors.AsType[*ProtocolError](err)
	if wrong || errors.Is(err, errRefuted) {
		if time.Since(p.hungUpAt) < sayAgain {
			return
		}
		p.hungUpAt = time.Now()
	}
	p.down = true
	p.o.Logger.Warn("peer lost, reconnecting", "peer", p.name, "error", err)
}

// ended is called by a connection when it is over.
func (p *Peer) ended(c *conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != c {
		return
	}
	p.conn = nil
	p.metrics.connected.Set(0)
	if !p.closed {
		p.lost(err)
	}
}

// Disconnect drops the connection: what came over it was a lie. Requests under
// way fail, the next one connects anew.
func (p *Peer) Disconnect(reason error) {
	p.mu.Lock()
	c := p.conn
	p.mu.Unlock()
	if c != nil {
		c.fail(&UnreachableError{p.name, reason})
	}
}

// Close drops the connection, fails what is under way with ErrClosed and
// returns when every task of the peer has ended.
func (p *Peer) Close() error {
	p.mu.Lock()
	p.closed = true
	c := p.conn
	p.mu.Unlock()
	p.cancel()
	if c != nil {
		c.fail(ErrClosed)
	}
	p.tasks.Wait()
	return nil
}

// forget deletes what was counted of a peer that is closed.
func (p *Peer) forget() { p.o.Metrics.forget(p.name) }
