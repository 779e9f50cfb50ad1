package source_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

// names answers look-ups, and dials what it answered: every address leads to
// one server.
type names struct {
	mu     sync.Mutex
	addrs  map[string][]string
	err    error
	asked  int
	server string
	dialed []string
}

func (n *names) set(host string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs[host] = addrs
}

func (n *names) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *names) lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *names) Lookup(_ context.Context, host string) (found []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	for _, a := range n.addrs[host] {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, n.err
}

func (n *names) dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, address)
	n.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", n.server)
}

func (n *names) start(t *testing.T, o source.ServersOptions, servers ...string) *source.Servers {
	o.Lookup = n.Lookup
	o.Peer.Codec = anyFixed
	o.Peer.Dial = n.dial
	s := source.NewServers(t.Context(), servers, o)
	t.Cleanup(func() { s.Close() })
	return s
}

func sourcesOf(s *source.Servers) (names []string) {
	for _, st := range s.States() {
		names = append(names, st.Name)
	}
	slices.Sort(names)
	return names
}

func TestNameWithSeveralAddressesIsSeveralSources(t *testing.T) {
	for name, c := range map[string]struct {
		addrs []string
		want  []string
	}{
		"one address":      {[]string{"10.0.0.1"}, []string{"db:80"}},
		"three addresses":  {[]string{"10.0.0.3", "10.0.0.1", "10.0.0.2"}, []string{"10.0.0.1:80 (db)", "10.0.0.2:80 (db)", "10.0.0.3:80 (db)"}},
		"one twice":        {[]string{"10.0.0.1", "10.0.0.1"}, []string{"db:80"}},
		"one, both ways":   {[]string{"::1", "127.0.0.1"}, []string{"db:80"}},
		"mapped":           {[]string{"::ffff:10.0.0.1", "10.0.0.1"}, []string{"db:80"}},
		"two, both ways":   {[]string{"fd00::2", "fd00::1", "10.0.0.1", "10.0.0.2"}, []string{"[fd00::1]:80 (db)", "[fd00::2]:80 (db)"}},
		"no address":       {nil, []string{"db:80"}},
		"family of longer": {[]string{"10.0.0.1", "fd00::2", "fd00::1"}, []string{"db:80"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := &names{addrs: map[string][]string{"db": c.addrs}}
			s := n.start(t, source.ServersOptions{}, "db:80", "db:80")
			if got := sourcesOf(s); !slices.Equal(got, c.want) || s.Sources() != len(c.want) {
				t.Errorf("%d sources %q, expected %q", s.Sources(), got, c.want)
			}
		})
	}
}

func TestAddressesAreNotLookedUp(t *testing.T) {
	n := &names{}
	s := n.start(t, source.ServersOptions{}, "10.0.0.1:80", "[::1]:80")
	if got := sourcesOf(s); len(got) != 2 || n.lookups() != 0 {
		t.Errorf("sources %q after %d look-ups", got, n.lookups())
	}
}

func TestSourcesOfANameAreBounded(t *testing.T) {
	n := &names{addrs: map[string][]string{}}
	var all []string
	for i := range 200 {
		all = append(all, fmt.Sprintf("10.0.1.%d", i))
	}
	n.set("db", all...)
	if s := n.start(t, source.ServersOptions{}, "db:80"); s.Sources() != source.MaxAddresses {
		t.Errorf("%d sources", s.Sources())
	}
}

// Sources come and go under load: no request fails, and what is gone leaves no
// connection and no metric behind.
func TestSourcesFollowTheAnswersOfLookups(t *testing.T) {
	db, target := log(t)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	n := &names{addrs: map[string][]string{}, server: srv.Addr}
	n.set("db", "10.0.0.1", "10.0.0.2")
	reg := prometheus.NewRegistry()
	s := n.start(t, source.ServersOptions{Interval: 5 * time.Millisecond, Peer: source.PeerOptions{Metrics: source.NewMetrics(reg)}}, "db:80")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := s.Operations(t.Context(), source.Request{Size: target.End, Start: target.Start, Max: 10})
				if err != nil {
					t.Errorf("request: %v", err)
					return
				}
				a.Release()
				done.Add(1)
			}
		})
	}
	for _, addrs := range [][]string{{"10.0.0.2", "10.0.0.3"}, {"10.0.0.4"}, {"10.0.0.1", "10.0.0.2", "10.0.0.3"}} {
		n.set("db", addrs...)
		want := make([]string, len(addrs))
		for i, a := range addrs {
			want[i] = a + ":80 (db)"
		}
		if len(want) == 1 {
			want[0] = "db:80"
		}
		until(t, fmt.Sprint(want), func() bool { return slices.Equal(sourcesOf(s), want) })
		until(t, "metrics of "+fmt.Sprint(want), func() bool { return slices.Equal(peersIn(t, reg), want) })
		more := done.Load() + 20
		until(t, "requests", func() bool { return done.Load() > more || t.Failed() })
	}
	n.fail(errors.New("no such host"))
	before := n.lookups()
	until(t, "more look-ups", func() bool { return n.lookups() > before+1 })
	if s.Sources() != 3 {
		t.Errorf("%d sources after a look-up that failed", s.Sources())
	}
	close(stop)
	wg.Wait()
	if !slices.Contains(n.dialed, "10.0.0.3:80") || !slices.Contains(n.dialed, "db:80") {
		t.Errorf("dialed %q", n.dialed)
	}
}

// peersIn are the values of the label peer.
func peersIn(t testing.TB, reg *prometheus.Registry) (peers []string) {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "peer" {
					peers = append(peers, l.GetValue())
				}
			}
		}
	}
	slices.Sort(peers)
	return slices.Compact(peers)
}

func TestServerInTroubleHasItsNameLookedUp(t *testing.T) {
	db, _ := log(t)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	n := &names{addrs: map[string][]string{}, server: "127.0.0.1:1"} // nobody listens there
	n.set("db", "10.0.0.1", "10.0.0.2")
	s := n.start(t, source.ServersOptions{Interval: time.Hour, Pause: time.Millisecond}, "db:80")
	if _, err := s.Target(t.Context()); source.Classify(err) != source.Slow {
		t.Fatalf("got %v", err)
	}
	n.mu.Lock()
	n.server = srv.Addr
	n.mu.Unlock()
	n.set("db", "10.0.0.3", "10.0.0.4")
	// The first trouble may have had the name looked up before it had new addresses.
	until(t, "the new addresses", func() bool {
		_, _ = s.Target(t.Context())
		return slices.Contains(sourcesOf(s), "10.0.0.3:80 (db)")
	})
	if _, err := s.Target(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSourcesAddedLaterAreFollowed(t *testing.T) {
	db, target := log(t)
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		if m, ok := m.(*wire.Subscribe); ok {
			c.Send(&wire.TargetPush{ID: m.ID, Target: target})
			return
		}
		c.Send(sourcetest.Answer(db, m))
	})
	p := source.NewPool(nil, source.PoolOptions{})
	defer p.Close()
	pushed := make(chan source.Target, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Follow(ctx, func(t source.Target) { pushed <- t }) })
	p.Add(source.NewPeer(srv.Addr, source.PeerOptions{Codec: anyFixed}))
	if got := <-pushed; got.Target != target {
		t.Errorf("pushed %v", got)
	}
	until(t, "following", p.Following)
	p.Remove(srv.Addr)
	if p.Following() || p.Sources() != 0 {
		t.Error("still there")
	}
	if _, err := p.Target(t.Context()); source.Classify(err) != source.Slow {
		t.Errorf("nobody to ask: %v", err)
	}
	cancel()
	wg.Wait()
}
