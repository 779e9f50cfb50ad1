package syncer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/wire"
)

// run runs the client until the test stops it.
func (cl *client) run(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cl.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestKilledClientGoesOnWhereItWas(t *testing.T) {
	for _, published := range []bool{false, true} {
		db := sourcetest.Writer(t, anyFixed)
		sourcetest.Commit(t, db, 1, 2, 100)
		srv := sourcetest.Start(t, sourcetest.Honest(db))
		cl := newClient(t, anyFixed, syncer.Options{BatchSize: 10, MaxOutstanding: 1}, srv.Addr)
		if published {
			cl.sync(t)
		}
		size := cl.Status().Size
		end := sourcetest.Commit(t, db, 2, 4, 100).Size
		var fetched uint64
		for kills := range 3 {
			asked := srv.Data.Load()
			ctx, cancel := context.WithCancel(t.Context())
			srv.Handle(honest(db, func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
				if srv.Data.Load() > asked+8 {
					cancel()
				}
				return a
			}))
			r, err := cl.Sync(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("kill %d: %v", kills, err)
			}
			if r.Size != size {
				t.Fatalf("size %d became readable before the target was complete", r.Size)
			}
			if r.Fetched == 0 {
				t.Fatal("no progress before the kill")
			}
			fetched += r.Fetched
			cl.reopen(t)
		}
		srv.Handle(sourcetest.Honest(db))
		r := cl.sync(t)
		equal(t, db, cl.db)
		if want := end - max(size, cl.Status().Target.Start); fetched+r.Fetched != want {
			t.Errorf("%d operations fetched over all lives, %d were missing", fetched+r.Fetched, want)
		}
	}
}

func TestForkHaltsServesAndResumes(t *testing.T) {
	for name, own := range map[string]int{"longer": 3, "shorter": 1} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := twins(t, 3, 2)
			if own > 2 {
				sourcetest.Commit(t, theirs, 30, own, 30)
			} else {
				sourcetest.Commit(t, ours, 30, 2, 30)
			}
			srv := sourcetest.Start(t, sourcetest.Honest(ours))
			cl := newClient(t, anyFixed, syncer.Options{SyncInterval: 10 * time.Millisecond}, srv.Addr)
			before := cl.sync(t)
			srv.Handle(sourcetest.Honest(theirs))
			stop := cl.run(t)
			until(t, "fork", func() bool { return cl.Status().Phase == syncer.PhaseForked })
			asked := srv.Data.Load()
			until(t, "polling to go on", func() bool { return srv.Data.Load() > asked+3 })
			st := cl.Status()
			if st.Fork == nil || st.Size != before.Size || st.Root != before.Root {
				t.Fatalf("status %+v", st)
			}
			equal(t, ours, cl.db) // still served
			if n := cl.metric(t, "proofsync_sync_forks_total"); n != 1 || cl.logs.count("fork: the source") != 1 {
				t.Errorf("counted %v times, logged %d times", n, cl.logs.count("fork: the source"))
			}
			checkEvidence(t, cl, st.Fork)
			end := sourcetest.Commit(t, ours, 40, 1, 30).Size
			srv.Handle(sourcetest.Honest(ours))
			until(t, "the way back", func() bool { return cl.Status().Size == end })
			until(t, "the state to be left", func() bool { return cl.Status().Fork == nil })
			stop()
			equal(t, ours, cl.db)
		})
	}
}

// checkEvidence verifies the file as a third party would.
func checkEvidence(t testing.TB, cl *client, f *syncer.ForkError) {
	t.Helper()
	file, err := cl.fs.Open(f.Evidence)
	if err != nil {
		t.Fatalf("evidence: %v", err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Peer       string
		TargetRoot mmr.Digest   `json:"target_root"`
		Pins       []mmr.Digest `json:"peer_pins"`
		Peaks      []mmr.Digest `json:"local_peaks"`
		Start      uint64       `json:"proof_start"`
		Proof      hexBytes
		Operations hexBytes
	}
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	proof, rest, err := wire.DecodeProof(e.Proof)
	if err != nil || len(rest) != 0 {
		t.Fatal(err)
	}
	run, err := anyFixed.NewRun(e.Operations)
	if err != nil {
		t.Fatal(err)
	}
	s := mmr.HashSpan(e.Start, run)
	if len(e.Peaks) > 0 {
		err = proof.VerifyPins(s, e.Pins, e.TargetRoot)
	} else {
		err = proof.Verify(s, e.TargetRoot)
	}
	if err != nil {
		t.Errorf("the evidence proves nothing: %v", err)
	}
	if e.Peer != f.Peer || e.TargetRoot != f.Target.Root {
		t.Errorf("evidence of %s and %s", e.Peer, e.TargetRoot)
	}
}

func TestForkRebuilds(t *testing.T) {
	for _, shorter := range []bool{false, true} {
		ours, theirs := twins(t, 3, 2)
		if shorter {
			sourcetest.Commit(t, ours, 30, 3, 30)
		}
		srv := sourcetest.Start(t, sourcetest.Honest(ours))
		cl := newClient(t, anyFixed, syncer.Options{OnFork: syncer.Rebuild, BatchSize: 10, MaxOutstanding: 1}, srv.Addr)
		cl.sync(t)
		sourcetest.Commit(t, theirs, 30, 1, 30)
		// Killed in the middle of the rebuild, it goes on with it.
		ctx, cancel := context.WithCancel(t.Context())
		asked := srv.Data.Load()
		srv.Handle(honest(theirs, func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
			if srv.Data.Load() > asked+10 {
				cancel()
			}
			return a
		}))
		r, err := cl.Sync(ctx)
		if !errors.Is(err, context.Canceled) || r.Fetched == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		cl.reopen(t)
		equal(t, ours, cl.db) // the old history is served meanwhile
		srv.Handle(sourcetest.Honest(theirs))
		again := cl.sync(t)
		equal(t, theirs, cl.db)
		if again.Fetched+r.Fetched > again.Size {
			t.Errorf("%d and %d operations fetched for a log of %d", r.Fetched, again.Fetched, again.Size)
		}
		if cl.logs.count("rebuilding") == 0 || cl.Status().Fork != nil {
			t.Errorf("not said, or still in the state\n%s", cl.logs)
		}
	}
}

func TestOnceReportsAFork(t *testing.T) {
	ours, theirs := twins(t, 1, 1)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := newClient(t, anyFixed, syncer.Options{Once: true}, srv.Addr)
	cl.sync(t)
	sourcetest.Commit(t, theirs, 30, 1, 30)
	srv.Handle(sourcetest.Honest(theirs))
	var fork *syncer.ForkError
	if err := cl.Run(t.Context()); !errors.As(err, &fork) || fork.Peer != srv.Addr || fork.Evidence == "" {
		t.Errorf("got %v", err)
	}
	if p := cl.Status().Phase; p != syncer.PhaseForked {
		t.Errorf("phase %s", p)
	}
}

// What a killed client left behind may be of a target that nobody follows any
// more: it is dropped, and no fork, since it was never published.
func TestLeftoversOfAnAbandonedTargetAreDropped(t *testing.T) {
	const common, own = 3, 3
	for name, c := range map[string]struct {
		published bool
		complete  bool // up to the size of the target, but not published
		rightful  bool // of the server's history after all
	}{
		"in the making":                   {},
		"in the making, complete":         {complete: true},
		"in the making, right":            {rightful: true},
		"in the making, right, complete":  {rightful: true, complete: true},
		"beyond the size":                 {published: true},
		"beyond the size, complete":       {published: true, complete: true},
		"beyond the size, right":          {published: true, rightful: true},
		"beyond the size, right,complete": {published: true, rightful: true, complete: true},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := twins(t, common, 0)
			srv := sourcetest.Start(t, sourcetest.Honest(ours))
			cl := newClient(t, anyFixed, syncer.Options{BatchSize: 10}, srv.Addr)
			if c.published {
				cl.sync(t)
			}
			end := sourcetest.Commit(t, ours, 10, own, 30).Size
			if got := sourcetest.Commit(t, theirs, 20, own, 30).Size; got != end {
				t.Fatalf("logs of %d and %d operations", end, got)
			}
			from, upTo := theirs, end
			if c.rightful {
				from = ours
			}
			if !c.complete {
				upTo -= 17
			}
			if c.published {
				l, err := cl.db.Extend()
				if err != nil {
					t.Fatal(err)
				}
				fill(t, l, from, upTo)
			} else {
				l, err := cl.db.Stage(0, nil)
				if err != nil {
					t.Fatal(err)
				}
				fill(t, l, from, upTo)
			}
			cl.reopen(t)
			r := cl.sync(t)
			equal(t, ours, cl.db)
			if cl.metric(t, "proofsync_sync_forks_total") != 0 {
				t.Errorf("taken for a fork\n%s", cl.logs)
			}
			if want := end - upTo; c.rightful && r.Fetched != want {
				t.Errorf("%d operations fetched, %d were missing", r.Fetched, want)
			}
		})
	}
}

func TestSourceBehindUsIsNoFork(t *testing.T) {
	db, old := sourcetest.Writer(t, anyFixed), sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 5, 50)
	sourcetest.Commit(t, old, 1, 2, 50)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	cl := newClient(t, anyFixed, syncer.Options{}, srv.Addr)
	cl.sync(t)
	asked := srv.Data.Load()
	srv.Handle(sourcetest.Honest(old))
	for range 2 {
		if r := cl.sync(t); !r.Behind {
			t.Errorf("result %+v", r)
		}
	}
	if st := cl.Status(); st.Phase != syncer.PhaseBehind || srv.Data.Load() != asked || cl.logs.count("source is behind") != 1 {
		t.Errorf("status %+v, %d requests for data\n%s", st, srv.Data.Load()-asked, cl.logs)
	}
	equal(t, db, cl.db)
	sourcetest.Commit(t, db, 9, 1, 50)
	srv.Handle(sourcetest.Honest(db))
	cl.sync(t)
	equal(t, db, cl.db)
}
