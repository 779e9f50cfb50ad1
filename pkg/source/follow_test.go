package source_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

// publisher is a scripted server that pushes what a test tells it to.
type publisher struct {
	*sourcetest.Server
	subscribed chan *subscriber
}

type subscriber struct {
	*sourcetest.Conn
	id uint64
}

func (s *subscriber) push(end uint64) { s.Send(s.frame(end)) }

func (s *subscriber) frame(end uint64) *wire.TargetPush {
	return &wire.TargetPush{ID: s.id, Target: wire.Target{End: end}}
}

// startPublisher starts one that answers each subscription with a push of size 1.
func startPublisher(t testing.TB) *publisher {
	p := &publisher{subscribed: make(chan *subscriber, 100)}
	p.Server = sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		switch m := m.(type) {
		case *wire.Subscribe:
			s := &subscriber{c, m.ID}
			s.push(1)
			p.subscribed <- s
		case *wire.GetTarget:
			c.Send(&wire.TargetReply{ID: m.ID, Target: wire.Target{End: 7}})
		}
	})
	return p
}

// follow follows until the test ends, and returns what is pushed.
func follow(t testing.TB, f source.Follower) <-chan source.Target {
	t.Helper()
	targets := make(chan source.Target, 100_000)
	ctx, cancel := context.WithCancel(t.Context())
	var task sync.WaitGroup
	task.Go(func() { f.Follow(ctx, func(t source.Target) { targets <- t }) })
	t.Cleanup(func() {
		cancel()
		task.Wait()
	})
	return targets
}

// next is the next subscription.
func next(t testing.TB, subscribed <-chan *subscriber) *subscriber {
	t.Helper()
	select {
	case s := <-subscribed:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nobody subscribed")
		return nil
	}
}

func wantPush(t testing.TB, targets <-chan source.Target, end uint64) {
	t.Helper()
	select {
	case got := <-targets:
		if got.End != end {
			t.Fatalf("pushed %v, want size %d", got, end)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing was pushed, want size %d", end)
	}
}

func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestPeerPassesPushedTargetsOnAndSubscribesAgain(t *testing.T) {
	srv := startPublisher(t)
	var logged lines
	p := newPeer(t, srv.Addr, source.PeerOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if p.Following() || p.State().Connected {
		t.Error("follows before it was told to")
	}
	targets := follow(t, p)
	for n := range 3 {
		s := next(t, srv.subscribed)
		wantPush(t, targets, 1)
		for end := uint64(2); end < 5; end++ {
			s.push(end)
			wantPush(t, targets, end)
		}
		until(t, "the state", func() bool { return p.Following() && p.State().LastError == "" })
		if st := p.State(); !st.Connected || !st.Following || st.LastError != "" {
			t.Errorf("state %+v", st)
		}
		// Requests go over the same connection.
		if got, err := p.Target(t.Context()); err != nil || got.End != 7 {
			t.Errorf("asked: %v, %v", got, err)
		}
		if c := srv.Connections.Load(); c != int64(n+1) {
			t.Errorf("%d connections, want %d", c, n+1)
		}
		srv.Reset()
	}
	if n := logged.count("following:"); n != 1 {
		t.Errorf("said %d times that it follows\n%s", n, &logged)
	}
}

func TestPeerThatDoesNotPushIsLeftAlone(t *testing.T) {
	db, target := log(t)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	var logged lines
	p := newPeer(t, srv.Addr, source.PeerOptions{Timeout: 500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	targets := follow(t, p)
	until(t, "said so", func() bool { return logged.count("does not push") == 1 })
	for range 5 {
		if got, err := p.Target(t.Context()); err != nil || got.Target != target {
			t.Fatalf("%v, %v", got, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := srv.Connections.Load(); n != 1 || p.Following() || len(targets) > 0 {
		t.Errorf("%d connections, following %t, %d targets", n, p.Following(), len(targets))
	}
	srv.Reset()
	until(t, "a new connection", func() bool { return srv.Connections.Load() == 2 && p.State().Connected })
	time.Sleep(80 * time.Millisecond)
	if n := logged.count("does not push"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// A server that takes its time is followed from its first push on.
func TestLateAnswerToASubscriptionIsGood(t *testing.T) {
	subscribed := make(chan *subscriber, 1)
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) { subscribed <- &subscriber{c, m.RequestID()} })
	p := newPeer(t, srv.Addr, source.PeerOptions{Timeout: 20 * time.Millisecond})
	targets := follow(t, p)
	s := next(t, subscribed)
	time.Sleep(50 * time.Millisecond)
	s.push(5)
	wantPush(t, targets, 5)
	if !p.Following() {
		t.Error("not followed")
	}
}

func TestBadPushesEndTheConnection(t *testing.T) {
	for name, bad := range map[string]func(s *subscriber){
		"another id":   func(s *subscriber) { s.id++; s.push(2) },
		"features":     func(s *subscriber) { m := s.frame(2); m.Features = 1; s.Send(m) },
		"empty range":  func(s *subscriber) { m := s.frame(2); m.Target.Start = 2; s.Send(m) },
		"no target":    func(s *subscriber) { writeFrame(s, s.frame(2).AppendTo(nil)[:12]) },
		"left over":    func(s *subscriber) { writeFrame(s, append(s.frame(2).AppendTo(nil), 0)) },
		"far too long": func(s *subscriber) { writeFrame(s, append(s.frame(2).AppendTo(nil), make([]byte, 1<<20)...)) },
		"a subscription": func(s *subscriber) {
			s.Send(&wire.Subscribe{ID: s.id})
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startPublisher(t)
			p := newPeer(t, srv.Addr, source.PeerOptions{})
			targets := follow(t, p)
			bad(next(t, srv.subscribed))
			s := next(t, srv.subscribed) // on a new connection
			if n := srv.Connections.Load(); n != 2 {
				t.Errorf("%d connections", n)
			}
			wantPush(t, targets, 1)
			wantPush(t, targets, 1)
			s.push(3)
			wantPush(t, targets, 3)
		})
	}
}

func writeFrame(c net.Conn, payload []byte) {
	c.Write(append(operation.AppendUvarint(nil, uint64(len(payload))), payload...))
}

func TestPushThatNobodyAskedForIsAnOffence(t *testing.T) {
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		c.Send(&wire.TargetPush{ID: m.RequestID(), Target: wire.Target{End: 5}})
	})
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	if _, err := p.Target(t.Context()); source.Classify(err) != source.Wrong || !strings.Contains(err.Error(), "nobody asked for") {
		t.Errorf("%v", err)
	}
}

func TestFloodOfPushesCostsTheConnectionAndIsNoLie(t *testing.T) {
	srv := startPublisher(t)
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	targets := follow(t, p)
	s := next(t, srv.subscribed)
	frame, err := wire.AppendFrame(nil, s.frame(2))
	if err != nil {
		t.Fatal(err)
	}
	s.Write(bytes.Repeat(frame, 30_000))
	next(t, srv.subscribed)
	if n := len(targets); n > 25_000 { // two seconds may have begun
		t.Errorf("%d pushes were passed on", n)
	}
	if p.Following() && p.State().LastError != "" {
		t.Errorf("%+v", p.State())
	}
}

func TestRefusedSubscriptionIsAskedForAgain(t *testing.T) {
	asked := make(chan *subscriber, 10)
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) { asked <- &subscriber{c, m.RequestID()} })
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	targets := follow(t, p)
	for range 3 {
		s := next(t, asked)
		s.Send(&wire.Error{ID: s.id, Code: wire.Database, Text: "not ready"})
	}
	s := next(t, asked)
	s.push(4)
	wantPush(t, targets, 4)
	// The server may end it, too.
	s.Send(&wire.Error{ID: s.id, Code: wire.Internal, Text: "enough"})
	s = next(t, asked)
	if p.Following() {
		t.Error("still following")
	}
	s.push(5)
	wantPush(t, targets, 5)
	if n := srv.Connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestFollowingEndsWithItsContextAndThePeerWithPushesUnheard(t *testing.T) {
	srv := startPublisher(t)
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	heard := 0
	var task sync.WaitGroup
	first := make(chan struct{}, 10)
	task.Go(func() { p.Follow(ctx, func(source.Target) { heard++; first <- struct{}{} }) })
	s := next(t, srv.subscribed)
	<-first
	cancel()
	task.Wait()
	before := heard
	s.push(2)
	if _, err := p.Target(t.Context()); err != nil || heard != before || p.Following() {
		t.Errorf("heard %d targets, %d before the end, %v", heard, before, err)
	}
	// And again, over the same connection.
	targets := follow(t, p)
	s = next(t, srv.subscribed)
	s.push(3)
	for got := range targets {
		if got.End == 3 {
			break
		}
	}
	if n := srv.Connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	p.Close() // ends Follow: the cleanup would wait for ever
}

func TestPoolFollowsAllItsMembersButNotTheOnesInCoolDown(t *testing.T) {
	a, b := startPublisher(t), startPublisher(t)
	pa, pb := newPeer(t, a.Addr, source.PeerOptions{}), newPeer(t, b.Addr, source.PeerOptions{})
	pool := source.NewPool([]source.Source{pa, pb}, source.PoolOptions{})
	targets := follow(t, pool)
	sa, sb := next(t, a.subscribed), next(t, b.subscribed)
	wantPush(t, targets, 1)
	wantPush(t, targets, 1)
	sa.push(2)
	wantPush(t, targets, 2)
	sb.push(3)
	wantPush(t, targets, 3)
	if !pool.Following() {
		t.Error("not following")
	}
	pool.Report(b.Addr, source.VerdictLying) // drops the connection, too
	sb = next(t, b.subscribed)
	sb.push(4)
	sb.push(5)
	sa.push(6)
	wantPush(t, targets, 6)
	for _, s := range pool.States() {
		if lying := s.Name == b.Addr; lying != (s.CoolDown > 0) || lying != (s.LastError != "") || !s.Connected {
			t.Errorf("%+v", s)
		}
	}
	if n := len(targets); n > 0 {
		t.Errorf("%d targets of a peer in cool-down", n)
	}
}

// listed is a source that pushes what it is given.
type listed struct {
	source.Source
	name    string
	targets chan source.Target
}

func (l *listed) Name() string    { return l.name }
func (l *listed) Following() bool { return true }
func (l *listed) Follow(ctx context.Context, fn func(source.Target)) {
	for {
		select {
		case t := <-l.targets:
			fn(t)
		case <-ctx.Done():
			return
		}
	}
}

func TestOfWhatWasPushedDuringACoolDownTheNewestIsHeardAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &listed{name: "a", targets: make(chan source.Target)}, &listed{name: "b", targets: make(chan source.Target)}
		pool := source.NewPool([]source.Source{a, b}, source.PoolOptions{})
		targets := follow(t, pool)
		pool.Report("b", source.VerdictLying)
		for end := range uint64(5) {
			b.targets <- source.Target{Target: wire.Target{End: end + 1}, Peer: "b"}
		}
		time.Sleep(1900 * time.Millisecond)
		if n := len(targets); n > 0 {
			t.Fatalf("%d targets during the cool-down", n)
		}
		time.Sleep(200 * time.Millisecond)
		wantPush(t, targets, 5)
		synctest.Wait()
		if n := len(targets); n > 0 {
			t.Errorf("and %d more", n)
		}
	})
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(s string) int { return strings.Count(l.String(), s) }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
