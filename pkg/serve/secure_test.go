package serve

import (
	"bufio"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/wire"
)

// identities are a server's options and a client's configuration that fit.
type identities struct {
	client  *tls.Config
	mu      sync.Mutex
	refused []error
}

// secured adds TLS with required certificates to the options of a server.
func secured(t testing.TB, o *Options) *identities {
	t.Helper()
	ca, err := certs.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	load := func(name string, l certs.Leaf, auth certs.ClientAuth) *certs.Store {
		cert, key, err := ca.Issue(l)
		if err != nil {
			t.Fatal(err)
		}
		s, err := certs.Load(certs.Options{
			CertFile: file(name, cert), KeyFile: file(name+"-key", key), CAFile: file("ca", ca.CertPEM()), ClientAuth: auth,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	id := new(identities)
	o.TLS = load("server", certs.Leaf{Hosts: []string{"localhost"}}, certs.Require).ServerConfig(certs.ProtoSync)
	o.Identify = certs.Identity
	o.Refused = func(_ net.Addr, err error) {
		id.mu.Lock()
		defer id.mu.Unlock()
		id.refused = append(id.refused, err)
	}
	id.client = load("client", certs.Leaf{SPIFFE: "spiffe://test/client"}, certs.None).ClientConfig("localhost", certs.ProtoSync)
	return id
}

func (id *identities) refusals() int {
	id.mu.Lock()
	defer id.mu.Unlock()
	return len(id.refused)
}

// over puts TLS over a client's connection. The handshake is done with the first message.
func (id *identities) over(c *client) *client {
	conn := tls.Client(c.conn, id.client)
	return &client{c.t, conn, bufio.NewReaderSize(conn, 64<<10), c.codec}
}

func TestRequestsAreAnsweredOverTLS(t *testing.T) {
	f := newFixture(t, anyFixed, 30, 400, 32)
	var o Options
	id := secured(t, &o)
	l := listen(t)
	s := start(t, f, o, l)
	c := id.over(dial(t, l, anyFixed))
	if got := c.target(); got.Root != f.last().Root {
		t.Errorf("root %v", got.Root)
	}
	// Many in flight, so that replies share records, and some need many.
	var sent []wire.GetOperations
	for i := range uint64(20) {
		sent = append(sent, wire.GetOperations{ID: i, Size: f.last().Size, Start: i * 500, Max: 10_000}, wire.GetOperations{ID: 100 + i, Size: f.last().Size, Start: i, Max: 1})
	}
	byID := map[uint64]wire.GetOperations{}
	for i := range sent {
		byID[sent[i].ID] = sent[i]
		c.send(&sent[i])
	}
	for range sent {
		m := c.receive()
		wantOperations(t, byID[m.RequestID()], m, f.last().Root)
	}
	if id.refusals() != 0 || value(t, s.opts.Metrics.connections) != 1 {
		t.Errorf("%d refusals", id.refusals())
	}
}

// A write that is interrupted must not end what TLS knows of the stream.
func TestASlowReaderOverTLSGetsEverything(t *testing.T) {
	f := newFixture(t, anyFixed, 30, 400, 32)
	synctest.Test(t, func(t *testing.T) {
		var o Options
		id := secured(t, &o)
		l := newPipes()
		start(t, f, o, l)
		c := id.over(dial(t, l, anyFixed))
		c.conn.SetDeadline(time.Time{})
		c.target()
		ask := wire.GetOperations{ID: 7, Size: f.last().Size, Max: 10_000}
		c.send(&ask)
		time.Sleep(10 * paceTick) // the writer is stuck, and looks how far it has come
		wantOperations(t, ask, c.receive(), f.last().Root)
		c.target()
	})
}

func TestAPeerThatNeverReadsIsCutOffUnderTLS(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 40, 32)
	synctest.Test(t, func(t *testing.T) {
		o := Options{WriteTimeout: 20 * time.Second}
		id := secured(t, &o)
		l := newPipes()
		s := start(t, f, o, l)
		c := id.over(dial(t, l, anyFixed))
		c.conn.SetDeadline(time.Time{})
		c.target()
		c.send(&wire.GetTarget{ID: 1})
		time.Sleep(o.WriteTimeout + time.Second)
		synctest.Wait()
		if value(t, s.opts.Metrics.closed[byWriteTimeout]) != 1 {
			t.Error("not cut off")
		}
	})
}

func TestHandshakesThatAreNotFinishedEnd(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	hello := func(t *testing.T, id *identities) []byte {
		a, b := net.Pipe()
		defer a.Close()
		go tls.Client(a, id.client).Handshake()
		buf := make([]byte, 4096)
		n, err := b.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return buf[:n]
	}
	for name, say := range map[string]func(t *testing.T, id *identities, c *client){
		"silence":       func(*testing.T, *identities, *client) {},
		"half a hello":  func(t *testing.T, id *identities, c *client) { b := hello(t, id); c.write(b[:len(b)/2]) },
		"a hello alone": func(t *testing.T, id *identities, c *client) { c.write(hello(t, id)) },
		"byte by byte": func(t *testing.T, id *identities, c *client) {
			for _, b := range hello(t, id) {
				if _, err := c.conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var o Options
				id := secured(t, &o)
				l := newPipes()
				s := start(t, f, o, l)
				c := dial(t, l, anyFixed)
				c.conn.SetDeadline(time.Time{})
				began := time.Now()
				say(t, id, c)
				closedAfter(c)
				if took := time.Since(began); took > handshakeTime+2*time.Second {
					t.Errorf("closed after %v", took)
				}
				synctest.Wait()
				if value(t, s.opts.Metrics.closed[byHandshake]) != 1 || id.refusals() != 1 {
					t.Errorf("not counted: %v, %d", value(t, s.opts.Metrics.closed[byHandshake]), id.refusals())
				}
			})
		})
	}
}

// Whoever only begins handshakes does not keep others out.
func TestHalfOpenHandshakesMakeRoom(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		o := Options{MaxConnections: 4}
		id := secured(t, &o)
		l := newPipes()
		s := start(t, f, o, l)
		for range 4 {
			dialFrom(t, l, hostile)
		}
		time.Sleep(spareAfter)
		c := id.over(dialFrom(t, l, honest))
		c.target()
		if got := value(t, s.opts.Metrics.connections); got != 4 {
			t.Errorf("%v connections, want 4", got)
		}
	})
}

func TestShutdownEndsTLSConnectionsInGoodOrder(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		var o Options
		id := secured(t, &o)
		l := newPipes()
		s := start(t, f, o, l)
		c := id.over(dial(t, l, anyFixed))
		c.conn.SetDeadline(time.Time{})
		c.target()
		silent := dial(t, l, anyFixed) // in the middle of a handshake
		_ = silent
		go s.Shutdown(t.Context())
		// The end of TLS is said, so it is not mistaken for a connection cut by others.
		if _, err := c.tryReceive(); !isEOF(err) {
			t.Errorf("got %v", err)
		}
		c.conn.Close()
		synctest.Wait()
		if id.refusals() != 0 {
			t.Errorf("%d refusals", id.refusals())
		}
	})
}

func TestPlaintextAndTLSTellEachOtherApart(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	var o Options
	id := secured(t, &o)
	secure, plain := listen(t), listen(t)
	start(t, f, o, secure)
	s := start(t, f, Options{}, plain)

	c := dial(t, secure, anyFixed)
	c.send(&wire.GetTarget{ID: 1})
	if b, err := c.br.Peek(3); err != nil || b[0] != 0x15 || b[1] != 3 {
		t.Errorf("a plaintext client gets % x, %v, want an alert of TLS", b, err)
	}
	eventually(t, "the refusal", func() bool { return id.refusals() == 1 })

	err := tls.Client(dial(t, plain, anyFixed).conn, id.client).Handshake()
	if _, ok := err.(tls.RecordHeaderError); !ok {
		t.Errorf("a TLS client gets %v, want no TLS", err)
	}
	eventually(t, "the end", func() bool { return value(t, s.opts.Metrics.closed[byTLS]) == 1 })
}
