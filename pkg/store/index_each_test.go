package store

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// indexed is a reader of a generation with entries of n keys, every seventh of which has
// many, and the keys, in order.
func indexed(t *testing.T, id Identity, n int) (*Reader, [][]byte) {
	t.Helper()
	d := openDir(t, MemFS(), id)
	t.Cleanup(func() { d.Close() })
	l := newLog(t, d, id)
	l.append(4*n, 0)
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = binary.BigEndian.AppendUint64(make([]byte, 0, 16), rng.Uint64())
		keys[i] = keys[i][:cap(keys[i])]
		if id.OpSize == 0 {
			keys[i] = keys[i][:1+rng.IntN(16)]
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	loc := uint64(0)
	for range 3 {
		for i, key := range keys {
			if i%7 == 0 || rng.IntN(3) == 0 {
				if err := l.w.Index(key, loc, byte(rng.IntN(3))); err != nil {
					t.Fatal(err)
				}
				loc++
			}
		}
		l.commit(true)
		l.append(1, 0)
	}
	l.commit(true)
	t.Cleanup(l.close)
	r := l.g.ReaderAt(l.s.Stored)
	t.Cleanup(r.Release)
	return r, keys
}

func TestManyKeysAreFoundAsEachOfThemIs(t *testing.T) {
	type found struct {
		i    int
		loc  uint64
		kind byte
	}
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		r, keys := indexed(t, id, 5000)
		x, err := r.Index()
		if err != nil {
			t.Fatal(err)
		}
		some := func(share int, absent bool) (some [][]byte) {
			rng := rand.New(rand.NewPCG(uint64(share), 2))
			for _, key := range keys {
				if rng.IntN(share) > 0 {
					continue
				}
				if some = append(some, key); absent { // right behind one that is there
					if behind := bytes.Clone(key); id.OpSize > 0 {
						behind[len(behind)-1] = 1
						some = append(some, behind)
					} else {
						some = append(some, append(behind, 0))
					}
				}
			}
			return some
		}
		mixed := some(2, false)
		rand.New(rand.NewPCG(3, 3)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		// First dense, then far apart, then dense again.
		waves := slices.Concat(keys[:700], some(150, true)[20:], keys[len(keys)-700:])
		slices.SortFunc(waves, bytes.Compare)
		for name, asked := range map[string][][]byte{
			"all": some(1, false), "with absent ones": some(1, true), "a third": some(3, true), "few": some(90, false),
			"in no order": mixed, "in waves": waves, "none": nil,
			"beyond the end": {bytes.Repeat([]byte{0xff}, 16), bytes.Repeat([]byte{0xff}, 16), keys[0]},
		} {
			for _, size := range []uint64{0, 1, 3000, 1 << 40} {
				var want, got []found
				for i, key := range asked {
					loc, kind, ok, err := x.LatestFar(key, size)
					if err != nil {
						t.Fatal(err)
					}
					if ok {
						want = append(want, found{i, loc, kind})
					}
				}
				if err := x.LatestEach(asked, size, func(i int, loc uint64, kind byte) { got = append(got, found{i, loc, kind}) }); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s, below %d: %d of %d keys found, %d expected", id.Database, name, size, len(got), len(asked), len(want))
				}
			}
		}
	}
}

// Looking every key up by itself costs a seek each: here the whole index is stepped
// through once, and few keys far apart are not stepped to.
func TestDenseKeysAreSteppedToAndSparseOnesSought(t *testing.T) {
	r, keys := indexed(t, fixedIdentity, 5000)
	x, err := r.Index()
	if err != nil {
		t.Fatal(err)
	}
	count := func(asked [][]byte) (seeks, steps int) {
		x.it.ResetStats()
		if err := x.LatestEach(asked, 1<<40, func(int, uint64, byte) {}); err != nil {
			t.Fatal(err)
		}
		s := x.it.Stats()
		return s.ForwardSeekCount[0], s.ForwardStepCount[0]
	}
	if seeks, steps := count(keys); seeks > 10 || steps < len(keys)/2 {
		t.Errorf("%d keys in a row took %d seeks and %d steps", len(keys), seeks, steps)
	}
	var few [][]byte
	for i := 0; i < len(keys); i += 50 {
		few = append(few, keys[i])
	}
	if seeks, steps := count(few); seeks < len(few)/2 || steps > 10*len(few) {
		t.Errorf("%d keys far apart took %d seeks and %d steps", len(few), seeks, steps)
	}
}
