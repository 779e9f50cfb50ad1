package database

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

func TestAWriterOpensAfterACrashAtAnyWrite(t *testing.T) {
	c := operation.NewCodec(operation.Any, operation.Fixed)
	acked := map[mmr.Digest]bool{}
	var last Commit
	clones := storetest.Crashes(t, func(fs store.FS) {
		db := openAt(t, fs, c, true)
		v, _ := db.View()
		acked[v.Root()] = true
		v.Close()
		for i := range uint64(3) {
			got, err := db.Apply(context.Background(), Batch{Writes: []Write{{Key: testKey(c, i), Value: testValue(c, i)}}})
			if err != nil {
				t.Fatal(err)
			}
			acked[got.Root], last = true, got
		}
		closeDB(t, db)
	})
	for i, fs := range clones {
		db, err := Open("db", Options{Codec: c, FS: fs, CreateIfMissing: true})
		if err != nil {
			t.Fatalf("clone %d of %d: %v", i, len(clones), err)
		}
		v, _ := db.View()
		if !acked[v.Root()] || i == len(clones)-1 && v.Root() != last.Root {
			t.Fatalf("clone %d: root at size %d was never acknowledged, or is not the last one", i, v.Size())
		}
		v.Close()
		if _, err := db.Apply(context.Background(), Batch{}); err != nil {
			t.Fatalf("clone %d: %v", i, err)
		}
		closeDB(t, db)
	}
	t.Logf("%d clones", len(clones))
}

func TestAReplicaOpensAfterACrashAtAnyWrite(t *testing.T) {
	c := operation.NewCodec(operation.Any, operation.Fixed)
	src := openAt(t, store.MemFS(), c, true)
	defer closeDB(t, src)
	var ws []Write
	for i := range uint64(400) {
		ws = append(ws, Write{Key: testKey(c, i), Value: testValue(c, i)})
	}
	first, err := src.Apply(context.Background(), Batch{Writes: ws})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := src.View()
	defer v.Close()
	rng := rand.New(rand.NewPCG(5, 5))
	clones := storetest.Crashes(t, func(fs store.FS) {
		replica := openAt(t, fs, c, false)
		for _, start := range []uint64{0, v.Floor()} { // the second generation replaces the first
			pins, err := v.Pins(start)
			if err != nil {
				t.Fatal(err)
			}
			l, err := replica.Stage(start, pins)
			if err != nil {
				t.Fatal(err)
			}
			feed(t, src, l, first.Size, first.Root, rng)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		closeDB(t, replica)
	})
	published := 0
	for i, fs := range clones {
		replica, err := Open("db", Options{Codec: c, FS: fs})
		if err != nil {
			t.Fatalf("clone %d of %d: %v", i, len(clones), err)
		}
		r, err := replica.View()
		switch {
		case errors.Is(err, ErrEmpty) && published == 0:
		case err != nil:
			t.Fatalf("clone %d: %v after something was published", i, err)
		case r.Root() != first.Root:
			t.Fatalf("clone %d: shows root %s", i, r.Root())
		default:
			if i%2 == 0 { // clones without unsynced data only ever gain
				published++
			}
			if _, err := r.Get(testKey(c, 7)); err != nil {
				t.Fatalf("clone %d: %v", i, err)
			}
			r.Close()
		}
		// Whatever is left, the sync goes on.
		l, err := replica.ContinueStaged()
		if errors.Is(err, ErrEmpty) {
			if l, err = replica.Extend(); errors.Is(err, ErrEmpty) {
				l, err = replica.Stage(0, nil)
			}
		}
		if err != nil {
			t.Fatalf("clone %d: %v", i, err)
		}
		feed(t, src, l, first.Size, first.Root, rng)
		l.Close()
		closeDB(t, replica)
	}
	t.Logf("%d clones", len(clones))
}

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
