package app

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/internal/deadline"
	"github.com/proofsync/proofsync/internal/guard"
)

// webConns bounds the connections of the HTTP port, so that those who only hold
// some cannot use up the process's descriptors, which the database needs. One
// more takes the place of one without a request, of the host with the most
// connections; if there is none, it is closed.
//
// TLS may lie between: then net/http does the handshake, while the connection
// counts as one without a request.
//
//	Accept --admit--> (TLS) --> http.Server --ConnState--> states
type webConns struct {
	net.Listener
	max     int
	refused func(peer net.Addr, err error) // is told of handshakes that failed; nil: nobody is

	mu    sync.Mutex
	conns map[*webConn]struct{}
	hosts map[netip.Prefix]int
}

// webConn is one of the connections. Requests come and go without the lock that
// all of them share.
type webConn struct {
	*deadline.Conn
	host  netip.Prefix
	busy  atomic.Bool  // a request is being read or answered
	since atomic.Int64 // Unix nanoseconds at which it was not busy any more
}

func newWebConns(l net.Listener, most int) *webConns {
	return &webConns{Listener: l, max: most, conns: make(map[*webConn]struct{}), hosts: make(map[netip.Prefix]int)}
}

// Accept implements net.Listener.
func (w *webConns) Accept() (net.Conn, error) {
	for {
		c, err := w.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if x := w.admit(c); x != nil {
			return x, nil
		}
		_ = c.Close()
	}
}

// admit counts a connection; nil: there is no room.
func (w *webConns) admit(c net.Conn) *webConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.conns) >= w.max {
		idlest := w.idlest()
		if idlest == nil {
			return nil
		}
		w.remove(idlest)
		_ = idlest.Close()
	}
	x := &webConn{Conn: deadline.New(c), host: guard.HostOf(c.RemoteAddr())}
	x.since.Store(time.Now().UnixNano())
	w.hosts[x.host]++
	w.conns[x] = struct{}{}
	return x
}

// idlest is the connection that has to go first; nil: all have requests.
func (w *webConns) idlest() *webConn {
	var first *webConn
	for x := range w.conns {
		if x.busy.Load() {
			continue
		}
		if first == nil {
			first = x
			continue
		}
		if n, most := w.hosts[x.host], w.hosts[first.host]; n > most || n == most && x.since.Load() < first.since.Load() {
			first = x
		}
	}
	return first
}

func (w *webConns) remove(x *webConn) {
	if _, ok := w.conns[x]; !ok {
		return
	}
	delete(w.conns, x)
	if w.hosts[x.host]--; w.hosts[x.host] == 0 {
		delete(w.hosts, x.host)
	}
}

// state is the ConnState of the http.Server.
func (w *webConns) state(c net.Conn, s http.ConnState) {
	if secure, ok := c.(*tls.Conn); ok {
		if s == http.StateClosed && w.refused != nil && !secure.ConnectionState().HandshakeComplete {
			// It is not done again: the error of the first one is kept.
			if err := secure.Handshake(); err != nil {
				w.refused(secure.RemoteAddr(), err)
			}
		}
		c = secure.NetConn()
	}
	x, ok := c.(*webConn)
	if !ok {
		return // not one of ours
	}
	switch s {
	case http.StateActive:
		x.busy.Store(true)
	case http.StateNew, http.StateIdle:
		x.since.Store(time.Now().UnixNano())
		x.busy.Store(false)
	case http.StateClosed, http.StateHijacked:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.remove(x)
	}
}
