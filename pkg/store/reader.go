package store

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Reader reads what is published in a generation. It keeps its iterators from
// one use to the next: making one costs more than reading a key with it. It
// sees the generation as of some moment after the publication of the state it
// was made for; nothing that is published ever changes, so it serves that
// state and every earlier one.
//
// A Reader belongs to one goroutine from Generation.Reader to Release.
type Reader struct {
	g    *Generation
	size uint64 // published when it was made: everything below is in sight
	born uint64 // tick of the pool when it was made

	index Index // its iterator is opened when it is needed
	ops   walker
	tiles *pebble.Iterator  // nil: not needed yet
	tile  [tileLevels]*Tile // asked for last, of each level

	tileKey [tileKeyLen]byte // scratch
}

// tileLevels is the number of levels a tile can have.
const tileLevels = 8

// Reader returns a reader of what is published; Release it. The generation
// must stay open until then.
func (g *Generation) Reader() *Reader {
	if r := g.readers.get(); r != nil {
		return r
	}
	return g.newReader()
}

// ReaderAt returns a reader of everything committed below size, published or
// not.
func (g *Generation) ReaderAt(size uint64) *Reader {
	if published, _ := g.readers.now(); size <= published {
		return g.Reader()
	}
	return g.newReader()
}

func (g *Generation) newReader() *Reader {
	size, tick := g.readers.now()
	// Iterators are made after this, so they see at least what is published.
	return &Reader{g: g, size: size, born: tick, index: Index{g: g}, ops: walker{g: g}}
}

// Published says that the log is published up to size: readers made from now
// on see it, and those made before are of no further use.
func (g *Generation) Published(size uint64) { closeReaders(g.readers.publish(size)) }

// Release gives the reader back.
func (r *Reader) Release() {
	if !r.g.readers.put(r) {
		r.close()
	}
}

func (r *Reader) close() {
	r.index.Close()
	r.ops.close()
	if r.tiles != nil {
		closeIterator(r.tiles)
	}
}

func closeReaders(readers []*Reader) {
	for _, r := range readers {
		r.close()
	}
}

// healthy says whether no iterator has met an error: one that did is not used
// again.
func (r *Reader) healthy() bool {
	for _, it := range []*pebble.Iterator{r.index.it, r.ops.it, r.tiles} {
		if it != nil && it.Error() != nil {
			return false
		}
	}
	return true
}

// Index is the reader's view of the index; it must not be closed.
func (r *Reader) Index() (*Index, error) {
	if r.index.it == nil {
		if err := r.index.open(); err != nil {
			return nil, err
		}
	}
	return &r.index, nil
}

// Bundles is Generation.Bundles as of the reader.
func (r *Reader) Bundles(start, end uint64, fn func(b *Bundle, i, j int) error) error {
	return r.ops.walk(start, end, fn)
}

// Operation appends the encoded operation at loc to dst.
func (r *Reader) Operation(dst []byte, loc uint64) ([]byte, error) {
	err := r.Bundles(loc, loc+1, func(b *Bundle, i, j int) error {
		dst = append(dst, b.Bytes(i, j)...)
		return nil
	})
	return dst, err
}

// Tile reads a full tile. Nobody changes it, and it may be kept.
func (r *Reader) Tile(id mmr.TileID) (*Tile, error) {
	if t := r.tile[id.Level]; t != nil && t.id == id {
		return t, nil
	}
	// Tiles of what is published never change, so readers share them.
	shared := id.End() <= r.size
	if shared {
		if t := r.g.tiles.get(id); t != nil {
			r.tile[id.Level] = t
			return t, nil
		}
	}
	t, err := r.readTile(id)
	if err != nil {
		return nil, err
	}
	r.tile[id.Level] = t
	if shared {
		r.g.tiles.put(t)
	}
	return t, nil
}

func (r *Reader) readTile(id mmr.TileID) (*Tile, error) {
	where := tileSpot(id)
	if err := r.g.damaged.known(where); err != nil {
		return nil, err
	}
	if r.tiles == nil {
		it, err := r.g.db.NewIter(before(tileEnd))
		if err != nil {
			return nil, classify("read tile", err)
		}
		r.tiles = it
	}
	key := tileKey(r.tileKey[:0], id)
	if !seekFar(r.tiles, key, tileEnd) || string(r.tiles.Key()) != string(key) {
		if err := r.tiles.Error(); err != nil {
			return nil, r.g.damaged.note(where, classify("read tile", err))
		}
		return nil, tileMissing(r.g, id)
	}
	value, err := r.tiles.ValueAndErr()
	if err != nil {
		return nil, r.g.damaged.note(where, classify("read tile", err))
	}
	t := new(Tile)
	return t, t.set(r.g, id, value)
}
