package database

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

func TestUpdatesSeeEverythingAppliedBefore(t *testing.T) {
	c := codecs[0]
	db := openAt(t, store.MemFS(), c, true)
	defer closeDB(t, db)
	ctx := context.Background()
	key := testKey(c, 7)
	// A counter incremented by several writers.
	const writers, rounds = 4, 25
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range rounds {
				_, err := db.Update(ctx, func(v *View) (Batch, error) {
					var n uint64
					e, err := v.Get(key)
					switch {
					case err == nil:
						n = binary.BigEndian.Uint64(e.Value[24:])
					case !errors.Is(err, ErrKeyNotFound):
						return Batch{}, err
					}
					return Batch{Writes: []Write{{Key: key, Value: testValue(c, n+1)}}}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	v, _ := db.View()
	defer v.Close()
	if e, err := v.Get(key); err != nil || !bytes.Equal(e.Value, testValue(c, writers*rounds)) {
		t.Fatalf("%x %v, want %d", e.Value, err, writers*rounds)
	}
}

func TestAnUpdateThatIsRefusedWritesNothing(t *testing.T) {
	c := codecs[0]
	db := openAt(t, store.MemFS(), c, true)
	ctx := context.Background()
	before, _ := db.View()
	defer before.Close()
	refused := errors.New("refused")
	if _, err := db.Update(ctx, func(*View) (Batch, error) {
		return Batch{Writes: []Write{{Key: testKey(c, 1), Value: testValue(c, 1)}}}, refused
	}); err != refused {
		t.Fatalf("%v", err)
	}
	if _, err := db.Update(ctx, func(*View) (Batch, error) {
		return Batch{Notes: []Note{{Key: []byte("k"), Value: []byte("v")}}, Writes: []Write{{Key: []byte("short")}}}, nil
	}); !errors.Is(err, operation.ErrKeySize) {
		t.Fatalf("%v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Update(cancelled, func(*View) (Batch, error) {
		t.Error("called after its context ended")
		return Batch{}, nil
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	after, _ := db.View()
	if after.Root() != before.Root() || notesOf(t, db) != "" {
		t.Fatalf("something was written; notes %q", notesOf(t, db))
	}
	after.Close()
	closeDB(t, db)
	if _, err := db.Update(ctx, nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := db.Notes(nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func notesOf(t testing.TB, db *DB) string {
	t.Helper()
	var b strings.Builder
	err := db.Notes(func(key, value []byte) bool {
		fmt.Fprintf(&b, "%s=%s ", key, value)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func TestNotesAreKeptWithTheirCommitAndNowhereElse(t *testing.T) {
	c := codecs[0]
	ctx := context.Background()
	fs := store.MemFS()
	db, plain := openAt(t, fs, c, true), openAt(t, store.MemFS(), c, true)
	defer closeDB(t, plain)
	for i, notes := range [][]Note{
		{{Key: []byte("b"), Value: []byte("1")}, {Key: []byte("a"), Value: []byte{}}},
		{{Key: []byte("b")}, {Key: []byte("c"), Value: []byte("2")}, {Key: []byte("c"), Value: []byte("3")}},
	} {
		b := Batch{Writes: []Write{{Key: testKey(c, uint64(i)), Value: testValue(c, 1)}}}
		want, err := plain.Apply(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		b.Notes = notes
		got, err := db.Apply(ctx, b)
		if err != nil || got != want {
			t.Fatalf("%+v %v, without notes %+v", got, err, want)
		}
	}
	closeDB(t, db)
	db = openAt(t, fs, c, true)
	defer closeDB(t, db)
	if got, want := notesOf(t, db), "a= c=3"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	n := 0
	if err := db.Notes(func(_, _ []byte) bool { n++; return false }); err != nil || n != 1 {
		t.Fatalf("%d calls after a stop: %v", n, err)
	}
	for _, note := range []Note{
		{Value: []byte("no key")},
		{Key: make([]byte, MaxNoteKey+1), Value: []byte("v")},
		{Key: []byte("k"), Value: make([]byte, MaxNoteValue+1)},
	} {
		if _, err := db.Apply(ctx, Batch{Notes: []Note{note}}); !errors.Is(err, ErrNote) {
			t.Fatalf("key of %d, value of %d bytes: %v", len(note.Key), len(note.Value), err)
		}
	}
	replica := openAt(t, store.MemFS(), c, false)
	defer closeDB(t, replica)
	if got := notesOf(t, replica); got != "" {
		t.Fatal(got)
	}
}

// applyLarge is Apply of a batch that is treated as if it were a large one.
func (d *DB) applyLarge(_ context.Context, b Batch) (Commit, error) {
	d.write.Lock()
	defer d.write.Unlock()
	w, err := d.openWriter()
	if err != nil {
		return Commit{}, err
	}
	if err := w.w.Append(operation.Run{}, 1<<20); err != nil {
		return Commit{}, err
	}
	return d.applyBatches(w, []Batch{b})
}

// A note is there if and only if its commit is, wherever the power fails:
// small commits, and ones that go around the storage engine's log.
func TestNotesAndCommitsSurviveACrashTogether(t *testing.T) {
	c := operation.NewCodec(operation.Any, operation.Fixed)
	want := map[uint64]string{1: ""}
	clones := storetest.Crashes(t, func(fs store.FS) {
		db := openAt(t, fs, c, true)
		for i := range uint64(4) {
			b := Batch{
				Writes: []Write{{Key: testKey(c, i), Value: testValue(c, i)}},
				Notes:  []Note{{Key: []byte("last"), Value: fmt.Append(nil, i)}, {Key: fmt.Append(nil, i), Value: []byte("x")}},
			}
			if i > 0 {
				b.Notes = append(b.Notes, Note{Key: fmt.Append(nil, i-1)})
			}
			apply := db.Apply
			if i == 2 {
				apply = db.applyLarge
			}
			got, err := apply(context.Background(), b)
			if err != nil {
				t.Fatal(err)
			}
			want[got.Size] = fmt.Sprintf("%d=x last=%d", i, i)
		}
		closeDB(t, db)
	})
	seen := map[uint64]bool{}
	for i, fs := range clones {
		db, err := Open("db", Options{Codec: c, FS: fs, CreateIfMissing: true})
		if err != nil {
			t.Fatalf("clone %d: %v", i, err)
		}
		v, _ := db.View()
		if got, ok := want[v.Size()]; !ok || notesOf(t, db) != got {
			t.Fatalf("clone %d: notes %q at size %d, want %q", i, notesOf(t, db), v.Size(), got)
		}
		seen[v.Size()] = true
		v.Close()
		closeDB(t, db)
	}
	if len(seen) != len(want) {
		t.Fatalf("clones show the sizes %v, not all of %v", seen, want)
	}
}
