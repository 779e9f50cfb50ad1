package store

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// read uses every iterator of a reader.
func read(t testing.TB, r *Reader, id Identity, size uint64) {
	t.Helper()
	x, err := r.Index()
	if err != nil {
		t.Fatal(err)
	}
	loc, _, ok, err := x.Latest(testKey(id, size-1), size)
	if err != nil || !ok || loc != size-1 {
		t.Fatalf("key of the last operation: %d %v %v, want %d", loc, ok, err, size-1)
	}
	op, err := r.Operation(nil, size-1)
	if err != nil || !bytes.Equal(op, testOp(id, size-1)) {
		t.Fatalf("last operation: %x %v", op, err)
	}
	if _, err := r.Tile(mmr.TileID{}); size >= SlotOperations && err != nil {
		t.Fatal(err)
	}
}

func idle(g *Generation) int {
	g.readers.mu.Lock()
	defer g.readers.mu.Unlock()
	return len(g.readers.idle)
}

func TestReadersAreKeptAsLongAsTheySeeWhatIsPublished(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	defer l.close()
	grow := func(n int) uint64 {
		l.append(n, 0)
		l.commit(true)
		l.g.Published(l.s.Size)
		return l.s.Size
	}
	size := grow(300)
	one, two := l.g.Reader(), l.g.Reader()
	read(t, one, fixedIdentity, size)
	read(t, two, fixedIdentity, size)
	one.Release()
	if again := l.g.Reader(); again != one {
		t.Fatal("an idle reader was not used again")
	}
	one.Release()
	grown := grow(1)
	if n := idle(l.g); n != 0 {
		t.Fatalf("%d idle readers of an older state are kept", n)
	}
	read(t, two, fixedIdentity, size) // still in use
	two.Release()
	if n := idle(l.g); n != 0 {
		t.Fatal("a reader of an older state was kept")
	}
	three := l.g.Reader()
	read(t, three, fixedIdentity, grown)
	read(t, three, fixedIdentity, size) // and every earlier state
	three.Release()

	// What is committed but not published is for those who ask for it.
	l.append(5, 0)
	l.commit(true)
	ahead := l.g.ReaderAt(l.s.Size)
	if ahead == three {
		t.Fatal("got a reader that cannot see what was asked for")
	}
	read(t, ahead, fixedIdentity, l.s.Size)
	ahead.Release()
}

func TestIdleReadersAreFewAndDoNotGetOld(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	defer l.close()
	l.append(300, 0)
	l.commit(true)
	l.g.Published(l.s.Size)
	var readers []*Reader
	for range 2 * maxIdle() {
		r := l.g.Reader()
		read(t, r, fixedIdentity, l.s.Size)
		readers = append(readers, r)
	}
	kept := readers[0]
	for _, r := range readers[1:] {
		r.Release()
	}
	if n := idle(l.g); n != maxIdle() {
		t.Fatalf("%d idle readers, at most %d expected", n, maxIdle())
	}
	for range readerTicks - 1 {
		d.opened.tick()
	}
	if n := idle(l.g); n != maxIdle() {
		t.Fatalf("%d idle readers before they are old", n)
	}
	d.opened.tick()
	if n := idle(l.g); n != 0 {
		t.Fatalf("%d readers are idle for ever", n)
	}
	kept.Release() // as old as the others, but in use all the time
	if n := idle(l.g); n != 0 {
		t.Fatal("an old reader was kept")
	}
	r := l.g.Reader()
	read(t, r, fixedIdentity, l.s.Size)
	r.Release() // and is closed with the generation
}

func TestAReaderThatMetAnErrorIsNotUsedAgain(t *testing.T) {
	var broken atomic.Bool
	failure := errors.New("disk is gone")
	fs := errorfs.Wrap(MemFS(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return failure
		}
		return nil
	}))
	d := openDir(t, fs, fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	l.append(1000, 0)
	l.commit(true)
	number := l.g.Number()
	l.close()
	g, err := d.OpenGeneration(number)
	if err != nil {
		t.Fatal(err)
	}
	r := g.Reader()
	broken.Store(true)
	if _, err := r.Operation(nil, 700); !errors.Is(err, failure) {
		t.Fatalf("%v", err)
	}
	r.Release()
	if n := idle(g); n != 0 {
		t.Fatal("kept")
	}
	broken.Store(false)
	r = g.Reader()
	read(t, r, fixedIdentity, 1000)
	r.Release()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFetchReadsWhateverIsAskedFor(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			d := openDir(t, MemFS(), id)
			defer d.Close()
			l := newLog(t, d, id)
			defer l.close()
			for _, n := range []int{700, 1, 3, 200, 1, 1, 900, 7, 1} { // bundles, and fragments at the end
				l.append(n, 0)
				l.commit(true)
			}
			r := l.g.ReaderAt(l.s.Size)
			defer r.Release()
			for step := uint64(1); step < 2*l.s.Size; step = step*3/2 + 1 {
				var locs []uint64
				for loc := step / 2; loc < l.s.Size; loc += step {
					locs = append(locs, loc)
					if loc%5 == 0 {
						locs = append(locs, loc) // twice
					}
				}
				n := 0
				err := r.Fetch(locs, func(i int, op []byte) error {
					if i != n || !bytes.Equal(op, testOp(id, locs[i])) {
						t.Fatalf("step %d: operation %d at location %d differs", step, i, locs[i])
					}
					n++
					return nil
				})
				if err != nil || n != len(locs) {
					t.Fatalf("step %d: %d of %d: %v", step, n, len(locs), err)
				}
			}
			if err := r.Fetch([]uint64{5, l.s.Size}, func(int, []byte) error { return nil }); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("beyond the end: %v", err)
			}
			stop := errors.New("stop")
			if err := r.Fetch([]uint64{5, 6}, func(int, []byte) error { return stop }); !errors.Is(err, stop) {
				t.Fatal(err)
			}
		})
	}
}

// A key with many entries is read at every size, whether the entries between
// are stepped over or sought past.
func TestManyEntriesOfOneKeyAreReadAtEverySize(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			d := openDir(t, MemFS(), id)
			defer d.Close()
			l := newLog(t, d, id)
			defer l.close()
			l.append(200, 0)
			l.commit(true)
			x, err := l.g.Index()
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			key := testKey(id, 14)
			want := func(size uint64) (uint64, bool) {
				for loc := size; loc > 0; loc-- {
					if bytes.Equal(testKey(id, loc-1), key) {
						return loc - 1, true
					}
				}
				return 0, false
			}
			for size := range l.s.Size + 1 {
				wantLoc, wantOK := want(size)
				if _, _, ok, err := x.Latest(key, l.s.Size); !ok || err != nil {
					t.Fatal(err)
				}
				loc, _, ok, err := l.earlier(x, key, size)
				if err != nil || ok != wantOK || loc != wantLoc {
					t.Fatalf("at %d: %d %v %v, want %d %v", size, loc, ok, err, wantLoc, wantOK)
				}
				n := 0
				if err := x.Scan(key, size, func(k []byte, loc uint64, _ byte) (bool, error) {
					if bytes.Equal(k, key) {
						n++
						if loc != wantLoc {
							t.Fatalf("scan at %d: %d, want %d", size, loc, wantLoc)
						}
					}
					return true, nil
				}); err != nil || (n == 1) != wantOK {
					t.Fatalf("scan at %d met the key %d times: %v", size, n, err)
				}
			}
		})
	}
}

// earlier is Earlier where size is below that of the entry found, which is
// what it is for.
func (l *log) earlier(x *Index, key []byte, size uint64) (loc uint64, kind byte, ok bool, err error) {
	latest, kind, ok, err := x.Latest(key, l.s.Size)
	if err != nil || !ok || latest < size {
		return latest, kind, ok, err
	}
	return x.Earlier(size)
}
