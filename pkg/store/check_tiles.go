package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// TileLevels is the number of levels a tile can have.
const TileLevels = tileLevels

// TileCursor reads the stored tiles of a level in order. Close it.
type TileCursor struct {
	g     *Generation
	it    *pebble.Iterator
	level uint8
	ok    bool // the iterator stands at a record
	taken bool // which was handed out
	extra func(key []byte, index uint64)
}

// Tiles returns a cursor over the stored tiles of a level below TileLevels.
// Records that are passed because nobody asked for them go to extra: the key,
// which the callee may keep, and the tile's index.
func (g *Generation) Tiles(level uint8, extra func(key []byte, index uint64)) (*TileCursor, error) {
	it, err := g.db.NewIter(within(spaceTile, level))
	if err != nil {
		return nil, classify("read tiles", err)
	}
	return &TileCursor{g: g, it: it, level: level, ok: it.First(), extra: extra}, nil
}

// Close ends the cursor.
func (c *TileCursor) Close() { closeIterator(c.it) }

// Take returns the digests of the tile index, one after the other and valid
// until the next call, or nil if the tile is not there. Indexes ascend. After
// an error, which is about this tile, the next one can be taken.
func (c *TileCursor) Take(index uint64) ([]byte, error) {
	for c.step(); c.ok; c.ok = c.it.Next() {
		at := c.index()
		if at > index {
			return nil, nil
		}
		if at == index {
			c.taken = true
			value, err := c.it.ValueAndErr()
			if err == nil && len(value) != mmr.TileDigests(c.level)*mmr.DigestSize {
				err = fmt.Errorf("a tile of %d bytes", len(value))
			}
			return value, err
		}
		c.extra(bytes.Clone(c.it.Key()), at)
	}
	err := c.it.Error()
	if err != nil && index < math.MaxUint64 {
		c.ok = c.it.SeekGE(tileKey(nil, mmr.TileID{Level: c.level, Index: index + 1}))
	}
	return nil, err
}

// Rest passes what is left.
func (c *TileCursor) Rest() error {
	for c.step(); c.ok; c.ok = c.it.Next() {
		c.extra(bytes.Clone(c.it.Key()), c.index())
	}
	return c.it.Error()
}

func (c *TileCursor) step() {
	if c.taken {
		c.taken, c.ok = false, c.it.Next()
	}
}

// index is that of the record the iterator stands at; that of the tile before
// which it sorts, if its key is none of a tile.
func (c *TileCursor) index() uint64 {
	var b [8]byte
	copy(b[:], c.it.Key()[2:])
	return binary.BigEndian.Uint64(b[:])
}
