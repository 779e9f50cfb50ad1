package database

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// at is the state of the first size operations: where each live key was written.
func (m *model) at(size uint64) map[string]int {
	live := map[string]int{}
	for loc, op := range m.ops[:size] {
		switch op.Kind {
		case operation.Update, operation.Set:
			live[string(op.Key)] = loc
		case operation.Delete:
			delete(live, string(op.Key))
		}
	}
	return live
}

// changes compares the states of two sizes: "location key value", or
// "location key -" for keys that are gone.
func (m *model) changes(from, to uint64) []string {
	before, after := m.at(from), m.at(to)
	last := map[string]int{}
	for loc, op := range m.ops[:to] {
		if op.Kind != operation.Commit {
			last[string(op.Key)] = loc
		}
	}
	var found []int
	for key, loc := range last {
		old, was := before[key]
		now, is := after[key]
		if was != is || is && !bytes.Equal(m.ops[old].Value, m.ops[now].Value) {
			found = append(found, loc)
		}
	}
	slices.Sort(found)
	var out []string
	for _, loc := range found {
		op := m.ops[loc]
		out = append(out, describe(Change{op.Key, op.Value, op.Kind == operation.Delete, uint64(loc)}))
	}
	return out
}

func describe(c Change) string {
	if c.Deleted {
		return fmt.Sprintf("%d %x -", c.Location, c.Key)
	}
	return fmt.Sprintf("%d %x %x", c.Location, c.Key, c.Value)
}

func changesOf(t testing.TB, v *View, from uint64) []string {
	t.Helper()
	var out []string
	err := v.Changes(from, func(c Change) bool {
		out = append(out, describe(c))
		return true
	})
	if err != nil {
		t.Fatalf("changes from %d to %d: %v", from, v.Size(), err)
	}
	return out
}

// boundaries are the sizes at which the model's log ends with a commit.
func (m *model) boundaries() (sizes []uint64) {
	for loc, op := range m.ops {
		if op.Kind == operation.Commit {
			sizes = append(sizes, uint64(loc)+1)
		}
	}
	return sizes
}

// randomBatch writes keys of a small set, so that they are written again with
// the values they have, deleted and created anew.
func randomBatch(c operation.Codec, m *model, rng *rand.Rand) Batch {
	var b Batch
	keys := []uint64{5, 60, 700}[rng.IntN(3)]
	for range rng.IntN([]int{3, 40, 400}[rng.IntN(3)]) {
		w := Write{Key: testKey(c, rng.Uint64N(keys)), Value: testValue(c, rng.Uint64N(3))}
		if c.Family() == operation.Any && rng.IntN(3) == 0 {
			w = Write{Key: w.Key, Delete: true}
		}
		b.Writes = append(b.Writes, w)
	}
	if rng.IntN(3) == 0 {
		b.Metadata = testValue(c, rng.Uint64N(100))
	}
	if c.Family() == operation.Immutable && rng.IntN(2) == 0 {
		f := m.floor() + rng.Uint64N(uint64(m.size())-m.floor())
		b.Floor = &f
	}
	return b
}

// checkState compares the keys of a view with those of the model at its size.
func checkState(t testing.TB, v *View, m *model) {
	t.Helper()
	live := m.at(v.Size())
	if want := m.ops[v.Size()-1].Floor; v.Floor() != want {
		t.Fatalf("floor at %d is %d, not %d", v.Size(), v.Floor(), want)
	}
	retained := 0
	for key, loc := range live {
		e, err := v.Get([]byte(key))
		if uint64(loc) < v.Start() {
			continue // immutable, below the floor
		}
		retained++
		if err != nil || e.Location != uint64(loc) || !bytes.Equal(e.Value, m.ops[loc].Value) {
			t.Fatalf("key %x at size %d: %+v %v", key, v.Size(), e, err)
		}
	}
	type row struct {
		key   string
		loc   uint64
		value string
	}
	var want, keys, scanned []row
	for key, loc := range live {
		if uint64(loc) >= v.Start() {
			want = append(want, row{key, uint64(loc), string(m.ops[loc].Value)})
		}
	}
	slices.SortFunc(want, func(a, b row) int { return cmp.Compare(a.key, b.key) })
	err := v.Keys(nil, nil, func(key []byte, loc uint64) bool {
		keys = append(keys, row{string(key), loc, string(m.ops[loc].Value)})
		return true
	})
	if err != nil || !slices.Equal(keys, want) {
		t.Fatalf("%d keys at size %d, %d expected: %v", len(keys), v.Size(), len(want), err)
	}
	err = v.Scan(nil, nil, func(key []byte, e Entry) bool {
		scanned = append(scanned, row{string(key), e.Location, string(e.Value)})
		return true
	})
	if err != nil || !slices.Equal(scanned, want) {
		t.Fatalf("scanned %d keys at size %d, %d expected: %v", len(scanned), v.Size(), len(want), err)
	}
	absent := testKey(v.Codec(), 1<<40)
	if _, there := live[string(absent)]; there {
		return
	}
	if _, err := v.Get(absent); !errors.Is(err, ErrKeyNotFound) {
		t.Fatalf("absent key: %v", err)
	}
}

func TestEveryStateOfTheHistoryIsReadableAndCompares(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
				db := openAt(t, store.MemFS(), c, true)
				defer closeDB(t, db)
				m := newModel(c)
				roots := map[uint64]mmr.Digest{1: m.root()}
				for range rapid.IntRange(1, 12).Draw(rt, "batches") {
					b := randomBatch(c, m, rng)
					m.apply(b.Writes, b.Metadata, b.Floor)
					got, err := db.Apply(context.Background(), b)
					if err != nil {
						rt.Fatal(err)
					}
					roots[got.Size] = got.Root
				}
				v, err := db.View()
				if err != nil {
					rt.Fatal(err)
				}
				defer v.Close()
				sizes := m.boundaries()
				some := slices.Clone(sizes)
				rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
				for _, size := range some[:min(len(some), 2)] {
					old, err := v.At(size)
					if err != nil {
						rt.Fatalf("at %d of %d: %v", size, v.Size(), err)
					}
					if old.Size() != size || old.Root() != roots[size] {
						rt.Fatalf("at %d: size %d root %s, want %s", size, old.Size(), old.Root(), roots[size])
					}
					checkState(t, old, m)
					for _, from := range append([]uint64{0}, sizes...) {
						if from > size {
							if err := old.Changes(from, nil); !errors.Is(err, ErrBeyond) {
								rt.Fatalf("changes from %d to %d: %v", from, size, err)
							}
							break
						}
						if from > 0 && from < size && rng.IntN(3) > 0 {
							continue
						}
						if got, want := changesOf(t, old, from), m.changes(from, size); !slices.Equal(got, want) {
							rt.Fatalf("changes from %d to %d:\n%v\nmodel:\n%v", from, size, got, want)
						}
					}
					proveState(t, old, rng)
					old.Close()
				}
			})
		})
	}
}

// proveState proves a random range of a view against its root.
func proveState(t testing.TB, v *View, rng *rand.Rand) {
	t.Helper()
	start := v.Start() + rng.Uint64N(v.Size()-v.Start())
	end := min(v.Size(), start+1+rng.Uint64N(20))
	p, err := v.Prove(v.Size(), start, end)
	if err != nil {
		t.Fatal(err)
	}
	pins, err := v.Pins(start)
	if err != nil {
		t.Fatal(err)
	}
	ops, _, err := v.AppendOperations(nil, start, end, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	run, err := v.Codec().NewRun(ops)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.VerifyPins(mmr.HashSpan(start, run), pins, v.Root()); err != nil {
		t.Fatalf("[%d, %d) at %d: %v", start, end, v.Size(), err)
	}
	if _, err := v.Prove(v.Size()+1, start, end); !errors.Is(err, ErrBeyond) {
		t.Fatalf("proved beyond the view: %v", err)
	}
}

// A replica that begins at a floor does not hold the keys of older states.
func TestAStateThatReachesBackBeforeTheStartIsPruned(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			src := openAt(t, store.MemFS(), c, true)
			defer closeDB(t, src)
			m := newModel(c)
			grow := func(n int) (last Commit) {
				for range n {
					b := randomBatch(c, m, rng)
					if c.Family() == operation.Immutable {
						f := max(m.floor(), uint64(max(0, m.size()-60)))
						b.Floor = &f
					}
					m.apply(b.Writes, b.Metadata, b.Floor)
					var err error
					if last, err = src.Apply(context.Background(), b); err != nil {
						t.Fatal(err)
					}
				}
				return last
			}
			grow(20)
			v, _ := src.View()
			start := v.Floor()
			pins, err := v.Pins(start)
			v.Close()
			if err != nil || start == 0 {
				t.Fatalf("start %d: %v", start, err)
			}
			replica := openAt(t, store.MemFS(), c, false)
			defer closeDB(t, replica)
			l, err := replica.Stage(start, pins)
			if err != nil {
				t.Fatal(err)
			}
			last := grow(20)
			feed(t, src, l, last.Size, last.Root, rng)
			l.Close()
			r, _ := replica.View()
			defer r.Close()
			readable, pruned := 0, 0
			for _, size := range m.boundaries() {
				old, err := r.At(size)
				if size <= start || m.ops[size-1].Floor < start {
					pruned++
					if !errors.Is(err, ErrPruned) {
						t.Fatalf("at %d: %v", size, err)
					}
					if err := r.Changes(size, nil); !errors.Is(err, ErrPruned) {
						t.Fatalf("changes from %d: %v", size, err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				readable++
				checkState(t, old, m)
				proveState(t, old, rng)
				old.Close()
				if got, want := changesOf(t, r, size), m.changes(size, r.Size()); !slices.Equal(got, want) && c.Family() == operation.Any {
					t.Fatalf("changes from %d:\n%v\nmodel:\n%v", size, got, want)
				}
			}
			if readable == 0 || pruned == 0 {
				t.Fatalf("%d states readable, %d pruned: the test shows nothing", readable, pruned)
			}
			if err := r.Changes(0, nil); !errors.Is(err, ErrPruned) {
				t.Errorf("changes from 0: %v", err)
			}
			for _, size := range []uint64{r.Size() + 1, 1 << 62} {
				if _, err := r.At(size); !errors.Is(err, ErrBeyond) {
					t.Errorf("at %d: %v", size, err)
				}
			}
			if op := m.ops[r.Size()-2]; op.Kind != operation.Commit {
				if _, err := r.At(r.Size() - 1); !errors.Is(err, ErrNotBoundary) {
					t.Errorf("at no boundary: %v", err)
				}
			}
		})
	}
}

func TestAHistoricViewOutlivesTheOneItCameFrom(t *testing.T) {
	c := codecs[0]
	db := openAt(t, store.MemFS(), c, true)
	first, err := db.Apply(context.Background(), Batch{Writes: []Write{{Key: testKey(c, 1), Value: testValue(c, 1)}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(context.Background(), Batch{Writes: []Write{{Key: testKey(c, 1), Value: testValue(c, 2)}}}); err != nil {
		t.Fatal(err)
	}
	v, _ := db.View()
	old, err := v.At(first.Size)
	if err != nil {
		t.Fatal(err)
	}
	same, err := old.At(first.Size)
	if err != nil {
		t.Fatal(err)
	}
	older, err := old.At(1)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	closeDB(t, db)
	old.Close()
	if e, err := same.Get(testKey(c, 1)); err != nil || !bytes.Equal(e.Value, testValue(c, 1)) {
		t.Fatalf("%+v %v", e, err)
	}
	same.Close()
	if _, err := older.Get(testKey(c, 1)); !errors.Is(err, ErrKeyNotFound) {
		t.Fatal(err)
	}
	older.Close()
}

func TestAWalkThatIsStoppedStops(t *testing.T) {
	c := codecs[1]
	db := openAt(t, store.MemFS(), c, true)
	defer closeDB(t, db)
	var ws []Write
	for i := range 100 {
		ws = append(ws, Write{Key: fmt.Appendf(nil, "%02d", i), Value: []byte{1}})
	}
	if _, err := db.Apply(context.Background(), Batch{Writes: ws}); err != nil {
		t.Fatal(err)
	}
	v, _ := db.View()
	defer v.Close()
	var got []string
	stop := func(key []byte) bool {
		got = append(got, string(key))
		return len(got) < 2
	}
	for name, walk := range map[string]func() error{
		"keys": func() error {
			return v.Keys([]byte("1"), []byte("14"), func(k []byte, _ uint64) bool { return stop(k) })
		},
		"scan": func() error {
			return v.Scan([]byte("1"), []byte("14"), func(k []byte, _ Entry) bool { return stop(k) })
		},
		"changes": func() error { return v.Changes(1, func(c Change) bool { return stop(c.Key) }) },
	} {
		got = nil
		if err := walk(); err != nil || len(got) != 2 {
			t.Errorf("%s: %v %v", name, got, err)
		}
		if name != "changes" && (got[0] != "15" || got[1] != "16") {
			t.Errorf("%s: %v", name, got)
		}
	}
	got = nil
	all := func(k []byte, _ uint64) bool { got = append(got, string(k)); return true }
	if err := v.Keys([]byte("3"), []byte("0"), all); err != nil || len(got) != 10 || got[0] != "30" {
		t.Errorf("prefix 3 after 0: %v %v", got, err)
	}
	got = nil
	if err := v.Keys([]byte("3"), []byte("39"), all); err != nil || len(got) != 0 {
		t.Errorf("prefix 3 after 39: %v %v", got, err)
	}
}

func TestCommitsAreListedNewestFirstInPages(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(9, 9))
			db := openAt(t, store.MemFS(), c, true)
			defer closeDB(t, db)
			m := newModel(c)
			for i := range 40 {
				b := randomBatch(c, m, rng)
				if i == 20 && c.Encoding() == operation.Variable {
					b.Metadata = bytes.Repeat([]byte{7}, commitBytes+1)
				}
				m.apply(b.Writes, b.Metadata, b.Floor)
				if _, err := db.Apply(context.Background(), b); err != nil {
					t.Fatal(err)
				}
			}
			v, _ := db.View()
			defer v.Close()
			want := m.boundaries()
			slices.Reverse(want)
			for _, scan := range []uint64{0, 1, 300, 1 << 40} {
				for _, page := range []int{1, 3, 1000} {
					var got []uint64
					next, calls := uint64(1)<<60, 0
					for next != 0 {
						n := 0
						last := next
						var err error
						next, err = v.Commits(next, scan, func(ci CommitInfo) bool {
							op := m.ops[ci.Size-1]
							if ci.Floor != op.Floor || !bytes.Equal(ci.Metadata, op.Value) || (ci.Metadata == nil) != (op.Value == nil) {
								t.Fatalf("commit %+v, model %+v", ci, op)
							}
							got = append(got, ci.Size)
							n++
							return n < page
						})
						if err != nil || next >= last {
							t.Fatalf("next %d after %d: %v", next, last, err)
						}
						if calls++; calls > m.size()+1 {
							t.Fatal("no end")
						}
					}
					if !slices.Equal(got, want) {
						t.Fatalf("scan %d page %d: %v, want %v", scan, page, got, want)
					}
				}
			}
			slices.Reverse(want)
			for after := range v.Size() {
				i, _ := slices.BinarySearch(want, after+1)
				size, err := v.NextCommit(after, 1<<62)
				if err != nil || size != want[i] {
					t.Fatalf("next commit after %d: %d %v, want %d", after, size, err, want[i])
				}
				distance := want[i] - after
				if size, err = v.NextCommit(after, distance); err != nil || size != want[i] {
					t.Fatalf("next commit after %d within %d: %d %v", after, distance, size, err)
				}
				if distance > 1 {
					if _, err = v.NextCommit(after, distance-1); !errors.Is(err, ErrScanLimit) {
						t.Fatalf("next commit after %d within %d: %v", after, distance-1, err)
					}
				}
			}
			if size, err := v.NextCommit(v.Size(), 10); size != 0 || err != nil {
				t.Fatalf("after the end: %d %v", size, err)
			}
			if _, err := v.NextCommit(v.Size()+1, 10); !errors.Is(err, ErrBeyond) {
				t.Fatal(err)
			}
		})
	}
}

// Values that do not fit into the memory of a window are read when their turn comes.
func TestLargeValuesAreListedAndCompared(t *testing.T) {
	c := codecs[1]
	db := openAt(t, store.MemFS(), c, true)
	defer closeDB(t, db)
	m := newModel(c)
	var sizes []uint64
	for n := range byte(2) {
		var b Batch
		for i := range byte(7) {
			b.Writes = append(b.Writes, Write{Key: []byte{i}, Value: bytes.Repeat([]byte{i + n*(i%2)}, 3*windowBytes/10)})
		}
		m.apply(b.Writes, nil, nil)
		got, err := db.Apply(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, got.Size)
	}
	v, _ := db.View()
	defer v.Close()
	checkState(t, v, m)
	for _, from := range sizes {
		if got, want := changesOf(t, v, from), m.changes(from, v.Size()); !slices.Equal(got, want) {
			t.Fatalf("%d changes from %d, model %d", len(got), from, len(want))
		}
	}
	n := 0
	if err := v.Page([]byte{}, []byte{1}, 3, func(key []byte, _ Entry) bool {
		if n++; key[0] != byte(n+1) {
			t.Fatalf("key %d of the page is %x", n, key)
		}
		return true
	}); err != nil || n != 3 {
		t.Fatalf("a page of 3 has %d keys: %v", n, err)
	}
	if err := v.Page(nil, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
}
