package store

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// Index reads the key index. It is not safe for concurrent use; Close it.
type Index struct {
	g  *Generation
	it *pebble.Iterator
	// The key asked for last, as it begins its entries.
	buf    []byte
	prefix int
}

// Index opens a reader of the index as it is now.
func (g *Generation) Index() (*Index, error) {
	x := &Index{g: g}
	return x, x.open()
}

func (x *Index) open() (err error) {
	x.it, err = x.g.db.NewIter(before(indexEnd))
	return classify("read index", err)
}

// Close ends the reader.
func (x *Index) Close() {
	if x.it != nil {
		closeIterator(x.it)
	}
}

// closeIterator closes an iterator whose errors were returned by the calls
// that met them.
func closeIterator(it *pebble.Iterator) { _ = it.Close() }

// Latest returns the newest entry of key below size: the location of the last
// operation on it and the kind the writer gave. Sorted keys are found faster.
func (x *Index) Latest(key []byte, size uint64) (loc uint64, kind byte, ok bool, err error) {
	if size == 0 {
		return 0, 0, false, nil
	}
	x.ask(key, size)
	return x.entry(x.it.SeekGE(x.buf))
}

// LatestFar is Latest of a key that has nothing to do with the one before.
func (x *Index) LatestFar(key []byte, size uint64) (loc uint64, kind byte, ok bool, err error) {
	if size == 0 {
		return 0, 0, false, nil
	}
	x.ask(key, size)
	return x.entry(seekFar(x.it, x.buf, indexEnd))
}

// ask notes the key asked for, and where its entries below size begin.
func (x *Index) ask(key []byte, size uint64) {
	x.buf = x.g.indexPrefix(x.buf[:0], key)
	x.prefix = len(x.buf)
	x.buf = appendIndexLocation(x.buf, size-1)
}

// Earlier is Latest of the same key as the last call, which found an entry,
// at a smaller size. It is cheap where the key has few entries in between.
func (x *Index) Earlier(size uint64) (loc uint64, kind byte, ok bool, err error) {
	for range maxSteps {
		loc, kind, ok, err = x.entry(x.it.Next())
		if err != nil || !ok || loc < size {
			return loc, kind, ok, err
		}
	}
	if size == 0 {
		return 0, 0, false, nil
	}
	x.buf = appendIndexLocation(x.buf[:x.prefix], size-1)
	return x.entry(x.it.SeekGE(x.buf))
}

// entry reads the entry the iterator stands at, if it is of the key asked for.
func (x *Index) entry(valid bool) (loc uint64, kind byte, ok bool, err error) {
	if !valid {
		return 0, 0, false, classify("read index", x.it.Error())
	}
	n := x.prefix
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
	return x.ScanContext(context.Background(), from, size, fn)
}

// ScanContext is Scan that ends with ctx, whose error it then returns. It looks
// at ctx now and then, also while there is nothing for fn: entries of later
// states may be most of the index.
func (x *Index) ScanContext(ctx context.Context, from []byte, size uint64, fn func(key []byte, loc uint64, kind byte) (bool, error)) error {
	if size == 0 {
		return nil
	}
	seek := append([]byte{spaceIndex}, from...)
	if x.g.opSize == 0 {
		seek = appendEscaped([]byte{spaceIndex}, from)
	}
	var key, done []byte // done: what the entries of the key given last begin with
	skipped := 0
	steps := 0
	for ok := x.it.SeekGE(seek); ok; {
		if steps++; steps%stepsPerCheck == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		k := x.it.Key()
		if len(k) == len(done)+8 && bytes.HasPrefix(k, done) {
			// An older entry of the same key. A few are stepped over; where
			// there are many, seeking is cheaper.
			if skipped++; skipped < maxSteps {
				ok = x.it.Next()
				continue
			}
			// The last possible entry of this key is the one of location 0.
			seek = append(append(seek[:0], done...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
			skipped, ok = 0, x.it.SeekGE(seek)
			continue
		}
		var loc uint64
		if key, loc, ok = x.g.splitIndexKey(key[:0], k); !ok {
			return corrupt(x.g.path, "index key %x", k)
		}
		if loc >= size { // of a later state
			if skipped++; skipped < maxSteps {
				ok = x.it.Next()
				continue
			}
			seek = appendIndexLocation(append(seek[:0], k[:len(k)-8]...), size-1)
			skipped, ok = 0, x.it.SeekGE(seek)
			continue
		}
		v, err := x.it.ValueAndErr()
		if err != nil {
			return classify("read index", err)
		}
		if len(v) != 1 {
			return corrupt(x.g.path, "index entry %x has a value of %d bytes", k, len(v))
		}
		done, skipped = append(done[:0], k[:len(k)-8]...), 0
		more, err := fn(key, loc, v[0])
		if err != nil || !more {
			return err
		}
		ok = x.it.Next()
	}
	return classify("scan index", x.it.Error())
}

// stepsPerCheck is how many steps a scan takes between two looks at its
// context: well below a millisecond.
const stepsPerCheck = 1024

// maxSteps is how many entries in a row are stepped over before seeking:
// a seek costs about as much.
const maxSteps = 4
