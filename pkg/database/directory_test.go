package database

import (
	"errors"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestADirectoryThatLostItsCurrentFileIsCorrupt(t *testing.T) {
	c := operation.NewCodec(operation.Any, operation.Fixed)
	fs := store.MemFS()
	closeDB(t, openAt(t, fs, c, true))
	if err := fs.Remove("db/CURRENT"); err != nil {
		t.Fatal(err)
	}
	other := operation.NewCodec(operation.Immutable, operation.Fixed)
	for range 2 { // and the attempt changes nothing
		if _, err := Open("db", Options{Codec: other, FS: fs, CreateIfMissing: true}); !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("with a generation: %v", err)
		}
	}
	if err := fs.RemoveAll("db/gen-000001"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("db", Options{Codec: c, FS: fs, CreateIfMissing: true}); !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("with HEAD alone: %v", err)
	}
}

func TestTheDirectoryIsHeldUntilTheLastViewIsClosed(t *testing.T) {
	c := operation.NewCodec(operation.Any, operation.Fixed)
	fs := store.MemFS()
	db := openAt(t, fs, c, true)
	v, _ := db.View()
	closeDB(t, db)
	var locked *store.LockedError
	if _, err := Open("db", Options{Codec: c, FS: fs}); !errors.As(err, &locked) {
		t.Fatalf("opened while a view reads: %v", err)
	}
	if _, _, err := v.AppendOperations(nil, 0, 1, 100); err != nil {
		t.Fatal(err)
	}
	v.Close()
	closeDB(t, openAt(t, fs, c, false))
}
