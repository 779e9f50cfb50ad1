package syncer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/wire"
)

// raiseFloor writes the same keys again until the floor is above size.
func raiseFloor(t testing.TB, db *database.DB, size uint64) {
	t.Helper()
	for floor := uint64(0); floor <= size; {
		sourcetest.Commit(t, db, 1, 2, 20)
		v, err := db.View()
		if err != nil {
			t.Fatal(err)
		}
		floor = v.Floor()
		v.Close()
	}
}

// refuseBelow is an honest server that has nothing below start any more.
func refuseBelow(db *database.DB, start uint64) sourcetest.Handler {
	return honest(db, func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		if m.Start < start {
			return &wire.Error{ID: m.ID, Code: wire.Database, Text: "pruned"}
		}
		return a
	})
}

// The target moves past everything stored: a new generation begins. Whether it
// continues the old one is asked first, and said if nobody knows.
func TestTargetBeyondWhatIsStoredIsLinkedOrSaidNotToBe(t *testing.T) {
	for _, pruned := range []bool{false, true} {
		db := sourcetest.Writer(t, anyFixed)
		sourcetest.Commit(t, db, 1, 2, 20)
		srv := sourcetest.Start(t, sourcetest.Honest(db))
		cl := newClient(t, anyFixed, syncer.Options{}, srv.Addr)
		size := cl.sync(t).Size
		raiseFloor(t, db, size+100)
		missing := 0.0
		if pruned {
			missing = 1
			srv.Handle(refuseBelow(db, size+1))
		}
		r := cl.sync(t)
		equal(t, db, cl.db)
		if live(t, cl.db) != 40 {
			t.Errorf("%d live keys, 40 were written", live(t, cl.db))
		}
		if r.Fetched >= r.Size {
			t.Error("fetched what is below the target's start")
		}
		if n := cl.metric(t, "proofsync_sync_history_links_missing_total"); n != missing || cl.logs.count("history link missing") != int(missing) {
			t.Errorf("pruned %t: said %v times that the link is missing\n%s", pruned, n, cl.logs)
		}
	}
}

// A reset server whose floor has passed our size is a fork like any other.
func TestForkWhoseTargetBeginsBeyondWhatIsStored(t *testing.T) {
	for _, policy := range []syncer.ForkPolicy{syncer.Halt, syncer.Rebuild} {
		t.Run(string(policy), func(t *testing.T) {
			ours, theirs := sourcetest.Writer(t, anyFixed), sourcetest.Writer(t, anyFixed)
			sourcetest.Commit(t, ours, 5, 2, 20)
			srv := sourcetest.Start(t, sourcetest.Honest(ours))
			cl := newClient(t, anyFixed, syncer.Options{Once: true, OnFork: policy}, srv.Addr)
			raiseFloor(t, theirs, cl.sync(t).Size+1)
			srv.Handle(sourcetest.Honest(theirs))
			err := cl.Run(t.Context())
			if cl.metric(t, "proofsync_sync_forks_total") != 1 || cl.logs.count("history link missing") != 0 {
				t.Errorf("not taken for a fork\n%s", cl.logs)
			}
			if policy == syncer.Rebuild {
				if err != nil {
					t.Fatal(err)
				}
				equal(t, theirs, cl.db)
				return
			}
			var fork *syncer.ForkError
			if !errors.As(err, &fork) {
				t.Fatalf("got %v", err)
			}
			checkEvidence(t, cl, fork)
			equal(t, ours, cl.db)
		})
	}
}

// What a rebuild has in the making does not take the place of our history once
// the policy is to halt.
func TestHaltStopsARebuildInTheMaking(t *testing.T) {
	ours, theirs := twins(t, 1, 1)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := newClient(t, anyFixed, syncer.Options{Once: true}, srv.Addr)
	cl.sync(t)
	end := sourcetest.Commit(t, theirs, 30, 1, 30).Size
	l, err := cl.db.Stage(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, theirs, end-10)
	cl.reopen(t)
	srv.Handle(sourcetest.Honest(theirs))
	var fork *syncer.ForkError
	if err := cl.Run(t.Context()); !errors.As(err, &fork) {
		t.Errorf("got %v", err)
	}
	equal(t, ours, cl.db)
}

// resetServer is a replica whose history begins above 0, and a server that was
// reset and is still below that.
func resetServer(t *testing.T, o syncer.Options) (cl *client, srv *sourcetest.Server, old *database.DB) {
	db, fresh := sourcetest.Writer(t, anyFixed), sourcetest.Writer(t, anyFixed)
	raiseFloor(t, db, 100)
	sourcetest.Commit(t, fresh, 9, 1, 5)
	srv = sourcetest.Start(t, sourcetest.Honest(db))
	cl = newClient(t, anyFixed, o, srv.Addr)
	cl.sync(t)
	srv.Handle(sourcetest.Honest(fresh))
	return cl, srv, db
}

func TestTargetThatCannotBeComparedIsNoSync(t *testing.T) {
	cl, srv, db := resetServer(t, syncer.Options{SyncInterval: 10 * time.Millisecond})
	synced, completed := cl.Status().LastSync, cl.metric(t, "proofsync_sync_completed_total")
	stop := cl.run(t)
	until(t, "the state", func() bool { return cl.Status().Incomparable != nil })
	polled := cl.Status().TargetTime
	until(t, "polling to go on", func() bool { return cl.Status().TargetTime.After(polled.Add(30 * time.Millisecond)) })
	st := cl.Status()
	if st.Phase != syncer.PhaseBehind || !st.LastSync.Equal(synced) || st.LastError == nil {
		t.Errorf("status %+v", st)
	}
	if cl.metric(t, "proofsync_sync_completed_total") != completed || cl.logs.count("cannot be compared") != 1 {
		t.Errorf("counted as completed, or not said once\n%s", cl.logs)
	}
	sourcetest.Commit(t, db, 50, 1, 10)
	srv.Handle(sourcetest.Honest(db))
	until(t, "the way back", func() bool { return cl.Status().Size == targetEnd(t, db) && cl.Status().Incomparable == nil })
	stop()
}

func TestOnceReportsATargetThatCannotBeCompared(t *testing.T) {
	cl, srv, _ := resetServer(t, syncer.Options{Once: true})
	var e *syncer.IncomparableError
	if err := cl.Run(t.Context()); !errors.As(err, &e) || e.Peer != srv.Addr {
		t.Errorf("got %v", err)
	}
}

func TestOnceCompletesWithTheSourceThatIsNotForked(t *testing.T) {
	ours, theirs := twins(t, 1, 1)
	old, fresh := sourcetest.Start(t, sourcetest.Honest(ours)), sourcetest.Start(t, sourcetest.Honest(ours))
	cl := newClient(t, anyFixed, syncer.Options{Once: true}, old.Addr, fresh.Addr)
	cl.sync(t)
	sourcetest.Commit(t, ours, 40, 1, 30)
	sourcetest.Commit(t, theirs, 30, 1, 30)
	old.Handle(sourcetest.Honest(theirs))
	for range 4 { // whichever is asked first
		if err := cl.Run(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, cl.logs)
		}
		equal(t, ours, cl.db)
		sourcetest.Commit(t, ours, 41, 1, 3)
		cl.reopen(t)
	}
	fresh.Handle(sourcetest.Honest(theirs))
	var fork *syncer.ForkError
	if err := cl.Run(t.Context()); !errors.As(err, &fork) {
		t.Errorf("both are forked: %v", err)
	}
}

// A source that flips between two histories is neither filed nor logged each time.
func TestForksOfASourceThatFlipsAreFiledOnce(t *testing.T) {
	ours, theirs := twins(t, 1, 1)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := newClient(t, anyFixed, syncer.Options{SyncInterval: time.Millisecond, TargetInterval: time.Millisecond}, srv.Addr)
	cl.sync(t)
	stop := cl.run(t)
	files := make(map[string]bool)
	for i := range 5 {
		sourcetest.Commit(t, theirs, uint64(30+i), 1, 30)
		srv.Handle(sourcetest.Honest(theirs))
		until(t, "fork", func() bool { return cl.Status().Fork != nil })
		files[cl.Status().Fork.Evidence] = true
		srv.Handle(sourcetest.Honest(ours))
		until(t, "the way back", func() bool { return cl.Status().Fork == nil })
	}
	stop()
	if n := cl.metric(t, "proofsync_sync_forks_total"); n < 5 {
		t.Errorf("%v forks counted", n)
	}
	if n := cl.logs.count("fork: the source"); n != 1 || len(files) != 1 {
		t.Errorf("logged %d times, evidence %v", n, files)
	}
}

// A source that cannot be reached may still be the one that completes: the
// deadline ends the wait, with the fork as the reason.
func TestOnceWithAForkAndAnUnreachableSourceEndsByItsDeadline(t *testing.T) {
	ours, theirs := twins(t, 1, 1)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := newClient(t, anyFixed, syncer.Options{Once: true}, srv.Addr, "127.0.0.1:1")
	cl.sync(t)
	sourcetest.Commit(t, theirs, 30, 1, 30)
	srv.Handle(sourcetest.Honest(theirs))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var fork *syncer.ForkError
	if err := cl.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &fork) {
		t.Errorf("got %v", err)
	}
}
