package database

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var codecs = []operation.Codec{
	operation.NewCodec(operation.Any, operation.Fixed),
	operation.NewCodec(operation.Any, operation.Variable),
	operation.NewCodec(operation.Immutable, operation.Fixed),
	operation.NewCodec(operation.Immutable, operation.Variable),
}

func openAt(t testing.TB, fs store.FS, c operation.Codec, create bool) *DB {
	t.Helper()
	db, err := Open("db", Options{Codec: c, FS: fs, CreateIfMissing: create})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func closeDB(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// testKey is key number n: 32 bytes in fixed; in variable of any length,
// with zero bytes and keys that are prefixes of others.
func testKey(c operation.Codec, n uint64) []byte {
	if c.Encoding() == operation.Fixed {
		return binary.BigEndian.AppendUint64(make([]byte, 24), n*0x9e3779b97f4a7c15)
	}
	return bytes.Repeat([]byte{0, byte(n % 3)}, int(n%7))[:n%7]
}

func testValue(c operation.Codec, n uint64) []byte {
	if c.Encoding() == operation.Fixed {
		return binary.BigEndian.AppendUint64(make([]byte, 24), n)
	}
	return bytes.Repeat([]byte{byte(n)}, int(n%300))
}

// check compares everything a view shows with the model.
func check(t testing.TB, db *DB, m *model) {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Size() != uint64(m.size()) || v.Floor() != m.floor() || v.Root() != m.root() {
		t.Fatalf("size %d floor %d root %s, model: %d %d %s", v.Size(), v.Floor(), v.Root(), m.size(), m.floor(), m.root())
	}
	next := v.Start()
	err = v.Operations(v.Start(), v.Size(), func(loc uint64, op []byte) bool {
		if loc != next || !bytes.Equal(op, m.encoded(int(loc))) {
			t.Fatalf("operation at %d differs from the model's", loc)
		}
		next++
		return true
	})
	if err != nil || next != v.Size() {
		t.Fatalf("operations end at %d: %v", next, err)
	}
	seen := map[string]bool{}
	var last []byte
	err = v.Scan(nil, nil, func(key []byte, e Entry) bool {
		at, ok := m.live[string(key)]
		if !ok || uint64(at) != e.Location || !bytes.Equal(e.Value, m.ops[at].Value) {
			t.Fatalf("scan: key %x at %d", key, e.Location)
		}
		if len(seen) > 0 && bytes.Compare(last, key) >= 0 {
			t.Fatalf("scan out of order: %x after %x", key, last)
		}
		seen[string(key)], last = true, bytes.Clone(key)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, at := range m.live {
		e, err := v.Get([]byte(key))
		if uint64(at) < v.Start() {
			continue
		}
		if err != nil || e.Location != uint64(at) || !bytes.Equal(e.Value, m.ops[at].Value) || !seen[key] {
			t.Fatalf("key %x: %+v %v, scanned %v", key, e, err, seen[key])
		}
	}
}

// proves checks proofs, pins and roots of random ranges at every given boundary.
func proves(t testing.TB, db *DB, sizes map[uint64]mmr.Digest, rng *rand.Rand) {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	r := v.Ranges() // which remembers some of what it has read
	defer r.Close()
	for size, root := range sizes {
		if size <= v.Start() || size > v.Size() {
			continue
		}
		if got, err := v.RootAt(size); err != nil || got != root {
			t.Fatalf("root at %d: %s %v, want %s", size, got, err, root)
		}
		if size == v.Size() { // nor is a size remembered that never was
			if _, err := r.Prove(0, v.Start(), v.Size()); !errors.Is(err, ErrPruned) {
				t.Fatalf("prove at size 0: %v", err)
			}
		}
		for range 4 {
			start := v.Start() + rng.Uint64N(size-v.Start())
			end := start + 1 + rng.Uint64N(size-start)
			p, err := r.Prove(size, start, end)
			if err != nil {
				t.Fatalf("prove [%d, %d) at %d: %v", start, end, size, err)
			}
			pins, err := r.Pins(start)
			if err != nil {
				t.Fatal(err)
			}
			ops, n, err := r.AppendOperations(nil, start, end, 1<<30)
			if err != nil || n != int(end-start) {
				t.Fatalf("%d operations: %v", n, err)
			}
			run, err := v.Codec().NewRun(ops)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.VerifyPins(mmr.HashSpan(start, run), pins, root); err != nil {
				t.Fatalf("[%d, %d) at %d: %v", start, end, size, err)
			}
		}
	}
}

func TestRandomBatchesMatchTheModel(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
				fs := store.MemFS()
				db := openAt(t, fs, c, true)
				m := newModel(c)
				sizes := map[uint64]mmr.Digest{1: m.root()}
				var together []Batch
				operations := 0
				for left := rapid.IntRange(1, 12).Draw(rt, "batches"); left > 0; left-- {
					b := Batch{}
					keys := []uint64{5, 60, 2000}[rng.IntN(3)]
					for range rng.IntN([]int{3, 40, 400}[rng.IntN(3)]) {
						w := Write{Key: testKey(c, rng.Uint64N(keys)), Value: testValue(c, rng.Uint64())}
						if c.Family() == operation.Any && rng.IntN(4) == 0 {
							w = Write{Key: w.Key, Delete: true}
						}
						b.Writes = append(b.Writes, w)
					}
					if rng.IntN(3) == 0 {
						b.Metadata = testValue(c, rng.Uint64())
					}
					if c.Family() == operation.Immutable && rng.IntN(2) == 0 {
						f := m.floor() + rng.Uint64N(uint64(m.size())-m.floor())
						b.Floor = &f
					}
					operations += len(m.apply(b.Writes, b.Metadata, b.Floor))
					sizes[uint64(m.size())] = m.root()
					together = append(together, b)
					if left > 1 && rng.IntN(3) == 0 {
						continue
					}
					got, err := db.ApplyAll(context.Background(), together)
					if err != nil {
						rt.Fatal(err)
					}
					if got.Operations != operations || got.Commits != len(together) || got.Root != m.root() || got.Floor != m.floor() || got.Size != uint64(m.size()) {
						rt.Fatalf("%+v, model: %d operations of %d batches, floor %d, root %s", got, operations, len(together), m.floor(), m.root())
					}
					together, operations = nil, 0
					if rng.IntN(4) == 0 {
						closeDB(t, db)
						db = openAt(t, fs, c, true)
					}
				}
				check(t, db, m)
				proves(t, db, sizes, rng)
				closeDB(t, db)
			})
		})
	}
}

// feed copies the log of src at size into a replica through Loads, in runs of
// random length, and publishes it.
func feed(t testing.TB, src *DB, l *Load, size uint64, root mmr.Digest, rng *rand.Rand) {
	t.Helper()
	v, err := src.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for l.End() < size {
		end := min(size, l.End()+1+rng.Uint64N(600))
		ops, n, err := v.AppendOperations(nil, l.End(), end, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		run, err := v.Codec().NewRun(ops)
		if err != nil || run.Len() != n {
			t.Fatal(err)
		}
		if err := l.Append(mmr.HashSpan(l.End(), run), run); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(5) == 0 {
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := l.Publish(root, size); err != nil {
		t.Fatal(err)
	}
}

func TestReplicaShowsWhatTheWriterShows(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 8))
			src := openAt(t, store.MemFS(), c, true)
			m := newModel(c)
			sizes := map[uint64]mmr.Digest{}
			grow := func(n int) uint64 {
				for range n {
					var b Batch
					for range rng.IntN(300) {
						w := Write{Key: testKey(c, rng.Uint64N(3000)), Value: testValue(c, rng.Uint64())}
						w.Delete = c.Family() == operation.Any && rng.IntN(5) == 0
						b.Writes = append(b.Writes, w)
					}
					if f := m.floor() + 20; c.Family() == operation.Immutable && f < uint64(m.size()) {
						b.Floor = &f
					}
					m.apply(b.Writes, b.Metadata, b.Floor)
					got, err := src.Apply(context.Background(), b)
					if err != nil {
						t.Fatal(err)
					}
					sizes[got.Size] = got.Root
				}
				return uint64(m.size())
			}
			first := grow(10)
			v, _ := src.View()
			start := v.Floor()
			pins, err := v.Pins(start)
			v.Close()
			if err != nil {
				t.Fatal(err)
			}

			fs := store.MemFS()
			replica := openAt(t, fs, c, false)
			if _, err := replica.View(); !errors.Is(err, ErrEmpty) {
				t.Fatalf("a fresh replica shows a view: %v", err)
			}
			l, err := replica.Stage(start, pins)
			if err != nil {
				t.Fatal(err)
			}
			feed(t, src, l, first, sizes[first], rng)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			check(t, replica, m)
			proves(t, replica, sizes, rng)

			// Catch up, reopening in between.
			for range 3 {
				size := grow(3)
				closeDB(t, replica)
				replica = openAt(t, fs, c, false)
				if l, err = replica.Extend(); err != nil {
					t.Fatal(err)
				}
				feed(t, src, l, size, sizes[size], rng)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				check(t, replica, m)
				proves(t, replica, sizes, rng)
			}

			// A replica can go on as a writer: everything it needs is in its log.
			if start == 0 {
				b := Batch{Writes: []Write{{Key: testKey(c, 1), Value: testValue(c, 99)}}}
				m.apply(b.Writes, nil, nil)
				if _, err := replica.Apply(context.Background(), b); err != nil {
					t.Fatal(err)
				}
				check(t, replica, m)
			}

			// A new generation takes over while a reader holds the old one.
			reader, err := replica.View()
			if err != nil {
				t.Fatal(err)
			}
			size := grow(2)
			v, _ = src.View()
			start = v.Floor()
			pins, _ = v.Pins(start)
			v.Close()
			l, err = replica.Stage(start, pins)
			if err != nil {
				t.Fatal(err)
			}
			feed(t, src, l, size, sizes[size], rng)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			check(t, replica, m)
			if err := reader.Operations(reader.Start(), reader.Size(), func(uint64, []byte) bool { return true }); err != nil {
				t.Fatalf("reader of the replaced generation: %v", err)
			}
			names, _ := fs.List("db")
			if !slices.Contains(names, "gen-000001") {
				t.Fatalf("replaced generation is gone while a reader holds it: %v", names)
			}
			reader.Close()
			if names, _ = fs.List("db"); slices.Contains(names, "gen-000001") {
				t.Fatalf("replaced generation is still there: %v", names)
			}
			closeDB(t, replica)
			replica = openAt(t, fs, c, false)
			check(t, replica, m)
			closeDB(t, replica)
			closeDB(t, src)
		})
	}
}

func TestUnpublishedOperationsAreInvisibleAndTruncate(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			ctx := context.Background()
			rng := rand.New(rand.NewPCG(1, 1))
			// Two writers with a common beginning.
			one, two := openAt(t, store.MemFS(), c, true), openAt(t, store.MemFS(), c, true)
			m := newModel(c)
			batch := func(seed, n uint64) Batch {
				var b Batch
				for i := range n {
					b.Writes = append(b.Writes, Write{Key: testKey(c, seed+i), Value: testValue(c, seed*i)})
				}
				return b
			}
			var common Commit
			var err error
			for i := range uint64(5) {
				b := batch(i*50, 100)
				m.apply(b.Writes, nil, nil)
				if common, err = one.Apply(ctx, b); err != nil {
					t.Fatal(err)
				}
				if _, err = two.Apply(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			fs := store.MemFS()
			replica := openAt(t, fs, c, false)
			l, err := replica.Stage(0, nil)
			if err != nil {
				t.Fatal(err)
			}
			feed(t, one, l, common.Size, common.Root, rng)
			// Part of one's future arrives, is stored, and never published.
			if _, err = one.Apply(ctx, batch(3, 9000)); err != nil {
				t.Fatal(err)
			}
			v, _ := one.View()
			ops, _, err := v.AppendOperations(nil, l.End(), v.Size()-3, 1<<30)
			v.Close()
			if err != nil {
				t.Fatal(err)
			}
			run, _ := c.NewRun(ops)
			if err := l.Append(mmr.HashSpan(l.End(), run), run); err != nil {
				t.Fatal(err)
			}
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
			stored := l.End()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			check(t, replica, m)
			closeDB(t, replica)
			replica = openAt(t, fs, c, false)
			check(t, replica, m)
			if s := replica.Loads(); s.Stored != stored || s.Size != common.Size || !s.Published || s.Staged {
				t.Fatalf("%+v, stored %d size %d", s, stored, common.Size)
			}
			// The other writer's future replaces it.
			if l, err = replica.Extend(); err != nil {
				t.Fatal(err)
			}
			if err := l.Truncate(); err != nil {
				t.Fatal(err)
			}
			if l.End() != common.Size {
				t.Fatalf("truncated to %d, not %d", l.End(), common.Size)
			}
			b := batch(77, 700)
			m.apply(b.Writes, nil, nil)
			other, err := two.Apply(ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			feed(t, two, l, other.Size, other.Root, rng)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			check(t, replica, m)
			closeDB(t, replica)
			closeDB(t, one)
			closeDB(t, two)
		})
	}
}

func TestPublishRefusesAnotherRootAndALogWithoutCommit(t *testing.T) {
	c := codecs[0]
	src := openAt(t, store.MemFS(), c, true)
	defer closeDB(t, src)
	got, err := src.Apply(context.Background(), Batch{Writes: []Write{{Key: testKey(c, 1), Value: testValue(c, 1)}}})
	if err != nil {
		t.Fatal(err)
	}
	replica := openAt(t, store.MemFS(), c, false)
	defer closeDB(t, replica)
	l, err := replica.Stage(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	v, _ := src.View()
	defer v.Close()
	for loc := range v.Size() {
		op, _, _ := v.AppendOperations(nil, loc, loc+1, 1<<20)
		run, _ := c.NewRun(op)
		if err := l.Append(mmr.HashSpan(loc, run), run); err != nil {
			t.Fatal(err)
		}
		if loc == 1 {
			if _, err := l.Publish(got.Root, 2); !errors.Is(err, ErrNoCommit) {
				t.Fatalf("published a log that ends with an update: %v", err)
			}
		}
	}
	wrong := got.Root
	wrong[3] ^= 1
	var re *RootError
	if _, err := l.Publish(wrong, got.Size); !errors.As(err, &re) || re.Got != got.Root {
		t.Fatalf("published another root: %v", err)
	}
	if _, err := replica.View(); !errors.Is(err, ErrEmpty) {
		t.Fatalf("a refused publication became readable: %v", err)
	}
	if _, err := l.Publish(got.Root, got.Size); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedBatchesChangeNothing(t *testing.T) {
	long := make([]byte, operation.MaxKey+1)
	big := make([]byte, operation.MaxOperation+1)
	beyond, back := uint64(100), uint64(0)
	cases := []struct {
		codec operation.Codec
		batch Batch
		want  error
	}{
		{codecs[0], Batch{Writes: []Write{{Key: []byte("short"), Value: make([]byte, 32)}}}, operation.ErrKeySize},
		{codecs[0], Batch{Writes: []Write{{Key: make([]byte, 32), Value: []byte("short")}}}, nil},
		{codecs[0], Batch{Floor: &beyond}, ErrFloor},
		{codecs[1], Batch{Writes: []Write{{Key: long}}}, operation.ErrTooLarge},
		{codecs[1], Batch{Writes: []Write{{Key: []byte("k"), Value: big}}}, operation.ErrTooLarge},
		{codecs[2], Batch{Writes: []Write{{Key: make([]byte, 32), Delete: true}}}, ErrDelete},
		{codecs[2], Batch{Floor: &beyond}, ErrFloor},
		{codecs[2], Batch{Floor: &back}, ErrFloor},
	}
	for i, tc := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			db := openAt(t, store.MemFS(), tc.codec, true)
			defer closeDB(t, db)
			if tc.codec.Family() == operation.Immutable {
				one := uint64(1)
				if _, err := db.Apply(context.Background(), Batch{Floor: &one}); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := db.View()
			defer before.Close()
			_, err := db.Apply(context.Background(), tc.batch)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			after, _ := db.View()
			defer after.Close()
			if after.Root() != before.Root() {
				t.Fatal("root changed")
			}
			if _, err := db.Apply(context.Background(), Batch{}); err != nil {
				t.Fatalf("a refused batch must not stop the database: %v", err)
			}
		})
	}
}

func TestReadErrorsNameTheReason(t *testing.T) {
	c := codecs[0]
	src := openAt(t, store.MemFS(), c, true)
	defer closeDB(t, src)
	for i := range uint64(20) {
		if _, err := src.Apply(context.Background(), Batch{Writes: []Write{{Key: testKey(c, i), Value: testValue(c, i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	v, _ := src.View()
	defer v.Close()
	pins, _ := v.Pins(v.Floor())
	replica := openAt(t, store.MemFS(), c, false)
	defer closeDB(t, replica)
	l, err := replica.Stage(v.Floor(), pins)
	if err != nil {
		t.Fatal(err)
	}
	feed(t, src, l, v.Size(), v.Root(), rand.New(rand.NewPCG(1, 1)))
	l.Close()
	r, _ := replica.View()
	defer r.Close()
	if _, err := r.Prove(r.Size()+1, r.Start(), r.Size()); !errors.Is(err, ErrBeyond) {
		t.Error(err)
	}
	if _, err := r.Prove(r.Size(), r.Start()-1, r.Size()); !errors.Is(err, ErrPruned) {
		t.Error(err)
	}
	if _, err := r.Prove(r.Size()-1, r.Start(), r.Size()-1); !errors.Is(err, ErrNotBoundary) {
		t.Error(err)
	}
	if _, err := r.Pins(r.Start() - 1); !errors.Is(err, ErrPruned) {
		t.Error(err)
	}
	if _, err := r.RootAt(1); !errors.Is(err, ErrPruned) {
		t.Error(err)
	}
	if _, _, err := r.AppendOperations(nil, 0, 1, 100); !errors.Is(err, ErrPruned) {
		t.Error(err)
	}
	if _, err := r.Get(testKey(c, 1000)); !errors.Is(err, ErrKeyNotFound) {
		t.Error(err)
	}
	if out, n, err := r.AppendOperations(nil, r.Start(), r.Size(), 1); err != nil || n != 1 || len(out) != 65 {
		t.Errorf("at least one operation: %d %v", n, err)
	}
}
