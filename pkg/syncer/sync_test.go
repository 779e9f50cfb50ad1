package syncer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
)

func TestReplicaBecomesTheServersDatabase(t *testing.T) {
	for _, c := range sourcetest.Codecs {
		for _, batch := range []int{1, 50, 1000} {
			t.Run(fmt.Sprintf("%s, %d operations a request", c, batch), func(t *testing.T) {
				t.Parallel()
				db := sourcetest.Writer(t, c)
				batches := 6
				if batch == 1 {
					batches = 1
				}
				sourcetest.Commit(t, db, 1, batches, 97)
				sourcetest.Commit(t, db, 1, batches, 20) // some of the keys again, so that floors rise
				cl := newClient(t, c, syncer.Options{BatchSize: batch}, startServer(t, db, serve.Options{}))
				r := cl.sync(t)
				equal(t, db, cl.db)
				if r.Published != 1 || r.Fetched == 0 || r.Behind {
					t.Errorf("result %+v", r)
				}
				// What was written after a sync comes with the next one.
				sourcetest.Commit(t, db, 7, 2, 30)
				if r = cl.sync(t); r.Fetched > 200 {
					t.Errorf("%d operations fetched, only the new ones were missing", r.Fetched)
				}
				equal(t, db, cl.db)
				cl.reopen(t)
				equal(t, db, cl.db)
			})
		}
	}
}

func TestFreshDatabaseOfOneCommitIsSynced(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	cl := newClient(t, anyFixed, syncer.Options{}, startServer(t, db, serve.Options{}))
	cl.sync(t)
	equal(t, db, cl.db)
}

func TestUpToDateReplicaAsksForNoData(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 5, 50)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	cl := newClient(t, anyFixed, syncer.Options{}, srv.Addr)
	cl.sync(t)
	asked := srv.Data.Load()
	if asked == 0 {
		t.Fatal("requests are not counted")
	}
	for range 3 {
		if r := cl.sync(t); r.Fetched != 0 || r.Published != 0 {
			t.Errorf("result %+v", r)
		}
	}
	cl.reopen(t)
	cl.sync(t)
	if n := srv.Data.Load(); n != asked {
		t.Errorf("%d requests for data by an up-to-date replica", n-asked)
	}
	if st := cl.Status(); st.Phase != syncer.PhaseWaiting || st.Lag() != 0 || st.LastSync.IsZero() || st.LastError != nil {
		t.Errorf("status %+v", st)
	}
}

func TestServerThatCapsItsRepliesIsFollowed(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 10, 200)
	cl := newClient(t, anyFixed, syncer.Options{BatchSize: 5000}, startServer(t, db, serve.Options{MaxOpsPerResponse: 7}))
	cl.sync(t)
	equal(t, db, cl.db)
}

func TestAnyByteBudgetIsEnough(t *testing.T) {
	for _, c := range sourcetest.Codecs[:2] {
		db := sourcetest.Writer(t, c)
		b := database.Batch{}
		for i := range 40 {
			v := sourcetest.Digest(1, uint64(i))
			if c.Size() == 0 { // lengths that no estimate survives
				v = []byte(strings.Repeat("v", 1<<(i%18)))
			}
			b.Writes = append(b.Writes, database.Write{Key: sourcetest.Digest(2, uint64(i)), Value: v})
		}
		if _, err := db.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		addr := startServer(t, db, serve.Options{})
		for _, budget := range []int64{1, 10_000, 1 << 20} {
			t.Run(fmt.Sprintf("%s, %d bytes", c, budget), func(t *testing.T) {
				cl := newClient(t, c, syncer.Options{BatchSize: 1000, MaxInflightBytes: budget}, addr)
				cl.sync(t)
				equal(t, db, cl.db)
			})
		}
	}
}

func TestReplicaFollowsAMovingTargetAndStaysReadable(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 20, 100)
	addr := startServer(t, db, serve.Options{})
	cl := newClient(t, anyFixed, syncer.Options{BatchSize: 20, SyncInterval: 5 * time.Millisecond}, addr)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- cl.Run(ctx) }()
	until(t, "first sync", func() bool { return cl.Status().Size > 0 })
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range 50 {
			sourcetest.Commit(t, db, uint64(100+i), 1, 10)
			time.Sleep(time.Millisecond)
		}
	})
	var sizes []uint64
	for last := uint64(0); len(sizes) < 10; {
		v, err := cl.db.View()
		if err != nil {
			t.Fatalf("not readable: %v", err)
		}
		if v.Size() < last {
			t.Fatalf("size went from %d back to %d", last, v.Size())
		}
		if v.Size() > last {
			last = v.Size()
			sizes = append(sizes, last)
		}
		v.Close()
		time.Sleep(time.Millisecond)
		if st := cl.Status(); st.Size >= targetEnd(t, db) && len(sizes) > 3 {
			break
		}
	}
	writer.Wait()
	until(t, "the newest target", func() bool { return cl.Status().Size == targetEnd(t, db) })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	equal(t, db, cl.db)
	if len(sizes) < 3 {
		t.Errorf("only the sizes %v were ever readable", sizes)
	}
	if n := cl.metric(t, "proofsync_sync_forks_total") + cl.metric(t, "proofsync_sync_verification_failures_total"); n != 0 {
		t.Errorf("%v answers of an honest server were refuted\n%s", n, cl.logs)
	}
}

func targetEnd(t testing.TB, db *database.DB) uint64 {
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return v.Size()
}

func TestNewerTargetIsFollowedWithinTheIterationAfterTheFirstIsReadable(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 5, 100)
	var cl *client
	srv := sourcetest.Start(t, nil)
	var once sync.Once
	var during atomic.Uint64
	srv.Handle(holdData(srv, db, func(n int64) {
		if n == 4 { // in the middle of the sync the log grows, and that becomes known
			once.Do(func() {
				end := sourcetest.Commit(t, db, 50, 2, 100).Size
				until(t, "the newer target to be known", func() bool { return cl.Status().Target.End == end })
				during.Store(end)
			})
		}
	}))
	cl = newClient(t, anyFixed, syncer.Options{BatchSize: 10, MaxOutstanding: 2}, srv.Addr)
	r := cl.sync(t)
	if r.Published != 2 || r.Size != during.Load() {
		t.Errorf("%d targets completed up to %d, expected 2 up to %d", r.Published, r.Size, during.Load())
	}
	equal(t, db, cl.db)
}

func TestLogLinesOfAnIteration(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 10)
	addr := startServer(t, db, serve.Options{})
	cl := newClient(t, anyFixed, syncer.Options{Server: "example:8080"}, addr)
	r := cl.sync(t)
	for _, line := range []string{
		fmt.Sprintf(`level=INFO msg="starting sync" sync_iteration=1 target=%s:`, r.Root),
		`server=example:8080 batch_size=50 target_update_interval=10ms`,
		fmt.Sprintf(`level=INFO msg="sync completed successfully" sync_iteration=1 database_ops=%d root=%s sync_interval=10s`, r.Size, r.Root),
	} {
		if cl.logs.count(line) != 1 {
			t.Errorf("no line with %s in\n%s", line, cl.logs)
		}
	}
}

func TestOnceEndsAfterOneSync(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 10)
	cl := newClient(t, anyFixed, syncer.Options{Once: true}, startServer(t, db, serve.Options{}))
	if err := cl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, db, cl.db)
}

func TestOnceReportsTheDeadlineAndWhatWentWrongLast(t *testing.T) {
	cl := newClient(t, anyFixed, syncer.Options{Once: true}, "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 80*time.Millisecond)
	defer cancel()
	err := cl.Run(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	if st := cl.Status(); st.Failures == 0 || st.Phase != syncer.PhaseConnecting {
		t.Errorf("status %+v", st)
	}
}

func TestUnreachableServerDoesNotEndAContinuousClient(t *testing.T) {
	cl := newClient(t, anyFixed, syncer.Options{StallAfter: 40 * time.Millisecond}, "127.0.0.1:1")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- cl.Run(ctx) }()
	until(t, "stall", func() bool { return cl.Status().Stalled })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := cl.logs.count("sync is stalled"); n != 1 {
		t.Errorf("said %d times that it is stalled", n)
	}
	if cl.metric(t, "proofsync_sync_stalled") != 1 {
		t.Error("no metric of the stall")
	}
}

func TestLocalFailureEndsRun(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 10)
	cl := newClient(t, anyFixed, syncer.Options{}, startServer(t, db, serve.Options{}))
	cl.db.Close()
	var local *syncer.LocalError
	if err := cl.Run(t.Context()); !errors.As(err, &local) || !errors.Is(err, database.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if p := cl.Status().Phase; p != syncer.PhaseFailed {
		t.Errorf("phase %s", p)
	}
}
