package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/wire"
)

// Follower is a Source that can be told of targets as they are published.
type Follower interface {
	Source
	// Follow calls fn with the targets that the source pushes, until ctx ends or
	// the source is closed. It keeps a connection for that, and asks again
	// whenever there is a new one. A source that does not know how to push is
	// left alone: fn is never called, and it has to be polled, as it may be in
	// any case.
	//
	// Nothing about a target is verified. fn must not block: a target that
	// comes meanwhile takes the place of the one that was not looked at yet.
	// There is one Follow at a time.
	Follow(ctx context.Context, fn func(Target))
	// Following says whether a source pushes its targets now.
	Following() bool
}

// mostPushes is how many pushes a second a connection is kept for: many times
// what an honest server sends. A reader that stood still for long may find as
// many, so that it is no offence; a new connection begins with the newest.
const mostPushes = 10_000

// A subscription is what a peer was asked to push for.
type subscription struct {
	id      uint64
	refused chan error // has room for one

	mu    sync.Mutex
	fn    func(Target)  // nil: nobody listens any more
	begun chan struct{} // closed with the first push
	alive bool          // it has begun, and somebody listens

	// Of the reader: how many came since when.
	since time.Time
	count int
}

// subscribe asks for targets to be pushed. All subscriptions of a connection
// have one id, so that what is on its way is never one that nobody knows.
func (c *conn) subscribe(fn func(Target)) (*subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	s := &subscription{refused: make(chan error, 1), fn: fn, begun: make(chan struct{})}
	if c.sub != nil {
		s.id = c.sub.id
	} else {
		c.lastID++
		s.id = c.lastID
	}
	out, err := wire.AppendFrame(c.out, &wire.Subscribe{ID: s.id})
	if err != nil {
		return nil, err
	}
	c.out, c.sub = out, s
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return s, nil
}

// end makes pushes go unheard; none is being delivered when it returns.
func (s *subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fn, s.alive = nil, false
}

// refuse ends the subscription from the other side. It may be asked for again.
func (s *subscription) refuse(err error) {
	s.end()
	select {
	case s.refused <- err:
	default:
	}
}

// following says whether targets are being pushed over the connection.
func (c *conn) following() bool {
	s := c.subscription()
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alive
}

func (c *conn) subscription() *subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sub
}

// pushed reads a push of n bytes and passes its target on.
func (c *conn) pushed(r *bufio.Reader, n int, id uint64) error {
	s := c.subscription()
	if s == nil || s.id != id {
		return c.offence(reasonPush, fmt.Errorf("request id %d", id))
	}
	if n > wire.MaxPush {
		return c.offence(reasonUndecodable, fmt.Errorf("push of %d bytes", n))
	}
	var buf [wire.MaxPush]byte
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return &UnreachableError{c.peer.name, err}
	}
	m, err := wire.Decode(buf[:n], c.peer.o.Codec)
	if err != nil {
		return c.offence(reasonUndecodable, err)
	}
	push, ok := m.(*wire.TargetPush)
	if !ok || push.Features != 0 {
		return c.offence(reasonUnfit, fmt.Errorf("features %x were not asked for", push.Features))
	}
	if now := time.Now(); now.Sub(s.since) >= time.Second {
		s.since, s.count = now, 0
	}
	if s.count++; s.count > mostPushes {
		return &UnreachableError{c.peer.name, errFlood}
	}
	c.peer.metrics.received.Add(float64(n))
	c.peer.metrics.pushes.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fn != nil {
		if !s.alive {
			s.alive = true
			close(s.begun)
		}
		s.fn(Target{Target: push.Target, Peer: c.peer.name})
	}
	return nil
}

var errFlood = errors.New("more targets pushed than could be of use")

// Follow implements Follower: the connection is kept even while there is
// nothing to ask.
func (p *Peer) Follow(ctx context.Context, fn func(Target)) {
	for refusals := 0; ; {
		c, err := p.connect(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, ErrClosed):
			return
		case err != nil:
			continue // connect waits before it tries again
		}
		if err := p.followOver(ctx, c, fn); err == nil {
			refusals = 0
		} else {
			refusals++
		}
		if sleep.For(ctx, Backoff(refusals)) != nil {
			return
		}
	}
}

// followOver subscribes over one connection and returns when it is over, or
// with the error of a peer that refuses. A peer that says nothing does not know
// what was asked: its connection goes on, and is not asked again.
func (p *Peer) followOver(ctx context.Context, c *conn, fn func(Target)) error {
	s, err := c.subscribe(fn)
	if err != nil {
		return nil // it is over already
	}
	defer p.metrics.following.Set(0)
	defer s.end()
	patience := time.NewTimer(p.o.Timeout)
	defer patience.Stop()
	begun := s.begun
	for {
		select {
		case <-begun:
			begun = nil
			patience.Stop()
			p.metrics.following.Set(1)
			p.answered()
			p.says(pushes)
		case <-patience.C:
			p.says(doesNotPush)
		case err := <-s.refused:
			p.o.Logger.Debug("peer refused to push new targets", "peer", p.name, "error", err)
			return err
		case <-c.done:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// pushing is what is known of a peer.
type pushing uint8

const (
	mayPush pushing = iota
	pushes
	doesNotPush
)

// says notes how a peer is followed, and logs it when that is new.
func (p *Peer) says(now pushing) {
	p.mu.Lock()
	before := p.pushing
	p.pushing = now
	p.mu.Unlock()
	switch {
	case now == before:
	case now == pushes:
		p.o.Logger.Info("following: the peer pushes new targets", "peer", p.name)
	default:
		p.o.Logger.Info("the peer does not push new targets, it is polled", "peer", p.name)
	}
}

// Following implements Follower.
func (p *Peer) Following() bool {
	p.mu.Lock()
	c := p.conn
	p.mu.Unlock()
	return c != nil && c.following()
}

// mailbox holds the newest target that was not looked at.
type mailbox struct {
	news chan struct{} // a token: there is one

	mu     sync.Mutex
	target Target
	full   bool
}

func newMailbox() *mailbox { return &mailbox{news: make(chan struct{}, 1)} }

func (b *mailbox) put(t Target) {
	b.mu.Lock()
	b.target, b.full = t, true
	b.mu.Unlock()
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *mailbox) take() (t Target, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok, b.full = b.target, b.full, false
	return t, ok
}

// Follow implements Follower for all members that do, those added later as well.
// What a member in cool-down pushes is not listened to before that is over, and
// then to the newest of it.
func (p *Pool) Follow(ctx context.Context, fn func(Target)) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	var one sync.Mutex // fn is called by one at a time
	listening := make(map[*member]bool)
	for {
		p.mu.Lock()
		members, changed := p.members, p.changed
		p.mu.Unlock()
		for _, m := range members {
			if f, ok := m.source.(Follower); ok && !listening[m] {
				listening[m] = true
				tasks.Go(func() {
					p.listen(ctx, m, f, func(t Target) {
						one.Lock()
						defer one.Unlock()
						fn(t)
					})
				})
			}
		}
		maps.DeleteFunc(listening, func(m *member, _ bool) bool { return m.ctx.Err() != nil })
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// listen follows one member until ctx ends or the member leaves.
func (p *Pool) listen(ctx context.Context, m *member, f Follower, fn func(Target)) {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(m.ctx, cancel)()
	box := newMailbox()
	var task sync.WaitGroup
	task.Go(func() {
		defer cancel()
		f.Follow(ctx, box.put)
	})
	defer task.Wait()
	defer cancel()
	for {
		select {
		case <-box.news:
		case <-ctx.Done():
			return
		}
		for wait := p.coolDownOf(m); wait > 0; wait = p.coolDownOf(m) {
			if sleep.For(ctx, wait) != nil {
				return
			}
		}
		if t, ok := box.take(); ok {
			fn(t)
		}
	}
}

// Following implements Follower: one member that pushes will do.
func (p *Pool) Following() bool {
	for _, m := range p.all() {
		if f, ok := m.source.(Follower); ok && f.Following() {
			return true
		}
	}
	return false
}
