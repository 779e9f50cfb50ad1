package store

import "github.com/cockroachdb/pebble/v2"

// seekFar is it.SeekGE(key), for a key that is probably not near. SeekGE takes up
// to four steps before it seeks, if the key is a later one than that of the seek
// before; each of them reads a block where an entry has one to itself, as bundles
// and tiles do, and is in vain. A limit makes it seek at once. end is the end of
// the space, which bounds the iterator anyway.
func seekFar(it *pebble.Iterator, key, end []byte) bool {
	return it.SeekGEWithLimit(key, end) == pebble.IterValid
}

// Fetch calls fn with the encoded operation at each of locs, which ascend;
// op is valid during the call only. Reading many operations in their order on
// disk costs a fraction of reading them one by one.
func (r *Reader) Fetch(locs []uint64, fn func(i int, op []byte) error) error {
	if err := r.openOps(); err != nil {
		return err
	}
	b, held := &r.bundle, false
	for i, loc := range locs {
		if !held || loc < b.First || loc >= b.End() {
			if err := r.moveTo(loc, held); err != nil {
				return err
			}
			held = true
		}
		if err := fn(i, b.At(int(loc-b.First))); err != nil {
			return err
		}
	}
	return nil
}

// moveTo decodes the bundle that holds loc. held: the one decoded is where the
// iterator stands.
func (r *Reader) moveTo(loc uint64, held bool) error {
	b, it := &r.bundle, r.ops
	if held && loc >= b.End() {
		// The next bundle is often the one; where operations vary in length
		// nothing else is as cheap.
		if near := loc-b.End() < SlotOperations; near && it.Next() {
			if ok, err := r.decodeAt(it, loc); ok || err != nil {
				return err
			}
		}
	}
	for ok := r.g.seekBundle(it, loc); ok; ok = it.Next() {
		if done, err := r.decodeAt(it, loc); done || err != nil {
			return err
		}
		if b.First > loc {
			break
		}
	}
	if err := it.Error(); err != nil {
		return classify("read operations", err)
	}
	return corrupt(r.g.path, "operation at location %d is missing", loc)
}

// decodeAt decodes the bundle the iterator stands at, and says whether it
// holds loc.
func (r *Reader) decodeAt(it *pebble.Iterator, loc uint64) (bool, error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return false, classify("read operations", err)
	}
	if err := r.bundle.decode(r.g, it.Key(), value); err != nil {
		return false, err
	}
	return r.bundle.First <= loc && loc < r.bundle.End(), nil
}
