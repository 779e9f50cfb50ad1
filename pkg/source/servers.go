package source

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"
)

const (
	// DefaultLookupInterval is how often names are looked up again.
	DefaultLookupInterval = 30 * time.Second
	// lookupTimeout bounds a look-up, and the first ones hold up the start.
	lookupTimeout = 5 * time.Second
	// defaultLookupPause is the least time between two look-ups of a name,
	// however much trouble there is.
	defaultLookupPause = 2 * time.Second
	// MaxAddresses is how many addresses of a name are sources at most.
	MaxAddresses = 64
)

// ServersOptions configure Servers. The zero value of every field but Peer.Codec
// is usable. Logger and Metrics are those of Peer.
type ServersOptions struct {
	// Peer is for every one of them.
	Peer PeerOptions
	// Lookup returns the addresses of a host, those that can be reached first;
	// nil means the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Interval is how often names are looked up again; 0 means
	// DefaultLookupInterval. Where a server is slow or gone, its name is looked up
	// at once.
	Interval time.Duration
	// Pause is the least time between two look-ups of a name; 0 means two seconds,
	// or Interval if that is shorter.
	Pause time.Duration
}

// Servers are the servers of a configuration as one Pool. A name that has one
// address is a source, dialed by its name; one that has several, as the headless
// service of a cluster, is as many sources, that come and go with the answers of
// the name's look-ups:
//
//	--server a:80,b:80 --Lookup--> a: 10.0.0.1            -> Peer "a:80"
//	                               b: 10.0.0.2, 10.0.0.3  -> Peer "10.0.0.2:80 (b)", Peer "10.0.0.3:80 (b)"
//
// Of a name with addresses of both families only those of the first one count: as a
// rule they are the same servers. What a failed look-up left unsaid stays as it was.
type Servers struct {
	*Pool
	o      ServersOptions
	log    *slog.Logger
	names  []*hostname
	cancel context.CancelFunc
	tasks  sync.WaitGroup // one for each name
}

// hostname is a configured server that is given by name. Its task owns it.
type hostname struct {
	server     string // as configured
	host, port string
	addrs      []netip.Addr  // in use; none: the name itself is the source
	trouble    chan struct{} // a token: one of its sources is in trouble
	failing    bool          // and that was logged
	tooMany    bool          // and that was logged
}

// NewServers returns the servers at the given addresses (host:port, at least
// one; each counts once). It looks names up, for some seconds at most, and goes on
// doing so until Close, which must be called.
func NewServers(ctx context.Context, servers []string, o ServersOptions) *Servers {
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Interval <= 0 {
		o.Interval = DefaultLookupInterval
	}
	if o.Pause <= 0 {
		o.Pause = min(defaultLookupPause, o.Interval)
	}
	if o.Peer.Metrics == nil {
		o.Peer.Metrics = NewMetrics(nil)
	}
	if o.Peer.Logger == nil {
		o.Peer.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Servers{o: o, log: o.Peer.Logger}
	s.Pool = NewPool(nil, PoolOptions{Logger: o.Peer.Logger, Metrics: o.Peer.Metrics, Trouble: s.trouble})
	var first sync.WaitGroup
	for i, server := range servers {
		if slices.Contains(servers[:i], server) {
			continue
		}
		s.Add(NewPeer(server, o.Peer))
		host, port, err := net.SplitHostPort(server)
		if _, ip := netip.ParseAddr(host); err != nil || ip == nil {
			continue // dialing will tell what is wrong with it, if anything is
		}
		n := &hostname{server: server, host: host, port: port, trouble: make(chan struct{}, 1)}
		s.names = append(s.names, n)
		first.Go(func() { s.lookup(ctx, n) })
	}
	first.Wait()
	ctx, s.cancel = context.WithCancel(context.Background())
	for _, n := range s.names {
		s.tasks.Go(func() { s.watch(ctx, n) })
	}
	return s
}

// Close ends the look-ups and closes the pool.
func (s *Servers) Close() error {
	s.cancel()
	s.tasks.Wait()
	return s.Pool.Close()
}

// trouble has the name of a source looked up.
func (s *Servers) trouble(source string) {
	for _, n := range s.names {
		if source != n.server && !strings.HasSuffix(source, n.suffix()) {
			continue
		}
		select {
		case n.trouble <- struct{}{}:
		default:
		}
	}
}

// watch looks a name up again and again.
func (s *Servers) watch(ctx context.Context, n *hostname) {
	for {
		if sleep.For(ctx, s.o.Pause) != nil {
			return
		}
		rest := time.NewTimer(s.o.Interval - s.o.Pause)
		select {
		case <-rest.C:
		case <-n.trouble:
			rest.Stop()
		case <-ctx.Done():
			rest.Stop()
			return
		}
		s.lookup(ctx, n)
	}
}

// lookup asks for the addresses of a name and makes them its sources.
func (s *Servers) lookup(ctx context.Context, n *hostname) {
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := s.o.Lookup(limited, n.host)
	if ctx.Err() != nil {
		return
	}
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s has no address", n.host)
	}
	if err != nil {
		s.o.Peer.Metrics.lookups.WithLabelValues("failed").Inc()
		if !n.failing {
			n.failing = true
			s.log.Warn("server name not looked up, going on with the addresses known", "server", n.server, "addresses", len(n.addrs), "error", err)
		}
		return
	}
	s.o.Peer.Metrics.lookups.WithLabelValues("ok").Inc()
	n.failing = false
	if len(found) > MaxAddresses && !n.tooMany {
		n.tooMany = true
		s.log.Warn("server name has more addresses than are used", "server", n.server, "addresses", len(found), "used", MaxAddresses)
	}
	s.use(n, several(found))
}

// several are the addresses that are sources of their own, in order: none if the
// name stands for one server.
func several(found []netip.Addr) (addrs []netip.Addr) {
	v4 := found[0].Unmap().Is4()
	for _, a := range found {
		if a = a.Unmap(); a.Is4() == v4 {
			addrs = append(addrs, a)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	if len(addrs) < 2 {
		return nil
	}
	return addrs[:min(len(addrs), MaxAddresses)]
}

// use makes addrs the sources of a name. New ones come before old ones go, so
// that there is always one to ask.
func (s *Servers) use(n *hostname, addrs []netip.Addr) {
	if slices.Equal(addrs, n.addrs) {
		return
	}
	var added, removed []string
	for _, a := range addrs {
		if !slices.Contains(n.addrs, a) {
			added = append(added, n.source(a))
			s.Add(s.peer(n, a))
		}
	}
	for _, a := range n.addrs {
		if !slices.Contains(addrs, a) {
			removed = append(removed, n.source(a))
		}
	}
	switch {
	case len(n.addrs) == 0:
		removed = append(removed, n.server)
	case len(addrs) == 0:
		added = append(added, n.server)
		s.Add(NewPeer(n.server, s.o.Peer))
	}
	n.addrs = addrs
	for _, name := range removed {
		s.Remove(name)
	}
	s.log.Info("the sources behind a server name changed", "server", n.server, "sources", max(1, len(addrs)), "added", added, "removed", removed)
}

// source is the name of the source at one of several addresses.
func (n *hostname) source(a netip.Addr) string {
	return net.JoinHostPort(a.String(), n.port) + n.suffix()
}

// suffix is what the names of all of them end with.
func (n *hostname) suffix() string { return " (" + n.host + ")" }

// peer is the source at one of several addresses: known, and checked, by the name.
func (s *Servers) peer(n *hostname, a netip.Addr) *Peer {
	o := s.o.Peer
	o.ServerName = n.host
	return newPeer(n.source(a), net.JoinHostPort(a.String(), n.port), o)
}
