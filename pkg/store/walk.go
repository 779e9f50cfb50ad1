package store

import "github.com/cockroachdb/pebble/v2"

// walker moves over bundles and keeps the one it stands at, decoded: what is
// asked for next often lies in it. The zero value but for g is ready; close it.
type walker struct {
	g    *Generation
	it   *pebble.Iterator // nil: not needed yet
	at   Bundle           // valid while held; it aliases what the iterator stands at
	held bool
	key  [bundleKeyLen]byte // scratch
}

func (w *walker) open() (err error) {
	if w.it == nil {
		w.it, err = w.g.db.NewIter(before(bundleEnd))
		err = classify("read operations", err)
	}
	return err
}

func (w *walker) close() {
	w.held = false
	if w.it != nil {
		closeIterator(w.it)
	}
}

// walk is Generation.Bundles with this walker.
func (w *walker) walk(start, end uint64, fn func(b *Bundle, i, j int) error) error {
	for at := start; at < end; {
		if err := w.moveTo(at); err != nil {
			return err
		}
		b := &w.at
		j := int(min(end, b.End()) - b.First)
		next := b.First + uint64(j)
		if err := fn(b, int(at-b.First), j); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// moveTo moves to the bundle that holds loc.
func (w *walker) moveTo(loc uint64) error {
	b, near := &w.at, false
	if w.held {
		if b.First <= loc && loc < b.End() {
			return nil
		}
		near = loc >= b.End() && loc-b.End() < SlotOperations
	}
	if err := w.g.damaged.known(slotSpot(loc)); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	w.held = false
	// The next bundle is often the one; where operations vary in length nothing
	// else is as cheap.
	if near {
		if w.it.Next() {
			if err := w.decode(loc); err != nil || w.held {
				return err
			}
		} else if err := w.it.Error(); err != nil {
			return w.failed(loc, err)
		}
	}
	for ok := w.g.seekBundle(w.it, loc, w.key[:0]); ok; ok = w.it.Next() {
		if err := w.decode(loc); err != nil || w.held {
			return err
		}
		if b.First > loc {
			break
		}
	}
	if err := w.it.Error(); err != nil {
		return w.failed(loc, err)
	}
	return corrupt(w.g.path, "operation at location %d is missing", loc)
}

// failed is what the walker's user gets to know of an error of the iterator on the way
// to loc.
func (w *walker) failed(loc uint64, err error) error {
	return w.g.damaged.note(slotSpot(loc), classify("read operations", err))
}

// decode decodes the bundle the iterator stands at. It is held if loc lies in it.
func (w *walker) decode(loc uint64) error {
	value, err := w.it.ValueAndErr()
	if err != nil {
		return w.failed(loc, err)
	}
	if err := w.at.decode(w.g, w.it.Key(), value); err != nil {
		return err
	}
	w.held = w.at.First <= loc && loc < w.at.End()
	return nil
}

// seekFar is it.SeekGE(key), for a key that is probably not near. SeekGE takes up
// to four steps before it seeks, if the key is a later one than that of the seek
// before; each of them reads a block where an entry has one to itself, as bundles
// and tiles do, and is in vain. A limit makes it seek at once. end is the end of
// the space, which bounds the iterator anyway.
func seekFar(it *pebble.Iterator, key, end []byte) bool {
	return it.SeekGEWithLimit(key, end) == pebble.IterValid
}
