package store

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
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
	if len(key) != bundleKeyLen {
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

// Bundles walks the bundles that hold [start, end) in order, as they are now.
// fn gets each bundle once, and the part [i, j) of it that lies in the range;
// the bundle is valid during the call only. A gap is corruption; fn's error
// ends the walk.
func (g *Generation) Bundles(start, end uint64, fn func(b *Bundle, i, j int) error) error {
	w := walker{g: g}
	defer w.close()
	return w.walk(start, end, fn)
}

// Operation appends the encoded operation at loc to dst, as it is now.
func (g *Generation) Operation(dst []byte, loc uint64) ([]byte, error) {
	err := g.Bundles(loc, loc+1, func(b *Bundle, i, j int) error {
		dst = append(dst, b.Bytes(i, j)...)
		return nil
	})
	return dst, err
}

func (g *Generation) bundleIterator() (*pebble.Iterator, error) {
	it, err := g.db.NewIter(within(spaceBundle))
	return it, classify("read operations", err)
}

// seekBundle moves to the bundle that holds loc, or to one before it. buf is
// memory for a key.
func (g *Generation) seekBundle(it *pebble.Iterator, loc uint64, buf []byte) bool {
	if g.opSize == 0 {
		return seekBundleAt(it, loc, buf)
	}
	// Seeking forward is cheaper, and a closed bundle holds its whole slot.
	// Only in the last slot there are fragments to skip.
	slot := loc &^ (SlotOperations - 1)
	if !seekFar(it, bundleKey(buf, slot), bundleEnd) || len(it.Key()) != bundleKeyLen {
		return it.Valid()
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return true // the caller asks for it again
	}
	if first := locationOf(it.Key()); first <= loc && first+uint64(len(value)/g.opSize) <= loc {
		return seekBundleAt(it, loc, buf)
	}
	return true
}

// seekBundleAt moves to the last bundle that begins at loc or before.
func seekBundleAt(it *pebble.Iterator, loc uint64, buf []byte) bool {
	return it.SeekLT(bundleKey(buf, loc+1)) && it.Key()[0] == spaceBundle
}
