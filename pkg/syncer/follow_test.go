package syncer_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/wire"
)

// never is an interval that no test lives to see the end of: what happens in
// spite of it was pushed.
const never = time.Hour

// inStep waits until the replica has all of db.
func inStep(t testing.TB, cl *client, db *database.DB) {
	t.Helper()
	until(t, "the replica is in step", func() bool { return cl.Status().Size == targetEnd(t, db) })
	equal(t, db, cl.db)
}

func TestPushedTargetIsReadableAfterOneRequest(t *testing.T) {
	for _, codec := range sourcetest.Codecs {
		t.Run(codec.String(), func(t *testing.T) {
			db := sourcetest.Writer(t, codec)
			sourcetest.Commit(t, db, 1, 3, 100)
			cl := newClient(t, codec, syncer.Options{Follow: true, SyncInterval: never, TargetInterval: never}, startServer(t, db, serve.Options{}))
			cl.run(t)
			inStep(t, cl, db)
			until(t, "following", func() bool { return cl.Status().Following && cl.Status().Phase == syncer.PhaseWaiting })
			const commits = 20
			requests := cl.metric(t, "proofsync_source_requests_total")
			for i := range uint64(commits) {
				sourcetest.Commit(t, db, 10+2*i, 1, 3)
				inStep(t, cl, db)
				until(t, "the end of the iteration", func() bool { return cl.Status().Phase == syncer.PhaseWaiting })
			}
			if n := cl.metric(t, "proofsync_source_requests_total") - requests; n != commits {
				t.Errorf("%v requests for %d commits", n, commits)
			}
			if n := cl.metric(t, "proofsync_sync_follow_duration_seconds"); n < commits {
				t.Errorf("%v of %d commits observed", n, commits)
			}
			if n := cl.logs.count(`level=INFO msg="sync completed`); n > 2 {
				t.Errorf("%d lines for operators within one interval", n)
			}
		})
	}
}

func TestSourceThatDoesNotPushIsPolledAllTheSame(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 20)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	cl := newClient(t, anyFixed, syncer.Options{Follow: true, SyncInterval: 10 * time.Millisecond}, srv.Addr)
	cl.run(t)
	for i := range uint64(5) {
		sourcetest.Commit(t, db, 10+2*i, 1, 3)
		inStep(t, cl, db)
	}
	until(t, "said that the peer is polled", func() bool { return cl.logs.count("does not push") == 1 })
	sourcetest.Commit(t, db, 100, 1, 3)
	inStep(t, cl, db)
	if n := srv.Connections.Load(); cl.Status().Following || n != 1 {
		t.Errorf("following %t, %d connections", cl.Status().Following, n)
	}
}

func TestReplicaFollowsAgainAfterTheServerWasRestarted(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 20)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cl := newClient(t, anyFixed, syncer.Options{Follow: true, SyncInterval: never, TargetInterval: never}, l.Addr().String())
	cl.run(t)
	for i := range uint64(3) {
		srv := serve.New(served{db}, serve.Options{})
		done := make(chan error, 1)
		go func() { done <- srv.Serve(context.Background(), l) }()
		sourcetest.Commit(t, db, 10+2*i, 1, 3)
		inStep(t, cl, db)
		until(t, "following", func() bool { return cl.Status().Following })
		sourcetest.Commit(t, db, 50+2*i, 1, 3)
		inStep(t, cl, db)
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		until(t, "not following", func() bool { return !cl.Status().Following })
		sourcetest.Commit(t, db, 90+2*i, 1, 3) // nobody is told of it
		if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if n := cl.logs.count("following:"); n != 1 {
		t.Errorf("said %d times that it follows", n)
	}
}

// pushing is an honest server that pushes whatever push says, again and again,
// to whoever subscribes.
func pushing(srv *sourcetest.Server, db *database.DB, every time.Duration, push func(n uint64) wire.Target) sourcetest.Handler {
	return func(c *sourcetest.Conn, m wire.Message) {
		if m.Tag() != wire.TagSubscribe {
			c.Send(sourcetest.Answer(db, m))
			return
		}
		srv.Go(func() {
			for n := uint64(0); ; n++ {
				frame, _ := wire.AppendFrame(nil, &wire.TargetPush{ID: m.RequestID(), Target: push(n)})
				if _, err := c.Write(frame); err != nil {
					return
				}
				time.Sleep(every)
			}
		})
	}
}

// targetOf is the target of a database.
func targetOf(t testing.TB, db *database.DB) wire.Target {
	v, err := db.View()
	if err != nil {
		t.Error(err)
		return wire.Target{}
	}
	defer v.Close()
	return sourcetest.Target(v)
}

func TestForgedPushesDelayAtMost(t *testing.T) {
	forgeries := map[string]func(truth wire.Target, n uint64) wire.Target{
		"a root of its own at the real size": func(truth wire.Target, n uint64) wire.Target {
			return wire.Target{Root: mmr.Digest{byte(n)}, Start: truth.Start, End: truth.End}
		},
		"a root of its own at a size of its own": func(truth wire.Target, n uint64) wire.Target {
			return wire.Target{Root: mmr.Digest{byte(n)}, Start: truth.Start, End: truth.End + 1 + n}
		},
		"a huge log": func(wire.Target, uint64) wire.Target { return wire.Target{End: mmr.MaxLeaves} },
		"a start beyond ours": func(truth wire.Target, n uint64) wire.Target {
			return wire.Target{Start: truth.End, End: truth.End + 1}
		},
		"the real root too late": func(truth wire.Target, n uint64) wire.Target { truth.End++; return truth },
		"nothing new":            func(truth wire.Target, n uint64) wire.Target { return wire.Target{Root: mmr.Digest{1}, End: 1} },
	}
	for name, forge := range forgeries {
		for _, every := range []time.Duration{0, 5 * time.Millisecond} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				db := sourcetest.Writer(t, anyFixed)
				sourcetest.Commit(t, db, 1, 1, 20)
				srv := sourcetest.Start(t, nil)
				srv.Handle(pushing(srv, db, every, func(n uint64) wire.Target { return forge(targetOf(t, db), n) }))
				cl := newClient(t, anyFixed, syncer.Options{Follow: true, SyncInterval: 20 * time.Millisecond}, srv.Addr)
				cl.run(t)
				for i := range uint64(3) {
					sourcetest.Commit(t, db, 10+2*i, 1, 3)
					inStep(t, cl, db)
				}
				if n := srv.Data.Load(); n > 2000 {
					t.Errorf("%d requests for operations", n)
				}
			})
		}
	}
}

func TestALyingPusherDoesNotKeepFromFollowingTheHonestOne(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 20)
	liar := sourcetest.Start(t, nil)
	liar.Handle(pushing(liar, db, time.Millisecond, func(n uint64) wire.Target {
		return wire.Target{Root: mmr.Digest{byte(n)}, End: 1000 + n}
	}))
	cl := newClient(t, anyFixed, syncer.Options{Follow: true, SyncInterval: never}, liar.Addr, startServer(t, db, serve.Options{}))
	cl.run(t)
	inStep(t, cl, db)
	for i := range uint64(5) {
		sourcetest.Commit(t, db, 10+2*i, 1, 3)
		inStep(t, cl, db)
	}
	if n := liar.Data.Load(); n > 200 {
		t.Errorf("the liar was asked %d times", n)
	}
}

// Pushes of what is readable already begin no iteration.
func TestPushesOfNothingNewCostNothing(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 3, 20)
	target := targetOf(t, db)
	var pushed atomic.Uint64
	srv := sourcetest.Start(t, nil)
	srv.Handle(pushing(srv, db, time.Millisecond, func(n uint64) wire.Target {
		pushed.Store(n)
		if n%2 == 1 {
			return wire.Target{Root: mmr.Digest{1}, End: 2} // older
		}
		return target
	}))
	cl := newClient(t, anyFixed, syncer.Options{Follow: true, SyncInterval: never, TargetInterval: never}, srv.Addr)
	cl.run(t)
	inStep(t, cl, db)
	until(t, "pushes", func() bool { return pushed.Load() > 50 })
	if st := cl.Status(); st.Iteration != 1 || st.Phase != syncer.PhaseWaiting || st.Target != target {
		t.Errorf("%+v", st)
	}
	if n := cl.metric(t, "proofsync_sync_target_regressions_total"); n < 20 {
		t.Errorf("%v regressions counted", n)
	}
	if n := cl.logs.count("not newer"); n != 1 {
		t.Errorf("said so %d times", n)
	}
}

// A target that is pushed while another is being completed is the next of the
// same iteration.
func TestPushDuringAnIterationIsFollowedInIt(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 20)
	first := targetOf(t, db)
	srv := sourcetest.Start(t, nil)
	release := make(chan struct{})
	held := holdData(srv, db, func(n int64) {
		if n == 1 {
			<-release
		}
	})
	subscribed := make(chan func(wire.Target), 1)
	srv.Handle(func(c *sourcetest.Conn, m wire.Message) {
		switch m.Tag() {
		case wire.TagSubscribe:
			push := func(t wire.Target) { c.Send(&wire.TargetPush{ID: m.RequestID(), Target: t}) }
			push(first)
			subscribed <- push
		default:
			held(c, m)
		}
	})
	cl := newClient(t, anyFixed, syncer.Options{Follow: true, SyncInterval: never, TargetInterval: never}, srv.Addr)
	cl.run(t)
	push := <-subscribed
	until(t, "the first request", func() bool { return srv.Data.Load() == 1 })
	sourcetest.Commit(t, db, 10, 1, 3)
	push(targetOf(t, db))
	until(t, "the push", func() bool { return cl.Status().Target == targetOf(t, db) })
	close(release)
	inStep(t, cl, db)
	if n := cl.Status().Iteration; n != 1 {
		t.Errorf("%d iterations", n)
	}
}

func TestOnceDoesNotFollow(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 20)
	var synced []syncer.Result
	cl := newClient(t, anyFixed, syncer.Options{
		Follow: true, Once: true, Synced: func(r syncer.Result) { synced = append(synced, r) },
	}, startServer(t, db, serve.Options{}))
	if err := cl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, db, cl.db)
	if len(synced) != 1 || synced[0].Size != targetEnd(t, db) || synced[0].Fetched == 0 {
		t.Errorf("told of %+v", synced)
	}
	if n := cl.metric(t, "proofsync_source_pushes_total"); n != 0 {
		t.Errorf("%v pushes", n)
	}
}
