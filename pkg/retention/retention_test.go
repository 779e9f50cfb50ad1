package retention

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a database of the family any whose floor follows its size.
type fixture struct {
	t   *testing.T
	fs  store.FS
	db  *database.DB
	now time.Time
	log bytes.Buffer
	n   uint64
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, fs: store.MemFS(), now: time.Unix(1_700_000_000, 0)}
	f.open()
	t.Cleanup(func() { f.db.Close() })
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	var err error
	f.db, err = database.Open("db", database.Options{Codec: operation.NewCodec(operation.Any, operation.Fixed), FS: f.fs, CreateIfMissing: true})
	if err != nil {
		f.t.Fatal(err)
	}
}

// grow adds about 600 operations a batch; the floor stays within a few batches.
func (f *fixture) grow(batches int) {
	f.t.Helper()
	for range batches {
		var b database.Batch
		for i := range uint64(300) {
			f.n++
			key, value := make([]byte, 32), make([]byte, 32)
			binary.BigEndian.PutUint64(key, i)
			binary.BigEndian.PutUint64(value, f.n)
			b.Writes = append(b.Writes, database.Write{Key: key, Value: value})
		}
		if _, err := f.db.Apply(context.Background(), b); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) loop(policy string, reg prometheus.Registerer) *Loop {
	f.t.Helper()
	p, err := ParsePolicy(policy)
	if err != nil {
		f.t.Fatal(err)
	}
	return New(f.db, Options{
		Policy: p, Interval: 5 * time.Millisecond, Metrics: NewMetrics(reg),
		Logger: slog.New(slog.NewTextHandler(&f.log, nil)), now: func() time.Time { return f.now },
	})
}

func (f *fixture) tick(l *Loop) {
	f.t.Helper()
	if err := l.Tick(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// state is size, floor and start.
func (f *fixture) state() (size, floor, start uint64) {
	f.t.Helper()
	v, err := f.db.View()
	if err != nil {
		f.t.Fatal(err)
	}
	defer v.Close()
	return v.Size(), v.Floor(), v.Start()
}

func (f *fixture) done() bool {
	f.t.Helper()
	s, err := f.db.Pruning()
	if err != nil {
		f.t.Fatal(err)
	}
	return s.Done()
}

func TestSoManyOperationsBelowTheFloorAreKept(t *testing.T) {
	f := newFixture(t)
	reg := prometheus.NewPedanticRegistry()
	l := f.loop("1000", reg)
	f.grow(1)
	f.tick(l)
	if _, _, start := f.state(); start != 0 || f.log.Len() > 0 {
		t.Fatalf("start %d, log %q", start, &f.log)
	}
	for range 3 {
		f.grow(8)
		f.tick(l)
		_, floor, start := f.state()
		if start > floor-1000 || start <= floor-1000-256 || !f.done() {
			t.Fatalf("floor %d, start %d, done %v", floor, start, f.done())
		}
	}
	if n := strings.Count(f.log.String(), "pruned operations"); n != 3 {
		t.Errorf("%d lines for 3 runs:\n%s", n, &f.log)
	}
	_, _, start := f.state()
	if got := value(t, l.o.Metrics.pruned); got != float64(start) {
		t.Errorf("%v operations counted, %d pruned", got, start)
	}
	if got := value(t, l.o.Metrics.pending); got != 0 {
		t.Errorf("%v operations pending", got)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 6 {
		t.Fatal(len(families), err)
	}
	for _, x := range families {
		if !strings.HasPrefix(x.GetName(), "proofsync_retention_") || x.GetHelp() == "" {
			t.Errorf("%s: %q", x.GetName(), x.GetHelp())
		}
	}
}

func TestEverythingIsKeptByDefaultButLeftoversGo(t *testing.T) {
	f := newFixture(t)
	f.grow(10)
	l := f.loop("all", nil)
	f.tick(l)
	if _, _, start := f.state(); start != 0 {
		t.Fatalf("start %d", start)
	}
	// An earlier process had another policy, and ended early.
	if _, err := f.db.Retain(2000); err != nil {
		t.Fatal(err)
	}
	f.tick(l)
	if _, _, start := f.state(); start != 1792 || !f.done() {
		t.Fatalf("start %d, done %v", start, f.done())
	}
}

func TestAgesAreKeptAcrossRestarts(t *testing.T) {
	f := newFixture(t)
	l := f.loop("100s", nil)
	var sizes []uint64
	for range 6 {
		f.grow(3)
		f.tick(l)
		size, _, start := f.state()
		if sizes = append(sizes, size); start != 0 {
			t.Fatalf("start %d before anything is old", start)
		}
		f.now = f.now.Add(15 * time.Second)
	}
	// 90 seconds have passed. Another process goes on.
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f.open()
	l = f.loop("100s", nil)
	f.tick(l)
	if _, _, start := f.state(); start != 0 {
		t.Fatalf("start %d before anything is old", start)
	}
	f.now = f.now.Add(10 * time.Second)
	f.tick(l)
	if _, _, start := f.state(); start != database.PruneTo(sizes[0]) {
		t.Fatalf("start %d, the log had size %d 100 seconds ago", start, sizes[0])
	}
	f.now = f.now.Add(32 * time.Second)
	f.tick(l)
	if _, _, start := f.state(); start != database.PruneTo(sizes[2]) {
		t.Fatalf("start %d, the log had size %d 102 seconds ago", start, sizes[2])
	}
	// What is live stays, however old.
	f.now = f.now.Add(time.Hour)
	f.tick(l)
	if _, floor, start := f.state(); start != database.PruneTo(floor) {
		t.Fatalf("start %d, floor %d", start, floor)
	}
}

func TestAReaderThatHoldsUpPruningIsNamedOnce(t *testing.T) {
	f := newFixture(t)
	f.grow(10)
	old, err := f.db.View()
	if err != nil {
		t.Fatal(err)
	}
	l := f.loop("1", nil)
	for range 5 {
		f.tick(l)
		f.now = f.now.Add(30 * time.Second)
	}
	if n := strings.Count(f.log.String(), "waits for a reader"); n != 1 || f.done() {
		t.Errorf("%d lines, done %v:\n%s", n, f.done(), &f.log)
	}
	if b, p := value(t, l.o.Metrics.blocked), value(t, l.o.Metrics.pending); b != 1 || p == 0 {
		t.Errorf("blocked %v, pending %v", b, p)
	}
	if _, err := old.Pins(0); err != nil {
		t.Error(err)
	}
	old.Close()
	f.tick(l)
	if b, p := value(t, l.o.Metrics.blocked), value(t, l.o.Metrics.pending); b != 0 || p != 0 || !f.done() {
		t.Errorf("blocked %v, pending %v, done %v", b, p, f.done())
	}
}

func TestTheLoopRunsUntilItIsStoppedOrTheDatabaseIs(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	l := f.loop("500", nil)
	changed := f.db.Changed()
	go func() { ended <- l.Run(ctx) }()
	f.grow(10)
	for {
		if _, _, start := f.state(); start > 0 {
			break
		}
		select {
		case <-changed:
			changed = f.db.Changed()
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was pruned")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	l = f.loop("500", nil)
	go func() { ended <- l.Run(t.Context()) }()
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAReplicaBeforeItsFirstSyncIsLeftAlone(t *testing.T) {
	db, err := database.Open("db", database.Options{Codec: operation.NewCodec(operation.Any, operation.Fixed), FS: store.MemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := New(db, Options{Policy: Policy{age: time.Second}}).Tick(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := db.Retain(1); !errors.Is(err, database.ErrEmpty) {
		t.Error(err)
	}
}
