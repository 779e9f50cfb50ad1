package store

import (
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Tile is a stored tile.
type Tile struct {
	id   mmr.TileID
	data []byte // empty: nothing read yet
}

func (t *Tile) holds(id mmr.TileID) bool { return len(t.data) > 0 && t.id == id }

// Digest is the tile's digest number at, counted as mmr.TileOf does.
func (t *Tile) Digest(at int) mmr.Digest { return mmr.Digest(t.data[at*mmr.DigestSize:]) }

// set takes over a tile as it was read.
func (t *Tile) set(g *Generation, id mmr.TileID, value []byte) error {
	if len(value) != mmr.TileDigests(id.Level)*mmr.DigestSize {
		return corrupt(g.path, "tile %d/%d has %d bytes", id.Level, id.Index, len(value))
	}
	t.id, t.data = id, append(t.data[:0], value...)
	return nil
}

func tileMissing(g *Generation, id mmr.TileID) error {
	return corrupt(g.path, "tile %d/%d is missing", id.Level, id.Index)
}

// Tile reads the full tile id into t, unless t holds it already.
func (g *Generation) Tile(t *Tile, id mmr.TileID) error {
	if t.holds(id) {
		return nil
	}
	var buf [tileKeyLen]byte
	value, closer, err := g.db.Get(tileKey(buf[:0], id))
	if errors.Is(err, pebble.ErrNotFound) {
		return tileMissing(g, id)
	}
	if err != nil {
		return classify("read tile", err)
	}
	defer closer.Close()
	return t.set(g, id, value)
}

// TileTop returns the digest of a node at the top of a full tile.
func (g *Generation) TileTop(n mmr.Node) (mmr.Digest, error) {
	var t Tile
	id, at := mmr.TileOf(n)
	if err := g.Tile(&t, id); err != nil {
		return mmr.Digest{}, err
	}
	return t.Digest(at), nil
}

// tileCache keeps tiles of what is published for all readers of a generation.
// Requests for runs of operations that follow each other need the same tiles, and
// every proof those of the upper levels. A tile has two places in it, which the
// two tiles share that were read last: so there is no lock, and nothing to keep in
// order. Two readers that put at once may lose a tile; it is then read again.
type tileCache struct {
	pairs [1 << tilePairBits][2]atomic.Pointer[Tile]
}

// tilePairBits bounds the memory: a tile of level 0 has 2 KiB, and there are 255 of
// them for one of the others, with 8 KiB. So it is 2 MiB, and 8 at the very most.
const tilePairBits = 9

func (c *tileCache) pair(id mmr.TileID) *[2]atomic.Pointer[Tile] {
	// Multiplying spreads neighbours, and what connections read at regular distances.
	h := (id.Index<<3 | uint64(id.Level)) * 0x9e3779b97f4a7c15
	return &c.pairs[h>>(64-tilePairBits)]
}

// get returns a tile; nil: it is not kept.
func (c *tileCache) get(id mmr.TileID) *Tile {
	pair := c.pair(id)
	for i := range pair {
		if t := pair[i].Load(); t != nil && t.id == id {
			return t
		}
	}
	return nil
}

// put keeps a tile, which nobody may change from now on.
func (c *tileCache) put(t *Tile) {
	pair := c.pair(t.id)
	pair[1].Store(pair[0].Swap(t))
}
