package byzantine

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// timeout is how long a client waits for an answer.
	timeout = 400 * time.Millisecond
	// inFlight is what answers under way may occupy at a client, in bytes.
	inFlight = 256 << 10
)

// trusted is a pool in front of which stands a target that is believed.
type trusted struct {
	*source.Pool
	mu     sync.Mutex
	target wire.Target
	roots  map[mmr.Digest]bool // of all targets there were
}

func (s *trusted) set(t wire.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = t
	s.roots[t.Root] = true
}

func (s *trusted) knows(root mmr.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roots[root]
}

func (s *trusted) Target(context.Context) (source.Target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return source.Target{Target: s.target, Peer: "trusted"}, nil
}

// client is a replica on disk that follows servers towards trusted targets, and
// is watched while it does.
type client struct {
	*syncer.Syncer
	dir  string
	src  *trusted
	db   *database.DB
	reg  *prometheus.Registry
	logs *logs

	stop  chan struct{}
	watch sync.WaitGroup
}

// logs is a log that is read after it was written.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// tail is the end of the log.
func (l *logs) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b.Bytes()
	return string(b[max(0, len(b)-4000):])
}

func newClient(t testing.TB, target wire.Target, servers ...string) *client {
	t.Helper()
	c := &client{
		dir: filepath.Join(t.TempDir(), "db"), reg: prometheus.NewRegistry(), logs: new(logs), stop: make(chan struct{}),
	}
	log := slog.New(slog.NewTextHandler(c.logs, nil))
	var err error
	if c.db, err = database.Open(c.dir, database.Options{Codec: codec}); err != nil {
		t.Fatal(err)
	}
	metrics := source.NewMetrics(c.reg)
	var peers []source.Source
	for _, addr := range servers {
		peers = append(peers, source.NewPeer(addr, source.PeerOptions{Codec: codec, Timeout: timeout, Logger: log, Metrics: metrics}))
	}
	c.src = &trusted{Pool: source.NewPool(peers, source.PoolOptions{Logger: log, Metrics: metrics}), roots: make(map[mmr.Digest]bool)}
	c.src.set(target)
	c.Syncer = syncer.New(c.db, c.src, syncer.Options{
		BatchSize: 40, MaxOutstanding: 16, MaxInflightBytes: inFlight,
		TargetInterval: 10 * time.Millisecond, SyncInterval: 10 * time.Millisecond,
		Logger: log, Metrics: syncer.NewMetrics(c.reg),
	})
	c.watch.Go(func() { c.guard(t) })
	t.Cleanup(func() { c.close(t) })
	return c
}

// guard looks all the time at what can be read, and what is held in memory.
func (c *client) guard(t testing.TB) {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		if v, err := c.db.View(); err == nil {
			if !c.src.knows(v.Root()) {
				t.Errorf("root %s at %d can be read, which nobody vouched for", v.Root(), v.Size())
			}
			v.Close()
		}
		// One answer at a time may exceed the budget.
		if n := c.metric(t, "proofsync_sync_in_flight_bytes"); n > inFlight+64<<10 {
			t.Errorf("%.0f bytes of answers in flight, allowed are %d", n, inFlight)
		}
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
	}
}

// close ends the client; it may be called again.
func (c *client) close(t testing.TB) {
	if c.db == nil {
		return
	}
	close(c.stop)
	c.watch.Wait()
	if err := c.src.Close(); err != nil {
		t.Errorf("close sources: %v", err)
	}
	if err := c.db.Close(); err != nil {
		t.Errorf("close replica: %v", err)
	}
	c.db = nil
}

// follow syncs for as long as given, or until the trusted target is readable.
func (c *client) follow(t testing.TB, limit time.Duration) (done bool) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for ctx.Err() == nil && !c.complete() {
		if _, err := c.Sync(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("the client gave up: %v", err)
			return false
		}
	}
	return c.complete()
}

// complete says whether the trusted target, or one that it had meanwhile, is readable.
func (c *client) complete() bool {
	want, _ := c.src.Target(context.Background())
	v, err := c.db.View()
	if err != nil {
		return false
	}
	defer v.Close()
	return v.Root() == want.Root && v.Size() == want.End
}

// metric is the sum of a metric over its labels.
func (c *client) metric(t testing.TB, name string) (sum float64) {
	families, err := c.reg.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// inspect closes the client and looks at what is on its disk: it has to be whole,
// and to be the honest log.
func (c *client) inspect(t testing.TB, honest *database.DB) {
	t.Helper()
	c.close(t)
	report, err := fsck.Check(context.Background(), c.dir, fsck.Options{})
	if err != nil || !report.Clean() {
		t.Fatalf("fsck: %v, %+v", err, report)
	}
	db, err := database.Open(c.dir, database.Options{Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sameLog(t, honest, db)
}
