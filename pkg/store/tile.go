package store

import (
	"errors"

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
