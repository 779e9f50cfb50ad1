package serve

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

// watched is a database that knows how many of its views are open.
type watched struct {
	Database
	open atomic.Int64
}

type watchedView struct {
	View
	open *atomic.Int64
}

func (w *watched) View() (View, error) {
	v, err := w.Database.View()
	if err != nil {
		return nil, err
	}
	w.open.Add(1)
	return watchedView{v, &w.open}, nil
}

func (v watchedView) Close() {
	v.View.Close()
	v.open.Add(-1)
}

func TestViewsAreHeldOnlyWhileAReplyIsBuilt(t *testing.T) {
	f := newFixture(t, anyFixed, 10, 20, 32)
	db := &watched{Database: f}
	l := listen(t)
	s := start(t, db, Options{}, l)
	c := dial(t, l, anyFixed)
	flood(c, &wire.GetOperations{Size: f.last().Size, Max: 100}) // stuck in the middle of writing
	answered := dial(t, l, anyFixed)
	answered.target()
	answered.wantRefusal(&wire.GetOperations{Size: f.last().Size - 1, Max: 1}, wire.Database)
	answered.wantRefusal(&wire.GetOperations{Size: f.last().Size + 1, Max: 1}, wire.Database)
	eventually(t, "the flood stuck", func() bool {
		return value(t, s.opts.Metrics.inflightRequests) == DefaultMaxRequestsPerConnection && db.open.Load() == 0
	})
}

func TestEveryTargetCanBeFetchedWhileTheDatabaseGrows(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	l := listen(t)
	start(t, f, Options{MaxOpsPerResponse: 70}, l)
	ctx, cancel := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer cancel()
	writer.Go(func() {
		for i := byte(0); ctx.Err() == nil; i++ {
			key := [32]byte{i, i >> 3}
			_, err := f.db.Apply(ctx, database.Batch{Writes: []database.Write{{Key: key[:], Value: key[:]}}})
			if err != nil && ctx.Err() == nil {
				t.Errorf("apply: %v", err)
				return
			}
		}
	})
	c := dial(t, l, anyFixed)
	for range 20 {
		target := c.target()
		for next := target.Start; next < target.End; {
			req := wire.GetOperations{ID: next, Size: target.End, Start: next, Max: 1000, Pins: next == target.Start}
			next += uint64(wantOperations(t, req, c.ask(&req), target.Root).Run.Len())
		}
	}
}

// A replica serves what it has: its log begins where its first sync did.
func TestReplicaServesFromItsStartOn(t *testing.T) {
	f := newFixture(t, anyFixed, 30, 5, 32)
	v, err := f.db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	base := f.commits[10].Size
	pins, err := v.Pins(base)
	if err != nil {
		t.Fatal(err)
	}
	raw, n, err := v.AppendOperations(nil, base, v.Size(), 1<<30)
	if err != nil || uint64(n) != v.Size()-base {
		t.Fatal(n, err)
	}
	run, err := anyFixed.NewRun(raw)
	if err != nil {
		t.Fatal(err)
	}
	replica := newReplica(t)
	l := listen(t)
	start(t, FromDatabase(replica), Options{}, l)
	c := dial(t, l, anyFixed)
	if text := c.wantRefusal(&wire.GetTarget{}, wire.Database); !strings.Contains(text, "not ready") {
		t.Errorf("before the first sync: %q", text)
	}
	load, err := replica.Stage(base, pins)
	if err != nil {
		t.Fatal(err)
	}
	defer load.Close()
	if err := load.Append(mmr.HashSpan(base, run), run); err != nil {
		t.Fatal(err)
	}
	if _, err := load.Publish(v.Root(), v.Size()); err != nil {
		t.Fatal(err)
	}

	if got, want := c.target(), (wire.Target{Root: v.Root(), Start: max(v.Floor(), base), End: v.Size()}); got != want {
		t.Errorf("target %v, want %v", got, want)
	}
	for _, start := range []uint64{base, base + 1, v.Size() - 1} {
		req := wire.GetOperations{Size: v.Size(), Start: start, Max: 50, Pins: true}
		wantOperations(t, req, c.ask(&req), v.Root())
	}
	text := c.wantRefusal(&wire.GetOperations{Size: v.Size(), Start: base - 1, Max: 1}, wire.Database)
	if !strings.Contains(text, "pruned") {
		t.Errorf("below the start: %q", text)
	}
	c.wantRefusal(&wire.GetOperations{Size: f.commits[5].Size, Start: 0, Max: 1}, wire.Database)
}

func TestMetricsAreNamedAndRegistered(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	NewMetrics(reg)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 25 {
		t.Errorf("%d metrics, want 25", len(families))
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "proofsync_serve_") || f.GetHelp() == "" {
			t.Errorf("%s: %q", name, f.GetHelp())
		}
		if counter := f.GetMetric()[0].GetCounter() != nil; counter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: a counter: %v", name, counter)
		}
	}
}
