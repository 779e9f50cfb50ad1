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
// every proof those of the upper levels. A tile has one place in it, which the
// last one that was read takes: there is no lock, and no order to keep.
type tileCache struct {
	places [tilePlaces]atomic.Pointer[Tile]
}

// tilePlaces bounds the memory: 2 KiB for a tile of level 0, of which there are
// 255 for one of the others, with 8 KiB. So it is 1 MiB, and 4 at the very most.
const (
	tilePlaceBits = 9
	tilePlaces    = 1 << tilePlaceBits
)

func (c *tileCache) place(id mmr.TileID) *atomic.Pointer[Tile] {
	// Multiplying spreads the places of neighbours, and of connections that read
	// at regular distances.
	h := (id.Index<<3 | uint64(id.Level)) * 0x9e3779b97f4a7c15
	return &c.places[h>>(64-tilePlaceBits)]
}

func (c *tileCache) get(id mmr.TileID) *Tile {
	if t := c.place(id).Load(); t != nil && t.id == id {
		return t
	}
	return nil
}

func (c *tileCache) put(t *Tile) { c.place(t.id).Store(t) }
