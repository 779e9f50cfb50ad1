package app

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

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
	conns map[net.Conn]*webConn
	hosts map[netip.Prefix]int
}

type webConn struct {
	host  netip.Prefix
	idle  bool      // no request is being read or answered
	since time.Time // of the last change
}

func newWebConns(l net.Listener, most int) *webConns {
	return &webConns{Listener: l, max: most, conns: make(map[net.Conn]*webConn), hosts: make(map[netip.Prefix]int)}
}

// Accept implements net.Listener.
func (w *webConns) Accept() (net.Conn, error) {
	for {
		c, err := w.Listener.Accept()
		if err != nil || w.admit(c) {
			return c, err
		}
		_ = c.Close()
	}
}

func (w *webConns) admit(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.conns) >= w.max {
		idlest := w.idlest()
		if idlest == nil {
			return false
		}
		w.remove(idlest)
		_ = idlest.Close()
	}
	host := guard.HostOf(c.RemoteAddr())
	w.hosts[host]++
	w.conns[c] = &webConn{host: host, idle: true, since: time.Now()}
	return true
}

// idlest is the connection that has to go first; nil: all have requests.
func (w *webConns) idlest() net.Conn {
	var first net.Conn
	var its *webConn
	for c, x := range w.conns {
		if !x.idle {
			continue
		}
		if n := w.hosts[x.host]; its == nil || n > w.hosts[its.host] || n == w.hosts[its.host] && x.since.Before(its.since) {
			first, its = c, x
		}
	}
	return first
}

func (w *webConns) remove(c net.Conn) {
	x, ok := w.conns[c]
	if !ok {
		return
	}
	delete(w.conns, c)
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
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == http.StateClosed || s == http.StateHijacked {
		w.remove(c)
		return
	}
	if x, ok := w.conns[c]; ok {
		x.idle, x.since = s != http.StateActive, time.Now()
	}
}
