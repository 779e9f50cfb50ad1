package syncer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/targets"
	"github.com/proofsync/proofsync/pkg/wire"
)

const logName = "example.org/orders"

// notes is a writer's key and the file in which replicas find what it has signed.
type notes struct {
	signer checkpoint.Signer
	trust  checkpoint.Trust
	path   string
}

func newNotes(t testing.TB) *notes {
	t.Helper()
	private, public, err := checkpoint.GenerateKey("writer")
	if err != nil {
		t.Fatal(err)
	}
	n := &notes{path: filepath.Join(t.TempDir(), "note")}
	if n.signer, err = checkpoint.ParseSigner(private); err != nil {
		t.Fatal(err)
	}
	key, err := checkpoint.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	n.trust = checkpoint.Trust{Origin: logName, Codec: anyFixed, Keys: []checkpoint.Key{key}, Quorum: 1, MaxAge: time.Hour}
	return n
}

// put signs what a database has published.
func (n *notes) put(t testing.TB, db *database.DB, epoch uint64) {
	t.Helper()
	n.putAt(t, db, epoch, time.Now())
}

func (n *notes) putAt(t testing.TB, db *database.DB, epoch uint64, at time.Time) {
	t.Helper()
	n.write(t, targetOf(t, db), epoch, at)
}

func (n *notes) write(t testing.TB, target wire.Target, epoch uint64, at time.Time) {
	t.Helper()
	note, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: logName, Target: target, Codec: anyFixed, Epoch: epoch, Time: at}, n.signer)
	if err == nil {
		err = os.WriteFile(n.path+".new", note, 0o600)
	}
	if err == nil {
		err = os.Rename(n.path+".new", n.path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// client makes a replica that follows what is signed.
func (n *notes) client(t testing.TB, o syncer.Options, addr ...string) *client {
	t.Helper()
	if o.SyncInterval == 0 {
		o.SyncInterval = 5 * time.Millisecond
	}
	return newFrontedClient(t, anyFixed, o, func(cl *client) source.Source {
		s, err := targets.New(cl.pool, cl.db, targets.Options{Places: []string{n.path}, Trust: n.trust})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, addr...)
}

// within runs one iteration that cannot succeed, until a phase is reached.
func (cl *client) until(t testing.TB, phase syncer.Phase) syncer.Status {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := cl.Sync(ctx); done <- err }()
	var st syncer.Status
	until(t, string(phase), func() bool { st = cl.Status(); return st.Phase == phase })
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("%v\n%s", err, cl.logs)
	}
	return st
}

// evidenceOf reads the file of a fork.
func evidenceOf(t testing.TB, cl *client, f *syncer.ForkError) (e struct {
	Note         string
	AcceptedNote string `json:"accepted_note"`
	Epoch        uint64
	LocalEpoch   uint64 `json:"local_epoch"`
	Proof        string
},
) {
	t.Helper()
	file, err := cl.fs.Open(f.Evidence)
	if err != nil {
		t.Fatalf("evidence: %v", err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWhatIsSignedIsFollowedAndWhatAServerSaysIsNot(t *testing.T) {
	ours, theirs := twins(t, 3, 2)
	sourcetest.Commit(t, theirs, 60, 2, 30)
	n := newNotes(t)
	n.put(t, ours, 0)
	// It names another log's target, and serves the signed one.
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		if m.Tag() == wire.TagGetTarget {
			c.Send(sourcetest.Answer(theirs, m))
			return
		}
		sourcetest.Honest(ours)(c, m)
	})
	cl := n.client(t, syncer.Options{OnFork: syncer.Rebuild}, srv.Addr)
	for range 3 {
		cl.sync(t)
		equal(t, ours, cl.db)
	}
	// It serves nothing but another log: nothing of it is stored, ever.
	sourcetest.Commit(t, ours, 70, 1, 30)
	n.put(t, ours, 0)
	srv.Handle(sourcetest.Honest(theirs))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	before := cl.Status()
	if _, err := cl.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sync: %v", err)
	}
	if st := cl.Status(); st.Root != before.Root || st.Stored != before.Stored || st.Fork != nil {
		t.Errorf("status %+v", st)
	}
	srv.Handle(sourcetest.Honest(ours))
	cl.sync(t)
	equal(t, ours, cl.db)
}

func TestAnOlderCheckpointIsAStateAcrossRestarts(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 3, 30)
	n := newNotes(t)
	n.put(t, db, 0)
	older := targetOf(t, db)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	cl := n.client(t, syncer.Options{}, srv.Addr)
	cl.sync(t)
	sourcetest.Commit(t, db, 2, 2, 30)
	n.put(t, db, 0)
	cl.sync(t)
	n.write(t, older, 0, time.Now())
	for range 2 {
		st := cl.until(t, syncer.PhaseRollback)
		if rolled, ok := errors.AsType[*checkpoint.RollbackError](st.Untrusted); !ok || rolled.Last.Target != targetOf(t, db) || st.LastError == nil {
			t.Errorf("status %+v", st)
		}
		if cl.metric(t, "proofsync_sync_rollbacks_total") != 1 || cl.metric(t, "proofsync_sync_forks_total") != 0 {
			t.Error("not counted once")
		}
		equal(t, db, cl.db)
		cl.reopen(t)
	}
	n.put(t, db, 0)
	cl.sync(t)
	if st := cl.Status(); st.Phase != syncer.PhaseWaiting || st.Untrusted != nil {
		t.Errorf("status %+v", st)
	}
}

func TestWithAStaleCheckpointTheLastRootIsServed(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 3, 30)
	n := newNotes(t)
	n.put(t, db, 0)
	cl := n.client(t, syncer.Options{}, sourcetest.Start(t, sourcetest.Honest(db)).Addr)
	cl.sync(t)
	before := cl.Status()
	sourcetest.Commit(t, db, 2, 1, 30)
	n.putAt(t, db, 0, time.Now().Add(-2*time.Hour))
	st := cl.until(t, syncer.PhaseStale)
	if !errors.As(st.Untrusted, new(*checkpoint.StaleError)) || st.Root != before.Root || st.Stalled {
		t.Errorf("status %+v", st)
	}
	if n := cl.logs.count("checkpoint not followed"); n != 1 {
		t.Errorf("said %d times", n)
	}
	n.put(t, db, 0)
	cl.sync(t)
	equal(t, db, cl.db)
}

func TestASignedForkOfTheSameEpochIsNeverRepairedAndKeptAsEvidence(t *testing.T) {
	ours, theirs := twins(t, 3, 2)
	sourcetest.Commit(t, theirs, 30, 2, 30)
	n := newNotes(t)
	n.put(t, ours, 0)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := n.client(t, syncer.Options{OnFork: syncer.Rebuild}, srv.Addr)
	cl.sync(t)
	before := cl.Status()
	first, err := os.ReadFile(n.path)
	if err != nil {
		t.Fatal(err)
	}
	srv.Handle(sourcetest.Honest(theirs))
	n.put(t, theirs, 0)
	st := cl.until(t, syncer.PhaseForked)
	if st.Fork == nil || !st.Fork.Signed || st.Root != before.Root || cl.metric(t, "proofsync_sync_rebuilds_total") != 0 {
		t.Fatalf("status %+v", st)
	}
	equal(t, ours, cl.db)
	checkEvidence(t, cl, st.Fork)
	second, err := os.ReadFile(n.path)
	if err != nil {
		t.Fatal(err)
	}
	if e := evidenceOf(t, cl, st.Fork); e.Note != string(second) || e.AcceptedNote != string(first) {
		t.Errorf("evidence %+v", e)
	}
	// What contradicts us was not accepted: the way back is open, also after a restart.
	cl.reopen(t)
	cl.until(t, syncer.PhaseForked)
	srv.Handle(sourcetest.Honest(ours))
	sourcetest.Commit(t, ours, 90, 1, 30)
	n.put(t, ours, 0)
	cl.sync(t)
	equal(t, ours, cl.db)
}

func TestTwoNotesOfOneSizeAreAForkWithoutAnyProof(t *testing.T) {
	ours, theirs := twins(t, 3, 2)
	n := newNotes(t)
	n.put(t, ours, 0)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := n.client(t, syncer.Options{OnFork: syncer.Rebuild}, srv.Addr)
	cl.sync(t)
	n.put(t, theirs, 0)
	asked := srv.Data.Load()
	st := cl.until(t, syncer.PhaseForked)
	if !st.Fork.Contradiction || st.Fork.Location != st.Size || srv.Data.Load() != asked {
		t.Errorf("fork %+v", st.Fork)
	}
	e := evidenceOf(t, cl, st.Fork)
	a, errA := checkpoint.Peek([]byte(e.Note))
	b, errB := checkpoint.Peek([]byte(e.AcceptedNote))
	if errA != nil || errB != nil || a.Target.End != b.Target.End || a.Target.Root == b.Target.Root || e.Proof != "" {
		t.Errorf("evidence %+v", e)
	}
	if n := cl.metric(t, "proofsync_sync_forks_total"); n != 1 {
		t.Errorf("%v forks", n)
	}
	cl.o.Once = true
	cl.reopen(t)
	err := cl.Run(t.Context())
	if !errors.As(err, new(*syncer.ForkError)) {
		t.Errorf("once: %v", err)
	}
	equal(t, ours, cl.db)
}

func TestADeclaredEpochIsTheOneWayBack(t *testing.T) {
	for name, own := range map[string]int{"to another history": 4, "to a shorter one": 1, "to a part of ours": 0} {
		t.Run(name, func(t *testing.T) {
			ours, restored := twins(t, 3, 0)
			sourcetest.Commit(t, ours, 10, 2, 30)
			if own > 0 {
				sourcetest.Commit(t, restored, 20, own, 30)
			}
			n := newNotes(t)
			n.put(t, ours, 0)
			srv := sourcetest.Start(t, sourcetest.Honest(ours))
			cl := n.client(t, syncer.Options{OnFork: syncer.Halt}, srv.Addr)
			cl.sync(t)
			srv.Handle(sourcetest.Honest(restored))
			n.put(t, restored, 1)
			st := cl.until(t, syncer.PhaseForked)
			if st.Fork.Epoch != 1 || st.Fork.LocalEpoch != 0 || cl.db.Epoch() != 0 {
				t.Errorf("fork %+v", st.Fork)
			}
			if e := evidenceOf(t, cl, st.Fork); e.Epoch != 1 || e.Note == "" || e.AcceptedNote == "" || e.Proof == "" {
				t.Errorf("evidence %+v", e)
			}
			equal(t, ours, cl.db)

			cl.o.OnFork = syncer.Rebuild
			cl.reopen(t)
			cl.sync(t)
			equal(t, restored, cl.db)
			if cl.db.Epoch() != 1 || cl.logs.count("follows a new epoch") != 1 {
				t.Errorf("epoch %d", cl.db.Epoch())
			}
			cl.reopen(t)
			if cl.db.Epoch() != 1 {
				t.Error("the epoch was forgotten")
			}
			sourcetest.Commit(t, restored, 30, 3, 30)
			n.put(t, restored, 1)
			cl.sync(t)
			equal(t, restored, cl.db)
			// The epoch before is over.
			srv.Handle(sourcetest.Honest(ours))
			n.put(t, ours, 0)
			cl.until(t, syncer.PhaseRollback)
			equal(t, restored, cl.db)
			// And the same does not work twice.
			sourcetest.Commit(t, ours, 40, 9, 30)
			n.put(t, ours, 1)
			cl.until(t, syncer.PhaseForked)
			equal(t, restored, cl.db)
		})
	}
}

func TestAnEpochThatChangesNoHistoryIsRecorded(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 3, 30)
	n := newNotes(t)
	n.put(t, db, 0)
	cl := n.client(t, syncer.Options{}, sourcetest.Start(t, sourcetest.Honest(db)).Addr)
	cl.sync(t)
	n.put(t, db, 3)
	cl.sync(t)
	if cl.db.Epoch() != 3 {
		t.Errorf("epoch %d", cl.db.Epoch())
	}
	sourcetest.Commit(t, db, 2, 1, 30)
	n.put(t, db, 4)
	cl.sync(t)
	if equal(t, db, cl.db); cl.db.Epoch() != 4 || cl.metric(t, "proofsync_sync_forks_total") != 0 {
		t.Errorf("epoch %d", cl.db.Epoch())
	}
}

func TestAReplicaThatLostItsDataStillHoldsTheLogToWhatItAccepted(t *testing.T) {
	ours, theirs := twins(t, 3, 2)
	n := newNotes(t)
	n.put(t, ours, 0)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := n.client(t, syncer.Options{OnFork: syncer.Rebuild}, srv.Addr)
	cl.sync(t)
	note, err := cl.db.ReadCheckpoint()
	if err != nil || note == nil {
		t.Fatal(err)
	}
	cl.stop(t)
	cl.fs = store.MemFS()
	cl.start(t, anyFixed)
	if err := cl.db.KeepCheckpoint(note); err != nil {
		t.Fatal(err)
	}
	cl.reopen(t)

	sourcetest.Commit(t, theirs, 50, 2, 30)
	srv.Handle(sourcetest.Honest(theirs))
	n.put(t, theirs, 0)
	st := cl.until(t, syncer.PhaseForked)
	if st.Size != 0 || st.Stored != 0 || st.Fork.Location != targetOf(t, ours).End {
		t.Errorf("status %+v", st)
	}
	if kept, _ := cl.db.ReadCheckpoint(); !bytes.Equal(kept, note) {
		t.Error("the note of the other history was accepted")
	}
	sourcetest.Commit(t, ours, 60, 1, 30)
	srv.Handle(sourcetest.Honest(ours))
	n.put(t, ours, 0)
	cl.sync(t)
	equal(t, ours, cl.db)
}

func TestWhatWasAcceptedAndNotCompletedBindsTheNextTarget(t *testing.T) {
	ours, theirs := twins(t, 3, 20)
	n := newNotes(t)
	n.put(t, ours, 0)
	srv := sourcetest.Start(t, nil)
	cl := n.client(t, syncer.Options{BatchSize: 10, MaxOutstanding: 1}, srv.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	srv.Handle(honest(ours, func(_ *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
		if srv.Data.Load() > 5 {
			cancel()
		}
		return a
	}))
	if _, err := cl.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	note, _ := cl.db.ReadCheckpoint()
	if c, err := checkpoint.Peek(note); err != nil || c.Target != targetOf(t, ours) {
		t.Fatalf("not accepted before it was relied on: %q, %v", note, err)
	}
	cl.reopen(t)
	// So far both histories are the same.
	sourcetest.Commit(t, theirs, 50, 1, 30)
	srv.Handle(sourcetest.Honest(theirs))
	n.put(t, theirs, 0)
	if st := cl.until(t, syncer.PhaseForked); st.Fork.Location != targetOf(t, ours).End {
		t.Errorf("fork %+v", st.Fork)
	}
	if cl.Status().Size != 0 {
		t.Error("something became readable")
	}
}

func TestAStaticTargetIsReachedAndThenNothingMore(t *testing.T) {
	db, theirs := twins(t, 3, 2)
	target := targetOf(t, db)
	sourcetest.Commit(t, db, 50, 2, 30)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	cl := newFrontedClient(t, anyFixed, syncer.Options{OnFork: syncer.Rebuild}, func(cl *client) source.Source {
		return targets.NewStatic(cl.pool, target)
	}, srv.Addr)
	cl.sync(t)
	asked := srv.Data.Load()
	for range 3 {
		if r := cl.sync(t); r.Size != target.End || r.Root != target.Root {
			t.Errorf("result %+v", r)
		}
	}
	if srv.Data.Load() != asked {
		t.Error("and still something was fetched")
	}
	// A target of another history is a fork that no policy follows.
	target = targetOf(t, theirs)
	srv.Handle(sourcetest.Honest(theirs))
	cl.reopen(t)
	if st := cl.until(t, syncer.PhaseForked); !strings.Contains(st.Fork.Error(), "no new epoch was declared") {
		t.Error(st.Fork)
	}
}

func TestADifferentHistoryDoesNotReplaceDamagedDataUnnoticed(t *testing.T) {
	for _, policy := range []syncer.ForkPolicy{syncer.Halt, syncer.Rebuild} {
		ours, theirs := twins(t, 3, 2)
		sourcetest.Commit(t, theirs, 30, 2, 30)
		srv := sourcetest.Start(t, sourcetest.Honest(ours))
		cl := newClient(t, anyFixed, syncer.Options{OnFork: policy, SyncInterval: 5 * time.Millisecond}, srv.Addr)
		cl.sync(t)
		cl.db.NoteDamage(0, &store.CorruptError{Where: "a block", Err: errors.New("broken by the test")})
		srv.Handle(sourcetest.Honest(theirs))
		if policy == syncer.Rebuild {
			cl.sync(t)
			equal(t, theirs, cl.db)
		} else {
			st := cl.until(t, syncer.PhaseForked)
			if st.Size != 0 || st.Fork.Location != targetOf(t, ours).End {
				t.Errorf("status %+v", st)
			}
			checkEvidence(t, cl, st.Fork)
			srv.Handle(sourcetest.Honest(ours))
			sourcetest.Commit(t, ours, 40, 1, 30)
			cl.sync(t)
			equal(t, ours, cl.db)
			if cl.logs.count("rebuilt: the new data continues what was damaged") != 1 {
				t.Error("not said that it is the old history")
			}
		}
		if n := cl.metric(t, "proofsync_sync_forks_total"); n != 1 {
			t.Errorf("%s: %v forks\n%s", policy, n, cl.logs)
		}
	}
}

// TestARestartDoesNotForgetWhatWasLostWithDamagedData: neither another history nor an
// older one takes its place unnoticed.
func TestARestartDoesNotForgetWhatWasLostWithDamagedData(t *testing.T) {
	ours, theirs := twins(t, 3, 2)
	sourcetest.Commit(t, theirs, 30, 2, 30)
	srv := sourcetest.Start(t, sourcetest.Honest(ours))
	cl := newClient(t, anyFixed, syncer.Options{SyncInterval: 5 * time.Millisecond}, srv.Addr)
	cl.sync(t)
	lost := targetOf(t, ours)
	cl.db.NoteDamage(0, &store.CorruptError{Where: "a block", Err: errors.New("broken by the test")})
	if _, err := cl.db.Quarantine(); err != nil {
		t.Fatal(err)
	}
	srv.Handle(sourcetest.Honest(theirs))
	for range 2 { // restarts
		cl.reopen(t)
		if st := cl.until(t, syncer.PhaseForked); st.Size != 0 || st.Fork.Location != lost.End {
			t.Errorf("status %+v", st)
		}
	}
	srv.Handle(sourcetest.Honest(ours))
	sourcetest.Commit(t, ours, 40, 1, 30)
	cl.reopen(t)
	cl.sync(t)
	equal(t, ours, cl.db)
	if cl.logs.count("rebuilt: the new data continues what was damaged") != 1 {
		t.Errorf("not said that it is the old history\n%s", cl.logs)
	}
	if l, err := cl.db.Lost(); err != nil || l.Size != 0 {
		t.Errorf("still remembered: %+v, %v", l, err)
	}
}
