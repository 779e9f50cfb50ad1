package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/certs"
)

// pki is a directory with a CA and certificates of it.
type pki struct {
	t   *testing.T
	dir string
	ca  *certs.Authority
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	ca, err := certs.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{t, t.TempDir(), ca}
	p.put("ca.pem", ca.CertPEM())
	p.issue("server", certs.Leaf{Hosts: []string{"127.0.0.1"}, SPIFFE: "spiffe://test/server"})
	p.issue("client", certs.Leaf{SPIFFE: "spiffe://test/client", Client: true})
	return p
}

func (p *pki) put(name string, data []byte) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pki) issue(name string, l certs.Leaf) {
	p.t.Helper()
	cert, key, err := p.ca.Issue(l)
	if err != nil {
		p.t.Fatal(err)
	}
	p.put(name+".pem", cert)
	p.put(name+"-key.pem", key)
}

func (p *pki) flags(name string, more ...string) []string {
	at := func(file string) string { return filepath.Join(p.dir, file) }
	return append([]string{"--tls-cert-file", at(name + ".pem"), "--tls-key-file", at(name + "-key.pem"), "--tls-ca-file", at("ca.pem")}, more...)
}

// Every pair that does not fit gets one line that says what to change, on the
// side that can change it.
func TestClientsAndServersThatDoNotFitSayWhatToChange(t *testing.T) {
	for name, c := range map[string]struct {
		server, client func(p *pki) []string
		says           string // the client's log
		logs           string // the server's
	}{
		"a client without TLS": {
			func(p *pki) []string { return p.flags("server") }, func(*pki) []string { return nil },
			"unreachable: the server speaks TLS (set --tls-ca-file)",
			"reason=not_tls",
		},
		"a server without TLS": {
			func(*pki) []string { return nil }, func(p *pki) []string { return p.flags("client")[4:] },
			"(the server does not speak TLS: remove --tls-ca-file, or give the server --tls-cert-file)",
			"reason=tls_on_plain_port",
		},
		"a client without a certificate": {
			func(p *pki) []string { return p.flags("server", "--tls-client-auth", "require") }, func(p *pki) []string { return p.flags("client")[4:] },
			"(the server wants a certificate: set --tls-cert-file and --tls-key-file)",
			"reason=no_certificate",
		},
		"a client that is not allowed": {
			func(p *pki) []string {
				return p.flags("server", "--tls-client-auth", "require", "--tls-allow", "spiffe://test/other")
			}, func(p *pki) []string { return p.flags("client") },
			"(the server refuses our certificate: are we on its --tls-allow?)",
			`spiffe://test/client\" is not on the allow list`,
		},
		"a server of another name": {
			func(p *pki) []string { return p.flags("server") }, func(p *pki) []string { return p.flags("client", "--tls-server-name", "db.example") },
			"(the server's certificate is for other names: correct --server, or choose the name with --tls-server-name)",
			"reason=refused_by_peer",
		},
		"a server of another CA": {
			func(p *pki) []string { return p.flags("server") }, func(p *pki) []string {
				p.put("other.pem", newPKI(t).ca.CertPEM())
				return []string{"--tls-ca-file", filepath.Join(p.dir, "other.pem")}
			},
			"(the CA of the server's certificate is not in our --tls-ca-file)",
			"reason=refused_by_peer",
		},
		"a server whose certificate has expired": {
			func(p *pki) []string {
				p.issue("server", certs.Leaf{Hosts: []string{"127.0.0.1"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(-time.Second)})
				return p.flags("server")
			}, func(p *pki) []string { return p.flags("client")[4:] },
			"(the server's certificate has to be renewed, or a clock is wrong)",
			"reason=refused_by_peer",
		},
		"a server that is not on the list": {
			func(p *pki) []string { return p.flags("server") }, func(p *pki) []string { return p.flags("client", "--tls-allow", "spiffe://test/other") },
			`spiffe://test/server\" is not on the allow list (--tls-allow)`,
			"reason=refused_by_peer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPKI(t)
			var server, client logBuffer
			addr := startServerApp(t, &server, c.server(p)...)
			startApp(t, Client(parseClient(t, append([]string{"-s", addr, "-i", "20ms"}, c.client(p)...)...), client.logger()))
			eventually(t, "the client's hint", func() bool { return strings.Contains(client.String(), c.says) })
			eventually(t, "the server's line", func() bool { return strings.Contains(server.String(), c.logs) })
			if n := strings.Count(client.String(), "peer lost"); n != 1 {
				t.Errorf("said %d times:\n%s", n, client.String())
			}
			if strings.Contains(client.String(), "sync completed") {
				t.Error("a sync came about")
			}
		})
	}
}

// A long life: both sides get new certificates while data flows.
func TestCertificatesAreReplacedUnderARunningSync(t *testing.T) {
	p := newPKI(t)
	var server, client logBuffer
	addr := startServerApp(t, &server, p.flags("server", "--tls-client-auth", "require", "--tls-allow", "spiffe://test/*", "-t", "5ms")...)
	startApp(t, Client(parseClient(t, append([]string{"-s", addr, "-i", "5ms"}, p.flags("client", "--tls-allow", "spiffe://test/server")...)...), client.logger(), quickly))
	eventually(t, "a sync", func() bool { return strings.Contains(client.String(), "sync completed") })
	if n := strings.Count(server.String()+client.String(), "not encrypted"); n != 0 {
		t.Errorf("announced as plaintext:\n%s%s", server.String(), client.String())
	}
	// A connection that was made stays; the certificate is for the next one. That
	// it is used is tested where certificates are.
	p.issue("server", certs.Leaf{Hosts: []string{"127.0.0.1"}, SPIFFE: "spiffe://test/server"})
	eventually(t, "the new certificate", func() bool { return strings.Contains(server.String(), "TLS certificate reloaded") })
	before := strings.Count(client.String(), "sync completed")
	eventually(t, "more syncs", func() bool { return strings.Count(client.String(), "sync completed") > before })
}

func TestPlaintextIsAnnounced(t *testing.T) {
	for name, c := range map[string]struct {
		host, want string
	}{
		"on one machine": {"127.0.0.1", "INFO connections are not encrypted with=clients"},
		"on a network":   {"0.0.0.0", "WARN connections are not encrypted with=clients"},
	} {
		var logs logBuffer
		startServerApp(t, &logs, "--host", c.host)
		if strings.Count(logs.String(), c.want) != 1 {
			t.Errorf("%s: want %s once:\n%s", name, c.want, logs.String())
		}
	}
}

// quickly looks at files more often than users need.
var quickly = fx.Decorate(func(o securityOptions) securityOptions { o.Interval = time.Millisecond; return o })

// startServerApp returns the address of the sync port.
func startServerApp(t *testing.T, logs *logBuffer, args ...string) string {
	t.Helper()
	var l *listener
	startApp(t, Server(parseServer(t, args...), nil, logs.logger(), fx.Populate(&l), quickly))
	eventually(t, "server listening", func() bool { return strings.Contains(logs.String(), "server listening") })
	return l.Addr().String()
}

func TestFilesThatCannotBeUsedEndTheStartInOneLine(t *testing.T) {
	p := newPKI(t)
	p.put("server-key.pem", []byte("x"))
	var logs logBuffer
	app := Server(parseServer(t, p.flags("server")...), nil, logs.logger())
	err := app.Start(context.Background())
	if err == nil || !strings.Contains(err.Error(), "TLS: key "+filepath.Join(p.dir, "server-key.pem")+": no private key in it") {
		t.Errorf("got %v", err)
	}
}

// The HTTP port counts handshakes that fail, and connections in the middle of one
// make room for others.
func TestTheHTTPPortBoundsHandshakes(t *testing.T) {
	p := newPKI(t)
	store := func(name string, auth certs.ClientAuth) *certs.Store {
		f := p.flags(name)
		s, err := certs.Load(certs.Options{CertFile: f[1], KeyFile: f[3], CAFile: f[5], ClientAuth: auth})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := newWebConns(l, 3)
	refused := make(chan error, 16)
	conns.refused = func(_ net.Addr, err error) { refused <- err }
	s := &http.Server{
		ConnState: conns.state, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s, %d active", r.Proto, certs.Identity(r.TLS), conns.count(true))
		}),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(tls.NewListener(conns, store("server", certs.Require).ServerConfig(certs.ProtoHTTP)))
	}()
	t.Cleanup(func() { s.Close(); <-served })
	addr := l.Addr().String()

	get := func(cfg *tls.Config) (string, error) {
		tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr, Timeout: patience}).Get("https://" + addr)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	for range 5 { // more than there are places
		dialWeb(t, addr, "")
	}
	if got, err := get(store("client", certs.None).ClientConfig("127.0.0.1")); err != nil || got != "HTTP/1.1 spiffe://test/client, 1 active" {
		t.Errorf("got %q, %v", got, err)
	}
	anonymous, err := certs.Load(certs.Options{CAFile: p.flags("client")[5]})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(anonymous.ClientConfig("127.0.0.1")); err == nil {
		t.Errorf("got %q without a certificate", got)
	}
	for end := time.After(patience); ; {
		select {
		case err := <-refused:
			if strings.Contains(err.Error(), "didn't provide a certificate") {
				return
			}
		case <-end:
			t.Fatal("the refusal was not told of")
		}
	}
}
