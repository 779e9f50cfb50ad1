package database

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// checkPruned compares what a view shows, at every retained size, with the
// model, and asks for what it must not show.
func checkPruned(t testing.TB, v *View, m *model, sizes map[uint64]mmr.Digest) {
	t.Helper()
	start := v.Start()
	looked := 0
	for size, root := range sizes {
		if size > v.Size() {
			continue
		}
		if size <= start {
			if _, err := v.RootAt(size); !errors.Is(err, ErrPruned) {
				t.Fatalf("root at pruned size %d, start %d: %v", size, start, err)
			}
			continue
		}
		at, err := v.At(size)
		if floor := m.ops[size-1].Floor; floor < start {
			if !errors.Is(err, ErrPruned) {
				t.Fatalf("state %d with floor %d, retained from %d: %v", size, floor, start, err)
			}
			continue
		}
		if err != nil || at.Root() != root {
			t.Fatalf("state %d: %v", size, err)
		}
		if looked++; looked > 3 { // which ones, the map's order decides
			at.Close()
			continue
		}
		live := m.at(size)
		scanned := 0
		err = at.Scan(nil, nil, func(key []byte, e Entry) bool {
			loc, ok := live[string(key)]
			if !ok || e.Location != uint64(loc) || e.Location < start || !bytes.Equal(e.Value, m.ops[loc].Value) {
				t.Fatalf("state %d: scan shows key %x at %d, start %d", size, key, e.Location, start)
			}
			scanned++
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for key, loc := range live {
			e, err := at.Get([]byte(key))
			if uint64(loc) < start {
				if m.codec.Family() == operation.Any || !errors.Is(err, ErrKeyNotFound) {
					t.Fatalf("state %d: key %x at pruned location %d: %v", size, key, loc, err)
				}
				continue
			}
			if scanned--; err != nil || e.Location != uint64(loc) || !bytes.Equal(e.Value, m.ops[loc].Value) {
				t.Fatalf("state %d: key %x: %+v %v, want location %d", size, key, e, err, loc)
			}
		}
		if scanned != 0 {
			t.Fatalf("state %d: a scan shows %d keys too many", size, scanned)
		}
		if err := v.Changes(size, func(Change) bool { return true }); err != nil {
			t.Fatalf("changes since %d: %v", size, err)
		}
		at.Close()
	}
	if start == 0 {
		return
	}
	if _, _, err := v.AppendOperations(nil, start-1, start, 1000); !errors.Is(err, ErrPruned) {
		t.Fatalf("operation below %d: %v", start, err)
	}
	if _, err := v.Prove(v.Size(), start-1, start+1); !errors.Is(err, ErrPruned) {
		t.Fatalf("proof below %d: %v", start, err)
	}
	if _, err := v.Pins(start - 1); !errors.Is(err, ErrPruned) {
		t.Fatalf("pins below %d: %v", start, err)
	}
}

// prune retains from start on and deletes everything below.
func prune(t testing.TB, db *DB, start uint64) uint64 {
	t.Helper()
	got, err := db.Retain(start)
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, err := db.PruneStep(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s.Done() {
			return got
		}
	}
}

func TestWhatIsRetainedReadsAndProvesAsBefore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := rapid.SampledFrom(codecs).Draw(rt, "codec")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		fs := store.MemFS()
		db := openAt(t, fs, c, true)
		m := newModel(c)
		sizes := map[uint64]mmr.Digest{1: m.root()}
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			b := randomBatch(c, m, rng)
			m.apply(b.Writes, b.Metadata, b.Floor)
			got, err := db.Apply(context.Background(), b)
			if err != nil {
				rt.Fatal(err)
			}
			if got.Root != m.root() || got.Floor != m.floor() {
				rt.Fatalf("%+v, model: floor %d, root %s", got, m.floor(), m.root())
			}
			sizes[got.Size] = got.Root
			if rng.IntN(3) == 0 {
				if _, err := db.Retain(rng.Uint64N(m.floor() + 300)); err != nil {
					rt.Fatal(err)
				}
			}
			for range rng.IntN(2) {
				if _, err := db.PruneStep(context.Background()); err != nil {
					rt.Fatal(err)
				}
			}
			if rng.IntN(4) == 0 {
				closeDB(t, db)
				db = openAt(t, fs, c, true)
			}
		}
		floor := m.floor()
		// Before anything is deleted nothing of it is shown any more.
		if _, err := db.Retain(floor - rng.Uint64N(floor+1)); err != nil {
			rt.Fatal(err)
		}
		retained, err := db.View()
		if err != nil {
			rt.Fatal(err)
		}
		checkPruned(t, retained, m, sizes)
		retained.Close()
		start := prune(t, db, floor-rng.Uint64N(floor+1))
		v, err := db.View()
		if err != nil {
			rt.Fatal(err)
		}
		if v.Start() != start || start > floor {
			rt.Fatalf("start %d, retained from %d, floor %d", v.Start(), start, floor)
		}
		checkPruned(t, v, m, sizes)
		v.Close()
		proves(t, db, sizes, rng)
		closeDB(t, db)
		if b, ti, x := storetest.Below(t, fs, "db/gen-000001", start); b+ti+x > 0 {
			rt.Fatalf("below %d: %d bundles, %d tiles, %d index entries left", start, b, ti, x)
		}
		db = openAt(t, fs, c, false)
		check(t, db, m)
		proves(t, db, sizes, rng)
		closeDB(t, db)
	})
}

// turnKey is key number i of 300.
func turnKey(c operation.Codec, i uint64) []byte {
	if c.Encoding() == operation.Fixed {
		return testKey(c, i)
	}
	return fmt.Appendf(nil, "key %d", i)
}

// grow applies batches of 300 writes of keys in turn, so that the floor of the
// family any goes along, and returns the model.
func grow(t testing.TB, db *DB, m *model, batches int, sizes map[uint64]mmr.Digest) {
	t.Helper()
	for range batches {
		var b Batch
		for i := range uint64(300) {
			b.Writes = append(b.Writes, Write{Key: turnKey(m.codec, i), Value: testValue(m.codec, uint64(m.size())+i)})
		}
		m.apply(b.Writes, nil, nil)
		got, err := db.Apply(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		sizes[got.Size] = got.Root
	}
}

func TestAnOpenViewKeepsWhatItShows(t *testing.T) {
	c := codecs[0]
	fs := store.MemFS()
	db := openAt(t, fs, c, true)
	m, sizes := newModel(c), map[uint64]mmr.Digest{}
	grow(t, db, m, 6, sizes)
	old, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(sizes)
	changed := db.Changed()
	start, err := db.Retain(old.Floor())
	if err != nil || start == 0 {
		t.Fatal(start, err)
	}
	select {
	case <-changed:
	default:
		t.Error("the new start was not made known")
	}
	now, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	if now.Start() != start || now.Root() != old.Root() || now.Size() != old.Size() || old.Start() != 0 {
		t.Fatalf("start %d, size %d, root %s after retaining from %d", now.Start(), now.Size(), now.Root(), start)
	}
	at, err := old.At(700)
	if err == nil || !errors.Is(err, ErrNotBoundary) {
		t.Fatal(at, err)
	}
	s, err := db.PruneStep(context.Background())
	if err != nil || s.Limit != 0 || s.Unpruned != 0 || s.Done() {
		t.Fatalf("with a view open: %+v %v", s, err)
	}
	checkPruned(t, old, m, before)
	checkPruned(t, now, m, before)
	grow(t, db, m, 3, sizes)
	checkPruned(t, old, m, before)

	// A state of the past, taken from the view, holds as much as it.
	past, err := old.At(anySize(before))
	if err != nil {
		t.Fatal(err)
	}
	old.Close()
	if s, err := db.PruneStep(context.Background()); err != nil || s.Unpruned != 0 {
		t.Fatalf("with a state of the past open: %+v %v", s, err)
	}
	past.Close()
	if s, err := db.PruneStep(context.Background()); err != nil || !s.Done() {
		t.Fatalf("with no old view open: %+v %v", s, err)
	}
	checkPruned(t, now, m, before)
	now.Close()
	closeDB(t, db)
	if b, ti, x := storetest.Below(t, fs, "db/gen-000001", start); b+ti+x > 0 {
		t.Fatalf("below %d: %d bundles, %d tiles, %d index entries left", start, b, ti, x)
	}
}

func anySize(sizes map[uint64]mmr.Digest) uint64 {
	for size := range sizes {
		return size
	}
	return 0
}

// A load holds the right to write for as long as a replica follows; pruning
// does not wait for its end.
func TestAReplicaIsPrunedWhileItLoads(t *testing.T) {
	c := codecs[1]
	src := openAt(t, store.MemFS(), c, true)
	m, sizes := newModel(c), map[uint64]mmr.Digest{}
	rng := rand.New(rand.NewPCG(3, 4))
	fs := store.MemFS()
	replica := openAt(t, fs, c, false)
	l, err := replica.Stage(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	grow(t, src, m, 8, sizes)
	feed(t, src, l, uint64(m.size()), m.root(), rng)
	start := prune(t, replica, m.floor())
	if start == 0 || l.Start() != 0 {
		t.Fatal(start, l.Start())
	}
	grow(t, src, m, 8, sizes)
	feed(t, src, l, uint64(m.size()), m.root(), rng)
	v, err := replica.View()
	if err != nil || v.Start() != start || l.Start() != start {
		t.Fatalf("after more of the load: %v, load from %d", err, l.Start())
	}
	checkPruned(t, v, m, sizes)
	v.Close()
	second := prune(t, replica, m.floor())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// And goes on as a writer.
	grow(t, replica, m, 2, sizes)
	closeDB(t, replica)
	if b, ti, x := storetest.Below(t, fs, "db/gen-000001", second); b+ti+x > 0 || second <= start {
		t.Fatalf("below %d: %d bundles, %d tiles, %d index entries left", second, b, ti, x)
	}
	replica = openAt(t, fs, c, false)
	check(t, replica, m)
	proves(t, replica, sizes, rng)
	closeDB(t, replica)
	closeDB(t, src)
}

func TestPruningGoesOnAfterACrashAtAnyWrite(t *testing.T) {
	c := codecs[0]
	m, sizes := newModel(c), map[uint64]mmr.Digest{}
	var floors []uint64
	clones := storetest.Crashes(t, func(fs store.FS) {
		db := openAt(t, fs, c, true)
		for range 2 {
			grow(t, db, m, 2, sizes)
			floors = append(floors, prune(t, db, m.floor()))
		}
		closeDB(t, db)
	})
	rng := rand.New(rand.NewPCG(1, 1))
	starts := map[uint64]bool{0: true}
	for _, f := range floors {
		starts[f] = true
	}
	for i, fs := range clones {
		if i%4 > 1 { // of each kind of clone every other one
			continue
		}
		db := openAt(t, fs, c, true)
		v, err := db.View()
		if err != nil {
			t.Fatal(err)
		}
		size := v.Size()
		if root, ok := sizes[size]; size > 1 && (!ok || v.Root() != root) || !starts[v.Start()] {
			t.Fatalf("clone %d of %d: size %d, start %d, root %s", i, len(clones), size, v.Start(), v.Root())
		}
		at, start := &model{codec: c, ops: m.ops[:size], known: m.known}, PruneTo(v.Floor())
		at.live = m.at(size)
		v.Close()
		check(t, db, at)
		if got := prune(t, db, start); got != start {
			t.Fatalf("clone %d: pruned to %d, want %d", i, got, start)
		}
		proves(t, db, map[uint64]mmr.Digest{size: at.root()}, rng)
		closeDB(t, db)
		if b, ti, x := storetest.Below(t, fs, "db/gen-000001", start); b+ti+x > 0 {
			t.Fatalf("clone %d: below %d: %d bundles, %d tiles, %d index entries left", i, start, b, ti, x)
		}
	}
	t.Logf("%d clones", len(clones))
}

func TestPruningWritingAndReadingAtTheSameTime(t *testing.T) {
	c := codecs[0]
	fs := store.MemFS()
	db := openAt(t, fs, c, true)
	m, sizes := newModel(c), map[uint64]mmr.Digest{}
	grow(t, db, m, 2, sizes)
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for ctx.Err() == nil {
			v, err := db.View()
			if err != nil {
				t.Errorf("view: %v", err)
				return
			}
			if _, err := db.Retain(v.Floor()); err != nil {
				t.Errorf("retain: %v", err)
			}
			v.Close()
			if _, err := db.PruneStep(context.Background()); err != nil {
				t.Errorf("prune: %v", err)
			}
		}
	})
	for range 2 {
		tasks.Go(func() {
			last := uint64(0)
			for ctx.Err() == nil {
				v, err := db.View()
				if err != nil {
					t.Errorf("view: %v", err)
					return
				}
				if v.Start() < last {
					t.Errorf("the start went back from %d to %d", last, v.Start())
				}
				last = v.Start()
				if _, err := v.Get(testKey(c, 7)); err != nil {
					t.Errorf("get at %d from %d: %v", v.Size(), v.Start(), err)
				}
				if _, err := v.Prove(v.Size(), v.Start(), v.Size()); err != nil {
					t.Errorf("prove at %d from %d: %v", v.Size(), v.Start(), err)
				}
				v.Close()
			}
		})
	}
	grow(t, db, m, 25, sizes)
	cancel()
	tasks.Wait()
	check(t, db, m)
	closeDB(t, db)
	db = openAt(t, fs, c, false)
	check(t, db, m)
	closeDB(t, db)
}
