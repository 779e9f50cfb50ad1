package certs

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"
)

// world is a server and a client that trust one CA.
type world struct {
	dir
	ca     *Authority
	server Options
	client Options
}

const loopback = "127.0.0.1"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: newDir(t), ca: newCA(t, "ca")}
	ca := w.dir.ca("ca.pem", w.ca)
	w.server = Options{CAFile: ca, ClientAuth: Require, Metrics: NewMetrics(nil)}
	w.server.CertFile, w.server.KeyFile = w.issue(w.ca, "server", Leaf{Name: "server", Hosts: []string{loopback, "db.example"}, SPIFFE: "spiffe://test/server", Server: true})
	w.client = Options{CAFile: ca, Metrics: NewMetrics(nil)}
	w.client.CertFile, w.client.KeyFile = w.issue(w.ca, "client", Leaf{Name: "client", SPIFFE: "spiffe://test/client", Client: true})
	return w
}

func TestBothSidesProveWhoTheyAre(t *testing.T) {
	w := newWorld(t)
	w.server.AllowClients = []Pattern{"spiffe://test/client"}
	s := serve(t, load(t, w.server))
	said, _, err := connect(s, load(t, w.client).ClientConfig(loopback, "test"))
	if err != nil || said != "hello <spiffe://test/client>" {
		t.Fatalf("got %q, %v", said, err)
	}
}

// Everything that must not lead to a connection, with what both sides say of it.
func TestHandshakesThatAreRefused(t *testing.T) {
	now := time.Now()
	wrong := newCA(t, "ca") // of the same name
	for name, c := range map[string]struct {
		change func(*world)
		client string // part of the client's error
		reason reason // on the server; numReasons: the server sees nothing wrong
		on     reason // of the client's own refusal; numReasons: none
	}{
		"a server of another CA": {func(w *world) {
			w.server.CertFile, w.server.KeyFile = w.issue(wrong, "server", Leaf{Hosts: []string{loopback}})
		}, "signed by unknown authority", refusedByPeer, unknownCA},
		"a server that has expired": {func(w *world) {
			w.server.CertFile, w.server.KeyFile = w.issue(w.ca, "server", Leaf{Hosts: []string{loopback}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)})
		}, "has expired", refusedByPeer, expired},
		"a server from the future": {func(w *world) {
			w.server.CertFile, w.server.KeyFile = w.issue(w.ca, "server", Leaf{Hosts: []string{loopback}, NotBefore: now.Add(time.Hour)})
		}, "not yet valid", refusedByPeer, notYetValid},
		"a server of another name": {func(w *world) { w.client.ServerName = "other.example" }, "valid for db.example, not other.example", refusedByPeer, wrongName},
		"a server of another address": {func(w *world) {
			w.server.CertFile, w.server.KeyFile = w.issue(w.ca, "server", Leaf{Hosts: []string{"127.0.0.2", "localhost"}})
		}, "not 127.0.0.1", refusedByPeer, wrongName},
		"a client that plays server": {func(w *world) {
			w.server.CertFile, w.server.KeyFile = w.issue(w.ca, "server", Leaf{Hosts: []string{loopback}, Client: true})
		}, "incompatible key usage", refusedByPeer, badCertificate},
		"a server that is not on the list": {func(w *world) { w.client.AllowServers = []Pattern{"spiffe://test/other"} },
			`"spiffe://test/server db.example" is not on the allow list (--tls-allow)`, refusedByPeer, notAllowed},
		"a client without a certificate": {func(w *world) { w.client.CertFile, w.client.KeyFile = "", "" }, "certificate required", noCertificate, numReasons},
		"a client of another CA": {func(w *world) {
			w.client.CertFile, w.client.KeyFile = w.issue(wrong, "client", Leaf{SPIFFE: "spiffe://test/client"})
		}, "unknown certificate authority", unknownCA, numReasons},
		"a client of another CA where none is needed": {func(w *world) {
			w.server.ClientAuth = Request
			w.client.CertFile, w.client.KeyFile = w.issue(wrong, "client", Leaf{})
		}, "unknown certificate authority", unknownCA, numReasons},
		"a client that has expired": {func(w *world) {
			w.client.CertFile, w.client.KeyFile = w.issue(w.ca, "client", Leaf{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)})
		}, "expired certificate", expired, numReasons},
		"a server that plays client": {func(w *world) { w.client.CertFile, w.client.KeyFile = w.server.CertFile, w.server.KeyFile }, "bad certificate", badCertificate, numReasons},
		"a client that is not on the list": {func(w *world) { w.server.AllowClients = []Pattern{"spiffe://test/other", "*.example"} },
			"bad certificate", notAllowed, numReasons},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			var l logs
			w.server.Logger = l.logger()
			server, client := load(t, w.server), load(t, w.client)
			s := serve(t, server)
			said, _, err := connect(s, client.ClientConfig(loopback, "test"))
			if err == nil || !strings.Contains(err.Error(), c.client) {
				t.Errorf("the client: %q, %v, want %q", said, err, c.client)
			}
			eventually(t, "the server's refusal", func() bool { return l.count("peer refused in the TLS handshake") == 1 })
			if n := value(t, w.server.Metrics.failures[c.reason]); n != 1 {
				t.Errorf("the server counted %v times %v", n, c.reason)
			}
			if c.on != numReasons && value(t, w.client.Metrics.failures[c.on]) != 1 {
				t.Errorf("the client did not count %v", c.on)
			}
			if l.count("reason="+c.reason.String()) != 1 || l.count("hint=") != 1 {
				t.Errorf("the server's log:\n%s", l.String())
			}
			if c.reason == notAllowed {
				if _, ok := errors.AsType[*NotAllowedError](s.last()); !ok {
					t.Errorf("got %v", s.last())
				}
			}
		})
	}
}

func TestPlaintextToATLSPort(t *testing.T) {
	w := newWorld(t)
	s := serve(t, load(t, w.server))
	if said, _, err := connect(s, nil); said != "" || err != nil {
		t.Errorf("got %q, %v", said, err)
	}
	eventually(t, "the refusal", func() bool { return value(t, w.server.Metrics.failures[notTLS]) == 1 })
}

func TestACertificateIsOptionalWhereItIsRequested(t *testing.T) {
	w := newWorld(t)
	w.server.ClientAuth = Request
	s := serve(t, load(t, w.server))
	for _, c := range []struct {
		o    Options
		want string
	}{{w.client, "hello <spiffe://test/client>"}, {Options{CAFile: w.client.CAFile}, "hello <>"}} {
		if said, _, err := connect(s, load(t, c.o).ClientConfig(loopback, "test")); err != nil || said != c.want {
			t.Errorf("got %q, %v, want %q", said, err, c.want)
		}
	}
	// A certificate that nobody asked for names nobody.
	w.server.ClientAuth = None
	s = serve(t, load(t, w.server))
	if said, _, err := connect(s, load(t, w.client).ClientConfig(loopback, "test")); err != nil || said != "hello <>" {
		t.Errorf("got %q, %v", said, err)
	}
}

func TestTheNameThatIsCheckedCanBeChosen(t *testing.T) {
	w := newWorld(t)
	s := serve(t, load(t, w.server))
	for name, o := range map[string]func(Options) Options{
		"another name":  func(o Options) Options { o.ServerName = "db.example"; return o },
		"a list":        func(o Options) Options { o.AllowServers = []Pattern{"spiffe://test/*"}; return o },
		"a list of DNS": func(o Options) Options { o.AllowServers = []Pattern{"*.org", "db.example"}; return o },
	} {
		if _, _, err := connect(s, load(t, o(w.client)).ClientConfig("elsewhere.example", "test")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := connect(s, load(t, w.client).ClientConfig("", "test")); err == nil {
		t.Error("a connection without a name to check came about")
	}
}

func TestOnlyTheNewestTLSIsSpoken(t *testing.T) {
	w := newWorld(t)
	s := serve(t, load(t, w.server))
	cfg := load(t, w.client).ClientConfig(loopback, "test")
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, err := connect(s, cfg); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v", err)
	}
}

func TestPortsOfAnotherProtocolAreRefused(t *testing.T) {
	w := newWorld(t)
	s := serve(t, load(t, w.server))
	if _, _, err := connect(s, load(t, w.client).ClientConfig(loopback, "other")); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("got %v", err)
	}
}

// A session that is resumed would not show its certificate again.
func TestNoSessionOutlivesACheck(t *testing.T) {
	w := newWorld(t)
	w.server.AllowClients = []Pattern{"spiffe://test/client"}
	s := serve(t, load(t, w.server))
	cfg := load(t, w.client).ClientConfig(loopback, "test")
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 3 {
		if _, _, err := connect(s, cfg); err != nil {
			t.Fatal(err)
		}
	}
	if session, ok := cfg.ClientSessionCache.Get("127.0.0.1"); ok || session != nil {
		t.Error("the server has handed out a session")
	}
	strict := w.server
	strict.AllowClients = []Pattern{"spiffe://test/other"}
	if _, _, err := connect(serve(t, load(t, strict)), cfg); err == nil {
		t.Error("a session was resumed at a server that does not allow this client")
	}
}
