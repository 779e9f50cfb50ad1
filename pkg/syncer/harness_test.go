package syncer_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/space"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/syncer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served lets a real server answer from a real database.
type served struct{ *database.DB }

func (s served) View() (serve.View, error) {
	v, err := s.DB.View()
	if err != nil {
		return nil, err
	}
	return v, nil
}

// startServer serves db on a free port until the test ends.
func startServer(t testing.TB, db *database.DB, o serve.Options) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := serve.New(served{db}, o)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// logs is a log output that tests can look into while it is written.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(s))
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// client is a replica, its pool and its syncer.
type client struct {
	*syncer.Syncer
	db   *database.DB
	fs   store.FS
	pool *source.Pool
	reg  *prometheus.Registry
	logs *logs
	o    syncer.Options
	addr []string
	room *space.Guard // nil: for everything

	front func(*client) source.Source // of the pool; nil: the pool itself
}

// newClient makes a replica of the servers at addr, in memory. Its timeouts
// are short; o may say otherwise.
func newClient(t testing.TB, c operation.Codec, o syncer.Options, addr ...string) *client {
	t.Helper()
	return newFrontedClient(t, c, o, nil, addr...)
}

// newFrontedClient is newClient with somebody else before the pool.
func newFrontedClient(t testing.TB, c operation.Codec, o syncer.Options, front func(*client) source.Source, addr ...string) *client {
	t.Helper()
	cl := &client{fs: store.MemFS(), logs: new(logs), addr: addr, o: o, front: front}
	cl.start(t, c)
	t.Cleanup(func() { cl.stop(t) })
	return cl
}

func (cl *client) start(t testing.TB, c operation.Codec) {
	t.Helper()
	cl.reg = prometheus.NewRegistry()
	log := slog.New(slog.NewTextHandler(cl.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	db, err := database.Open("db", database.Options{Codec: c, FS: cl.fs, Space: cl.room})
	if err != nil {
		t.Fatal(err)
	}
	var peers []source.Source
	m := source.NewMetrics(cl.reg)
	for _, a := range cl.addr {
		peers = append(peers, source.NewPeer(a, source.PeerOptions{Codec: c, Timeout: 300 * time.Millisecond, Logger: log, Metrics: m}))
	}
	o := cl.o
	o.Logger, o.Metrics = log, syncer.NewMetrics(cl.reg)
	if o.TargetInterval == 0 {
		o.TargetInterval = 10 * time.Millisecond
	}
	cl.db, cl.pool = db, source.NewPool(peers, source.PoolOptions{Logger: log, Metrics: m})
	var src source.Source = cl.pool
	if cl.front != nil {
		src = cl.front(cl)
	}
	cl.Syncer = syncer.New(db, src, o)
}

func (cl *client) stop(t testing.TB) {
	if cl.db == nil {
		return
	}
	cl.pool.Close()
	if err := cl.db.Close(); err != nil {
		t.Errorf("close replica: %v", err)
	}
	cl.db = nil
}

// reopen ends the process, as far as the replica can tell, and starts it again.
func (cl *client) reopen(t testing.TB) {
	t.Helper()
	c := cl.db.Codec()
	cl.stop(t)
	cl.start(t, c)
}

// sync runs one iteration, which must succeed within some seconds.
func (cl *client) sync(t testing.TB) syncer.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := cl.Sync(ctx)
	if err != nil {
		t.Fatalf("sync: %v\n%s", err, cl.logs)
	}
	return r
}

// metric is the sum of a metric over its labels.
func (cl *client) metric(t testing.TB, name string) (sum float64) {
	t.Helper()
	families, err := cl.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
		return sum
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// equal fails the test unless both databases are the same at their newest state:
// root, size, and what can be read.
func equal(t testing.TB, want, got *database.DB) {
	t.Helper()
	a, err := want.View()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := got.View()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if a.Root() != b.Root() || a.Size() != b.Size() || a.Floor() != b.Floor() {
		t.Fatalf("replica has root %s at %d, the server %s at %d", b.Root(), b.Size(), a.Root(), a.Size())
	}
	first := func(v *database.View) (all []string) {
		if err := v.Scan(nil, nil, func(k []byte, e database.Entry) bool {
			all = append(all, string(k)+"="+string(e.Value))
			return len(all) < 100
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	// Every live key of any lies above the floor; immutable has some below as well.
	all := b.Start() == 0 || b.Codec().Family() == operation.Any
	if x, y := first(a), first(b); all && !slices.Equal(x, y) || len(y) == 0 && a.Size() > 1 {
		t.Fatalf("%d keys read as %q, on the server %d as %q", len(y), y, len(x), x)
	}
}

// beside runs subtests that mostly wait, more at a time than there are cores.
type beside struct {
	wg    sync.WaitGroup
	slots chan struct{}
}

func newBeside() *beside { return &beside{slots: make(chan struct{}, 16)} }

func (b *beside) run(t *testing.T, name string, fn func(t *testing.T)) {
	b.slots <- struct{}{}
	b.wg.Go(func() {
		defer func() { <-b.slots }()
		t.Run(name, fn)
	})
}

func (b *beside) wait() { b.wg.Wait() }

// until waits for a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

var anyFixed = sourcetest.Codecs[0]
