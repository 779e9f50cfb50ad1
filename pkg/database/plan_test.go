package database

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestBatchesAppliedTogetherAreAsIfAppliedOneByOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := rapid.SampledFrom(codecs).Draw(rt, "codec")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		one, many := openAt(t, store.MemFS(), c, true), openAt(t, store.MemFS(), c, true)
		defer closeDB(t, one)
		defer closeDB(t, many)
		many.writer.ahead = rapid.SampledFrom([]int{1, 8, aheadKeys}).Draw(rt, "ahead")
		m := newModel(c)
		for range rapid.IntRange(1, 5).Draw(rt, "groups") {
			var together []Batch
			var want Commit
			for range rapid.IntRange(1, 8).Draw(rt, "batches") {
				b := randomBatch(c, m, rng)
				b.Floor = nil // the model knows nothing of batches that are reduced
				b.OnlyChanges = rng.IntN(2) == 0
				if len(b.Writes) == 0 {
					b.Policy = FloorPolicy{retain: 1 + rng.Uint64N(50)}
				}
				together = append(together, b)
				got, err := one.Apply(context.Background(), b)
				if err != nil {
					rt.Fatal(err)
				}
				want = Commit{got.Size, got.Floor, got.Root, want.Commits + got.Commits, want.Operations + got.Operations, add(want.Outcome, got.Outcome)}
			}
			got, err := many.ApplyAll(context.Background(), together)
			if err != nil {
				rt.Fatal(err)
			}
			if got != want {
				rt.Fatalf("together %+v, one by one %+v", got, want)
			}
		}
		if !slices.Equal(entries(rt, one), entries(rt, many)) {
			rt.Fatal("they have other values")
		}
	})
}

// A large raise looks at as much as the one before passed, and learns nothing of one
// that ran out of what is live.
func TestRaisesLearnHowMuchTheyPass(t *testing.T) {
	for x, want := range map[passing]int{
		{10, 9}:            1248, // a ninth is dead, an eighth to spare
		{1000, 1000}:       1123,
		{3000, 1000}:       3371,
		{1 << 40, 1000}:    8991, // eight times as many at most
		{5 * 1000, 1 << 5}: 8991,
	} {
		if got := x.window(999); got != want {
			t.Errorf("%v: a window of %d for 999 moves, want %d", x, got, want)
		}
	}
	if got := (passing{3, 1}).window(lastRaise); got != lastRaise {
		t.Errorf("a window of %d, want at most %d", got, lastRaise)
	}

	d := openAt(t, store.MemFS(), anyFixed, true)
	defer closeDB(t, d)
	d.writer.ahead = 100
	const keys = 1000
	update := func(from, to int, remove bool) passing {
		t.Helper()
		var b Batch
		for i := from; i < to; i++ {
			w := Write{Key: testKey(anyFixed, uint64(i)), Value: testValue(anyFixed, uint64(i)), Delete: remove}
			b.Writes = append(b.Writes, w)
		}
		if _, err := d.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		return d.writer.passing
	}
	if got := update(0, keys, false); got != firstPassing { // nothing was there to be moved
		t.Errorf("learnt %v of new keys", got)
	}
	first := update(0, 200, false) // a fifth of the keys, which lie here and there
	if first.moves != 201 || first.locations < 230 || first.locations > 270 {
		t.Errorf("learnt %v of 200 updates of %d keys", first, keys)
	}
	if got := update(0, 50, false); got != first {
		t.Errorf("learnt %v of a small batch", got)
	}
	if got := update(0, 990, true); got != first {
		t.Errorf("learnt %v of a batch that leaves next to nothing", got)
	}
}

func add(a, b Outcome) Outcome {
	return Outcome{
		Written: a.Written + b.Written, Deleted: a.Deleted + b.Deleted, Bytes: a.Bytes + b.Bytes,
		Unchanged: a.Unchanged + b.Unchanged, Absent: a.Absent + b.Absent, Conflicts: a.Conflicts + b.Conflicts,
	}
}

func entries(t rapid.TB, db *DB) (all []string) {
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Scan(nil, nil, func(key []byte, e Entry) bool {
		all = append(all, string(key)+"="+string(e.Value))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNoneOfSeveralBatchesIsAppliedIfOneIsRefused(t *testing.T) {
	for _, c := range codecs {
		db := openAt(t, store.MemFS(), c, true)
		defer closeDB(t, db)
		good := Batch{Writes: []Write{{Key: testKey(c, 1), Value: testValue(c, 1)}}}
		bad, want := Batch{Writes: []Write{{Key: make([]byte, 1<<20), Value: testValue(c, 1)}}}, operation.ErrKeySize
		if c.Family() == operation.Immutable {
			floor := uint64(1 << 40) // which is seen when the others are planned already
			bad, want = Batch{Floor: &floor}, ErrFloor
		}
		_, err := db.ApplyAll(context.Background(), []Batch{good, good, bad})
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "batch 3 of 3: ") {
			t.Errorf("%s: %v", c, err)
		}
		v, err := db.View()
		if err != nil || v.Size() != 1 {
			t.Fatalf("size %d after a refusal, %v", v.Size(), err)
		}
		v.Close()
		if got, err := db.ApplyAll(context.Background(), nil); err != nil || got.Size != 1 || got.Commits != 0 {
			t.Errorf("no batches: %+v %v", got, err)
		}
		if got, err := db.ApplyAll(context.Background(), []Batch{good, good}); err != nil || got.Commits != 2 {
			t.Errorf("%+v %v", got, err)
		}
	}
}

func TestABatchThatChangesNothingLeavesNoNotes(t *testing.T) {
	for _, c := range codecs {
		db := openAt(t, store.MemFS(), c, true)
		defer closeDB(t, db)
		writes := []Write{{Key: testKey(c, 1), Value: testValue(c, 1)}}
		_, err := db.ApplyAll(context.Background(), []Batch{
			{Writes: writes, Notes: []Note{{Key: []byte("first"), Value: []byte("1")}}},
			{Writes: writes, OnlyChanges: true, Notes: []Note{{Key: []byte("second"), Value: []byte("2")}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var notes []string
		if err := db.Notes(func(key, _ []byte) bool { notes = append(notes, string(key)); return true }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(notes, []string{"first"}) {
			t.Errorf("%s: notes %q", c, notes)
		}
	}
}

func TestKeysAreFoundByStepsThatDouble(t *testing.T) {
	var keys [][]byte
	for i := range 200 {
		keys = append(keys, []byte{byte(i), 1})
	}
	for from := range len(keys) + 1 {
		for k := range 256 {
			for _, key := range [][]byte{{byte(k)}, {byte(k), 1}, {byte(k), 2}} {
				want := from
				for want < len(keys) && string(keys[want]) < string(key) {
					want++
				}
				if got := advance(keys, from, key); got != want {
					t.Fatalf("from %d to %x: %d, not %d", from, key, got, want)
				}
			}
		}
	}
}
