package store

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Bundle is a run of consecutive encoded operations as they lie on disk.
type Bundle struct {
	First uint64 // location of the first operation
	data  []byte
	size  int      // bytes per operation; 0: see ends
	ends  []uint32 // end offset of each operation
}

// Len is the number of operations.
func (b *Bundle) Len() int {
	if b.size > 0 {
		return len(b.data) / b.size
	}
	return len(b.ends)
}

// End is one past the last location.
func (b *Bundle) End() uint64 { return b.First + uint64(b.Len()) }

// At is the i-th operation.
func (b *Bundle) At(i int) []byte { return b.Bytes(i, i+1) }

// Bytes are the operations [i, j), one after the other.
func (b *Bundle) Bytes(i, j int) []byte {
	if b.size > 0 {
		return b.data[i*b.size : j*b.size]
	}
	from := uint32(0)
	if i > 0 {
		from = b.ends[i-1]
	}
	if j == i {
		return nil
	}
	return b.data[from:b.ends[j-1]]
}

// appendBundle encodes operations: as they are if they have a fixed length,
// else with their lengths in front (docs/format.md section 3).
func appendBundle(dst []byte, opSize int, lengths []uint32, data []byte) []byte {
	if opSize == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(lengths)))
		for _, n := range lengths {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
	}
	return append(dst, data...)
}

// decode reads a bundle from a key and its value, which it aliases.
func (b *Bundle) decode(g *Generation, key, value []byte) error {
	if len(key) != 9 {
		return corrupt(g.path, "bundle key %x", key)
	}
	b.First, b.size = locationOf(key), g.opSize
	if g.opSize > 0 {
		if len(value) == 0 || len(value)%g.opSize != 0 {
			return corrupt(g.path, "bundle at location %d has %d bytes", b.First, len(value))
		}
		b.data = value
		return nil
	}
	count, n := binary.Uvarint(value)
	if n <= 0 || count == 0 || count > uint64(len(value)) {
		return corrupt(g.path, "bundle at location %d has no valid count", b.First)
	}
	value = value[n:]
	b.ends = b.ends[:0]
	total := uint64(0)
	for range count {
		l, n := binary.Uvarint(value)
		if n <= 0 || l > 1<<31 {
			return corrupt(g.path, "bundle at location %d has a bad length", b.First)
		}
		value, total = value[n:], total+l
		b.ends = append(b.ends, uint32(total))
	}
	if total != uint64(len(value)) {
		return corrupt(g.path, "bundle at location %d has %d bytes of operations, its lengths say %d", b.First, len(value), total)
	}
	b.data = value
	return nil
}

// Bundles walks the bundles that hold [start, end) in order. fn gets each
// bundle once, and the part [i, j) of it that lies in the range; the bundle
// is valid during the call only. A gap is corruption; fn's error ends the walk.
func (g *Generation) Bundles(start, end uint64, fn func(b *Bundle, i, j int) error) error {
	if start >= end {
		return nil
	}
	it, err := g.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{spaceBundle},
		UpperBound: bundleKey(nil, end),
	})
	if err != nil {
		return classify("read operations", err)
	}
	defer closeIterator(it)
	at := start
	var b Bundle
	for ok := g.seekBundle(it, start); ok && at < end; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return classify("read operations", err)
		}
		if err := b.decode(g, it.Key(), value); err != nil {
			return err
		}
		if b.First > at {
			break
		}
		if b.End() <= at {
			continue // a fragment of the same slot, before the range
		}
		j := int(min(end, b.End()) - b.First)
		if err := fn(&b, int(at-b.First), j); err != nil {
			return err
		}
		at = b.First + uint64(j)
	}
	if err := it.Error(); err != nil {
		return classify("read operations", err)
	}
	if at < end {
		return corrupt(g.path, "operation at location %d is missing", at)
	}
	return nil
}

// seekBundle moves to a bundle of the slot that holds loc, at or before loc's
// own. Seeking forward is cheaper, but where operations are large the bundles
// to skip may be too.
func (g *Generation) seekBundle(it *pebble.Iterator, loc uint64) bool {
	if g.opSize > 0 {
		return it.SeekGE(bundleKey(nil, loc&^(slotOperations-1)))
	}
	return it.SeekLT(bundleKey(nil, loc+1))
}

// Operation appends the encoded operation at loc to dst.
func (g *Generation) Operation(dst []byte, loc uint64) ([]byte, error) {
	err := g.Bundles(loc, loc+1, func(b *Bundle, i, j int) error {
		dst = append(dst, b.Bytes(i, j)...)
		return nil
	})
	return dst, err
}

// Tile is a stored tile.
type Tile struct {
	id   mmr.TileID
	data []byte // empty: nothing read yet
}

// Digest is the tile's digest number at, counted as mmr.TileOf does.
func (t *Tile) Digest(at int) mmr.Digest { return mmr.Digest(t.data[at*mmr.DigestSize:]) }

// Tile reads the full tile id into t, unless t holds it already.
func (g *Generation) Tile(t *Tile, id mmr.TileID) error {
	if len(t.data) > 0 && t.id == id {
		return nil
	}
	var buf [tileKeyLen]byte
	value, closer, err := g.db.Get(tileKey(buf[:0], id))
	if errors.Is(err, pebble.ErrNotFound) {
		return corrupt(g.path, "tile %d/%d is missing", id.Level, id.Index)
	}
	if err != nil {
		return classify("read tile", err)
	}
	defer closer.Close()
	if len(value) != mmr.TileDigests(id.Level)*mmr.DigestSize {
		return corrupt(g.path, "tile %d/%d has %d bytes", id.Level, id.Index, len(value))
	}
	t.id, t.data = id, append(t.data[:0], value...)
	return nil
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

// Index reads the key index. It is not safe for concurrent use; Close it.
type Index struct {
	g   *Generation
	it  *pebble.Iterator
	buf []byte
}

// Index opens a reader of the index as it is now.
func (g *Generation) Index() (*Index, error) {
	it, err := g.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{spaceIndex},
		UpperBound: []byte{spaceIndex + 1},
	})
	if err != nil {
		return nil, classify("read index", err)
	}
	return &Index{g: g, it: it}, nil
}

// Close ends the reader.
func (x *Index) Close() { closeIterator(x.it) }

// closeIterator closes an iterator whose errors were returned by the calls
// that met them.
func closeIterator(it *pebble.Iterator) { _ = it.Close() }

// Latest returns the newest entry of key below size: the location of the last
// operation on it and the kind the writer gave. Sorted keys are found faster.
func (x *Index) Latest(key []byte, size uint64) (loc uint64, kind byte, ok bool, err error) {
	if size == 0 {
		return 0, 0, false, nil
	}
	x.buf = x.g.indexPrefix(x.buf[:0], key)
	n := len(x.buf)
	x.buf = appendIndexLocation(x.buf, size-1)
	if !x.it.SeekGE(x.buf) {
		return 0, 0, false, classify("read index", x.it.Error())
	}
	k := x.it.Key()
	if len(k) != n+8 || !bytes.Equal(k[:n], x.buf[:n]) {
		return 0, 0, false, nil
	}
	v, err := x.it.ValueAndErr()
	if err != nil {
		return 0, 0, false, classify("read index", err)
	}
	if len(v) != 1 {
		return 0, 0, false, corrupt(x.g.path, "index entry %x has a value of %d bytes", k, len(v))
	}
	return ^binary.BigEndian.Uint64(k[n:]), v[0], true, nil
}

// Scan walks the keys from the first one not below from in order, and gives
// fn the newest entry below size of each. key is valid during the call only.
func (x *Index) Scan(from []byte, size uint64, fn func(key []byte, loc uint64, kind byte) (bool, error)) error {
	seek := append([]byte{spaceIndex}, from...)
	if x.g.opSize == 0 {
		seek = appendEscaped([]byte{spaceIndex}, from)
	}
	var key []byte
	for ok := x.it.SeekGE(seek); ok; {
		k := x.it.Key()
		var loc uint64
		if key, loc, ok = x.g.splitIndexKey(key[:0], k); !ok {
			return corrupt(x.g.path, "index key %x", k)
		}
		if loc >= size { // of a commit that is not readable yet
			ok = x.it.Next()
			continue
		}
		v, err := x.it.ValueAndErr()
		if err != nil {
			return classify("read index", err)
		}
		if len(v) != 1 {
			return corrupt(x.g.path, "index entry %x has a value of %d bytes", k, len(v))
		}
		// The last possible entry of this key is the one of location 0.
		seek = append(append(seek[:0], k[:len(k)-8]...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
		more, err := fn(key, loc, v[0])
		if err != nil || !more {
			return err
		}
		ok = x.it.SeekGE(seek)
	}
	return classify("scan index", x.it.Error())
}
