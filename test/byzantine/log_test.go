package byzantine

import (
	"bytes"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

var codec = operation.NewCodec(operation.Any, operation.Fixed)

// world is what servers can tell of: the honest log, what it was before, and
// another one that is as long.
type world struct {
	honest, old, other *database.DB
}

func newWorld(t testing.TB) *world {
	w := &world{sourcetest.Writer(t, codec), sourcetest.Writer(t, codec), sourcetest.Writer(t, codec)}
	for db, salt := range map[*database.DB]uint64{w.honest: 1, w.old: 1, w.other: 77} {
		sourcetest.Commit(t, db, salt, 20, 60)
		sourcetest.Commit(t, db, salt, 6, 60) // the floor rises: targets begin above 0
	}
	for db, salt := range map[*database.DB]uint64{w.honest: 1, w.other: 77} {
		sourcetest.Commit(t, db, salt+1000, 10, 60)
	}
	a, b := w.target(t, w.honest), w.target(t, w.other)
	if a.End != b.End || a.Start != b.Start || a.Start == 0 || a.Root == b.Root {
		t.Fatalf("targets %v and %v should differ by their roots alone", a, b)
	}
	return w
}

func (w *world) target(t testing.TB, db *database.DB) wire.Target {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return sourcetest.Target(v)
}

// operationsOf are all operations that a database retains, from start on.
func operationsOf(t testing.TB, db *database.DB, start uint64) []byte {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var all []byte
	for loc := start; loc < v.Size(); {
		out, n, err := v.AppendOperations(all, loc, v.Size(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		all, loc = out, loc+uint64(n)
	}
	return all
}

// sameLog fails the test unless everything in the replica is what the honest log
// says at these locations.
func sameLog(t testing.TB, honest, replica *database.DB) {
	t.Helper()
	v, err := replica.View()
	if err != nil {
		t.Fatal(err)
	}
	start, size := v.Start(), v.Size()
	v.Close()
	want, got := operationsOf(t, honest, start), operationsOf(t, replica, start)
	if uint64(len(got)) != (size-start)*uint64(codec.Size()) || !bytes.HasPrefix(want, got) {
		t.Errorf("the replica's operations [%d, %d) are not those of the honest log", start, size)
	}
}
