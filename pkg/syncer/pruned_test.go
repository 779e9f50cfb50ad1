package syncer_test

import (
	"context"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// pruneAll deletes everything a database may do without.
func pruneAll(t testing.TB, db *database.DB) (start uint64) {
	t.Helper()
	start, err := db.Retain(1 << 60)
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, err := db.PruneStep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Done() {
			return start
		}
	}
}

func TestAReplicaWhoseEndWasPrunedStartsOverAtTheFloor(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 2, 20)
	cl := newClient(t, anyFixed, syncer.Options{}, startServer(t, db, serve.Options{}))
	size := cl.sync(t).Size
	raiseFloor(t, db, size+600)
	start := pruneAll(t, db)
	if start <= size {
		t.Fatalf("pruned to %d, the replica has %d operations", start, size)
	}
	r := cl.sync(t)
	equal(t, db, cl.db)
	if r.Fetched >= r.Size || live(t, cl.db) != 40 {
		t.Errorf("fetched %d of %d operations, %d live keys", r.Fetched, r.Size, live(t, cl.db))
	}
	if n := cl.metric(t, "proofsync_sync_history_links_missing_total"); n != 1 {
		t.Errorf("said %v times that the link is missing\n%s", n, cl.logs)
	}
	// From here on both are pruned, and the replica goes on where it is.
	sourcetest.Commit(t, db, 1, 2, 20)
	cl.sync(t)
	pruneAll(t, cl.db)
	raiseFloor(t, db, start+900)
	before := r.Size
	if r = cl.sync(t); r.Fetched > r.Size-before {
		t.Errorf("fetched %d operations to get from %d to %d", r.Fetched, before, r.Size)
	}
	equal(t, db, cl.db)
	if live(t, cl.db) != 40 {
		t.Errorf("%d live keys", live(t, cl.db))
	}
}

func TestASyncWhoseRangeIsPrunedMeanwhileStartsOverAtTheFloor(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 10, 300)
	addr := startServer(t, db, serve.Options{MaxOpsPerResponse: 20})
	cl := newClient(t, anyFixed, syncer.Options{BatchSize: 20, MaxOutstanding: 1}, addr)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := cl.Sync(ctx)
		ended <- err
	}()
	until(t, "a part", func() bool { return cl.db.Loads().Staged })
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	size := v.Size()
	v.Close()
	raiseFloor(t, db, size+300)
	if start := pruneAll(t, db); start <= size {
		t.Fatalf("pruned to %d of %d", start, size)
	}
	if err := <-ended; err != nil { // finds out, and goes on, by itself
		t.Fatalf("sync: %v\n%s", err, cl.logs)
	}
	r := cl.sync(t)
	equal(t, db, cl.db)
	if r.Size <= size {
		t.Errorf("synced to %d, the server was at %d before it pruned", r.Size, size)
	}
}
