package store

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// flushed is a generation of so many published operations, all of them in tables.
func flushed(t *testing.T, id Identity, n int) *Generation {
	t.Helper()
	d := openDir(t, MemFS(), id)
	t.Cleanup(func() { d.Close() })
	l := newLog(t, d, id)
	l.append(n, 0)
	l.commit(true)
	number := l.g.Number()
	l.close()
	g, err := d.OpenGeneration(number)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	g.Published(g.State().Size)
	return g
}

// blocks is how many blocks were asked for so far.
func blocks(g *Generation) int64 {
	m := g.Metrics().BlockCache
	return m.Hits + m.Misses
}

// blocksOf is how many blocks do asks for. The storage engine reads some on its
// own account as well, for a while after it was opened: the least counts.
func blocksOf(g *Generation, prepare, do func()) int64 {
	least := int64(math.MaxInt64)
	for range 5 {
		prepare()
		before := blocks(g)
		do()
		least = min(least, blocks(g)-before)
	}
	return least
}

// Seeking from one place to a later one, the storage engine may read blocks in
// between to no purpose, which is several times dearer than the look-up.
func TestALookUpAheadReadsTheBlocksItNeedsAndNoOthers(t *testing.T) {
	const slots = 40
	g := flushed(t, fixedIdentity, slots*SlotOperations)
	r := g.Reader()
	defer r.Release()
	one := func(slot uint64) {
		loc := slot*SlotOperations + 7
		op, err := r.Operation(nil, loc)
		if err != nil || !bytes.Equal(op, testOp(fixedIdentity, loc)) {
			t.Fatalf("operation at %d: %x %v", loc, op, err)
		}
		if _, err := r.Tile(mmr.TileID{Index: slot}); err != nil {
			t.Fatal(err)
		}
	}
	looks := int64(0)
	n := blocksOf(g, func() { one(0); looks = 0 }, func() {
		for slot := uint64(7); slot < slots; slot += 7 {
			one(slot)
			looks++
		}
	})
	// A bundle and a tile have blocks of their own, or a few of them share one.
	if n > 2*looks {
		t.Errorf("%d bundles and tiles took %d blocks, two for each pair expected", looks, n)
	}
	n = blocksOf(g, func() { one(0) }, func() {
		for loc := uint64((slots - 1) * SlotOperations); loc < slots*SlotOperations; loc++ {
			op, err := r.Operation(nil, loc)
			if err != nil || !bytes.Equal(op, testOp(fixedIdentity, loc)) {
				t.Fatalf("operation at %d: %x %v", loc, op, err)
			}
		}
	})
	if n > 1 {
		t.Errorf("%d blocks for the operations of one bundle", n)
	}
}

// Whichever way an operation is asked for, and whatever the reader held before.
func TestAReaderFindsOperationsInAnyOrder(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		g := flushed(t, id, 5*SlotOperations+100)
		size := g.State().Size
		r := g.Reader()
		for _, loc := range []uint64{0, 255, 256, 700, 699, 1300, 1, size - 1, 511, 512, 3, 2, 1024} {
			op, err := r.Operation(nil, loc)
			if err != nil || !bytes.Equal(op, testOp(id, loc)) {
				t.Fatalf("%s: operation at %d: %x %v", id.Database, loc, op, err)
			}
		}
		if _, err := r.Operation(nil, size); err == nil {
			t.Fatalf("%s: an operation beyond the end", id.Database)
		}
		// The failure does not make the reader forget how to read.
		op, err := r.Operation(nil, 42)
		if err != nil || !bytes.Equal(op, testOp(id, 42)) {
			t.Fatalf("%s: operation at 42: %x %v", id.Database, op, err)
		}
		r.Release()
	}
}

func TestReadersShareTilesOfWhatIsPublishedAndNoOthers(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	defer l.close()
	l.append(300, 0)
	l.commit(true)
	l.g.Published(l.s.Size)
	l.append(300, 0)
	l.commit(true) // two tiles, of which the second one may still be taken back

	tile := func(r *Reader, index uint64) *Tile {
		got, err := r.Tile(mmr.TileID{Index: index})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	one, two := l.g.ReaderAt(l.s.Size), l.g.ReaderAt(l.s.Size)
	defer one.Release()
	defer two.Release()
	if tile(one, 0) != tile(two, 0) {
		t.Error("two readers read the same published tile")
	}
	if tile(one, 1) == tile(two, 1) {
		t.Error("a tile of what is not published is shared")
	}
	if l.g.tiles.get(mmr.TileID{Index: 1}) != nil {
		t.Error("a tile of what is not published is kept")
	}
	var direct Tile
	if err := l.g.Tile(&direct, mmr.TileID{}); err != nil || !bytes.Equal(direct.data, tile(two, 0).data) {
		t.Errorf("the shared tile differs from the stored one: %v", err)
	}
}

func TestTheTileCacheIsBoundedAndGivesNoTileForAnother(t *testing.T) {
	var c tileCache
	var group sync.WaitGroup
	for from := range uint64(2) {
		group.Go(func() {
			for i := from; i < 20_000; i += 2 {
				for level := range uint8(2) {
					id := mmr.TileID{Level: level, Index: i}
					c.put(&Tile{id: id})
					if got := c.get(id); got != nil && got.id != id {
						t.Errorf("asked for %v, got %v", id, got.id)
					}
				}
			}
		})
	}
	group.Wait()
	kept := 0
	for i := range uint64(20_000) {
		for level := range uint8(2) {
			if t := c.get(mmr.TileID{Level: level, Index: i}); t != nil {
				kept++
			}
		}
	}
	if most := 2 << tilePairBits; kept > most || kept < most/2 {
		t.Errorf("%d tiles kept, about %d expected", kept, most)
	}
	// Two tiles that are asked for in turns stay, wherever they belong.
	a, b := &Tile{id: mmr.TileID{Index: 1 << 40}}, &Tile{id: mmr.TileID{Index: 1<<40 + 1}}
	c.put(a)
	c.put(b)
	if c.get(a.id) != a || c.get(b.id) != b {
		t.Error("two tiles do not stay")
	}
}

// The iterators of readers are not bounded from below, where other records lie.
func TestOperationBelowTheFirstIsMissing(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			d := openDir(t, MemFS(), id)
			defer d.Close()
			l := newLog(t, d, id)
			defer l.close()
			l.append(700, 0)
			l.commit(true)
			it, err := l.g.bundleIterator()
			if err != nil {
				t.Fatal(err)
			}
			found := it.First()
			first := bytes.Clone(it.Key())
			closeIterator(it)
			if !found {
				t.Fatal("no bundle")
			}
			if err := l.g.db.Delete(first, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			_, err = l.g.Operation(nil, 0)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "operation at location 0 is missing") {
				t.Errorf("error %v", err)
			}
		})
	}
}
