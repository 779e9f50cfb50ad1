package certs

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

const year = 365 * 24 * time.Hour

func newCA(t testing.TB, name string) *Authority {
	t.Helper()
	a, err := NewAuthority(name, 10*year)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// dir is a directory of files.
type dir struct {
	testing.TB
	path string
}

func newDir(t testing.TB) dir { return dir{t, t.TempDir()} }

func (d dir) file(name string) string { return filepath.Join(d.path, name) }

// put replaces a file at once, as a careful program does.
func (d dir) put(name string, content []byte) string {
	d.Helper()
	tmp := d.file(name + ".new")
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		d.Fatal(err)
	}
	if err := os.Rename(tmp, d.file(name)); err != nil {
		d.Fatal(err)
	}
	return d.file(name)
}

// issue puts NAME.pem and NAME-key.pem.
func (d dir) issue(a *Authority, name string, l Leaf) (cert, key string) {
	d.Helper()
	c, k, err := a.Issue(l)
	if err != nil {
		d.Fatal(err)
	}
	return d.put(name+".pem", c), d.put(name+"-key.pem", k)
}

func (d dir) ca(name string, as ...*Authority) string {
	var all []byte
	for _, a := range as {
		all = append(all, a.CertPEM()...)
	}
	return d.put(name, all)
}

// logs is a log that tests look into.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) count(s string) int { return strings.Count(l.String(), s) }

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// load loads, and looks at the files every millisecond until the test ends.
func load(t testing.TB, o Options) *Store {
	t.Helper()
	o.Interval = time.Millisecond
	s, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(o.Interval):
				s.look()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return s
}

// serving answers connections on loopback with who the peer is.
type serving struct {
	addr string
	mu   sync.Mutex
	errs []error
}

func (s *serving) last() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) == 0 {
		return nil
	}
	return s.errs[len(s.errs)-1]
}

func serve(t testing.TB, store *Store) *serving {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := store.ServerConfig("test")
	s := &serving{addr: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				secure := tls.Server(c, cfg)
				if err := secure.Handshake(); err != nil {
					s.mu.Lock()
					s.errs = append(s.errs, err)
					s.mu.Unlock()
					store.Refused(c.RemoteAddr(), err)
					if tcp, ok := c.(*net.TCPConn); ok { // let the alert arrive
						tcp.CloseWrite()
						io.Copy(io.Discard, c)
					}
					return
				}
				cs := secure.ConnectionState()
				io.WriteString(secure, "hello <"+Identity(&cs)+">")
				secure.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return s
}

// connect returns what the server says, and the serial number of its certificate.
func connect(s *serving, cfg *tls.Config) (said, serial string, err error) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if cfg == nil {
		if _, err := c.Write([]byte("a line that is no TLS\n")); err != nil {
			return "", "", err
		}
		b, err := io.ReadAll(c)
		return string(b), "", err
	}
	secure := tls.Client(c, cfg)
	if err := secure.Handshake(); err != nil {
		return "", "", err
	}
	b, err := io.ReadAll(secure)
	return string(b), secure.ConnectionState().PeerCertificates[0].SerialNumber.String(), err
}

func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	if d.Gauge != nil {
		return d.Gauge.GetValue()
	}
	return d.Counter.GetValue()
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
