package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// What follows reads a generation as a checker does: record by record, and on
// after a record that is wrong or a table that cannot be read. The ordinary
// readers end at the first of them.

// RangeFault is a place in the bundles that is not as it should be.
type RangeFault struct {
	From, To uint64 // locations [From, To)
	// Lost: the operations of the range could not be had. Otherwise they
	// could, and only the way they lie on disk is wrong.
	Lost bool
	File string // the table, where it is known
	Err  error
}

// CheckBundles walks the bundles that hold [start, end) and hands their
// operations to visit in order: operations [i, j) of b, which is valid during
// the call only. Where operations are lost, fault is called instead, so that
// the two together cover the range. Bundles beyond end are faults too. Errors
// of the functions end the walk; errors of the disk do not.
func (g *Generation) CheckBundles(start, end uint64, visit func(b *Bundle, i, j int) error, fault func(RangeFault) error) error {
	it, err := g.bundleIterator()
	if err != nil {
		return err
	}
	defer closeIterator(it)
	w := bundleCheck{g: g, it: it, at: start, end: end, visit: visit, fault: fault}
	ok, tried := g.seekBundle(it, start, nil), start
	for {
		for ; ok; ok = it.Next() {
			if err := w.record(); err != nil {
				return err
			}
		}
		if it.Error() == nil {
			break
		}
		w.unreadable(it.Error())
		// What follows may be readable. A bundle begins at every slot at least.
		tried = max(tried, w.at)
		for it.Error() != nil && !ok && tried < end {
			tried = (tried | (SlotOperations - 1)) + 1
			ok = it.SeekGE(bundleKey(nil, tried))
		}
		if !ok {
			break
		}
	}
	return w.gap(end)
}

// bundleCheck is a walk of CheckBundles.
type bundleCheck struct {
	g       *Generation
	it      *pebble.Iterator
	b       Bundle
	at, end uint64 // operations below at have been handed on or given up
	begun   bool   // something has been
	why     error  // what is known of a gap that begins there
	file    string
	visit   func(b *Bundle, i, j int) error
	fault   func(RangeFault) error
}

// unreadable remembers why operations from at on may be missing.
func (w *bundleCheck) unreadable(err error) {
	if w.why == nil {
		w.why, w.file = err, CorruptFile(err)
	}
}

// gap reports the operations [at, to) as lost, if there are any.
func (w *bundleCheck) gap(to uint64) error {
	if w.at >= to {
		w.why, w.file = nil, ""
		return nil
	}
	f := RangeFault{From: w.at, To: to, Lost: true, File: w.file, Err: w.why}
	if f.Err == nil {
		f.Err = errors.New("no bundle holds them")
	}
	w.at, w.begun, w.why, w.file = to, true, nil, ""
	return w.fault(f)
}

func (w *bundleCheck) record() error {
	value, err := w.it.ValueAndErr()
	if err == nil {
		err = w.b.decode(w.g, w.it.Key(), value)
	}
	if err != nil {
		w.unreadable(err)
		return nil
	}
	b := &w.b
	if b.First >= w.end {
		if err := w.gap(w.end); err != nil {
			return err
		}
		return w.layout("lies beyond the operations the state speaks of")
	}
	switch {
	case b.First > w.at:
		if err := w.gap(b.First); err != nil {
			return err
		}
	case b.First < w.at && w.begun:
		if err := w.layout("holds operations that another one holds too"); err != nil {
			return err
		}
	case b.End() <= w.at:
		return nil // the walk began with a bundle too many
	}
	if last := b.End() - 1; b.First&^(SlotOperations-1) != last&^(SlotOperations-1) {
		if err := w.layout("reaches over a multiple of 256"); err != nil {
			return err
		}
	}
	if b.End() > w.end {
		if err := w.layout("reaches beyond the operations the state speaks of"); err != nil {
			return err
		}
	}
	if b.End() <= w.at {
		return nil
	}
	i, j := int(w.at-b.First), int(min(b.End(), w.end)-b.First)
	w.at, w.begun, w.why, w.file = b.First+uint64(j), true, nil, ""
	return w.visit(b, i, j)
}

func (w *bundleCheck) layout(what string) error {
	return w.fault(RangeFault{From: w.b.First, To: w.b.End(), Err: fmt.Errorf("bundle %s", what)})
}

// CorruptFile is the table that an error of pebble's is about, if it says so.
func CorruptFile(err error) string {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return info.Path
	}
	return ""
}

// Pending says whether bundles below start are still on disk, and where the
// first of them begins.
func (g *Generation) Pending(start uint64) (from uint64, ok bool, err error) {
	it, err := g.bundleIterator()
	if err != nil {
		return 0, false, err
	}
	defer closeIterator(it)
	if !it.First() || len(it.Key()) != 9 {
		return 0, false, classify("read operations", it.Error())
	}
	value, err := it.ValueAndErr()
	var b Bundle
	if err != nil || b.decode(g, it.Key(), value) != nil {
		return 0, false, nil // CheckBundles comes to it, if it matters
	}
	return b.First, b.End() <= start, nil
}

// Strays hands the keys that belong to no space of this format to fn.
func (g *Generation) Strays(fn func(key []byte)) error {
	for _, space := range [][2][]byte{
		{nil, {spaceState}},
		{{spaceTile, tileLevels}, {spaceTile + 1}},
		{{spaceIndex + 1}, {spaceNote}},
		{{spaceNote + 1}, nil},
	} {
		it, err := g.db.NewIter(&pebble.IterOptions{LowerBound: space[0], UpperBound: space[1]})
		if err != nil {
			return classify("read keys", err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			fn(bytes.Clone(it.Key()))
		}
		err = it.Error()
		closeIterator(it)
		if err != nil {
			return classify("read keys", err)
		}
	}
	return nil
}

// OpenGenerationForReading is OpenGeneration that changes nothing of the
// generation, also in a directory that is open for writing.
func (d *Dir) OpenGenerationForReading(n uint64) (*Generation, error) {
	return d.openGeneration(n, true)
}

// Fix sets a derived record, a tile or an index entry, or removes it.
type Fix struct {
	key, value []byte // nil value: remove
}

// SetTile is a Fix that stores a tile; it takes the digests over.
func SetTile(id mmr.TileID, digests []byte) Fix { return Fix{tileKey(nil, id), digests} }

// SetIndexRecord is a Fix that stores an index entry; it takes the record over.
func SetIndexRecord(raw []byte) Fix {
	n := len(raw) - 1
	return Fix{raw[:n:n], raw[n:]}
}

// RemoveIndexRecord is a Fix that removes an index entry.
func RemoveIndexRecord(raw []byte) Fix { return Fix{key: raw[:len(raw)-1]} }

// RemoveRecord is a Fix that removes what stands under a key.
func RemoveRecord(key []byte) Fix { return Fix{key: key} }

// Mend makes all fixes in one durable step. Operations, state and notes are
// nothing that could be derived: a fix of them is refused.
func (g *Generation) Mend(fixes []Fix) error {
	b := g.db.NewBatch()
	for _, f := range fixes {
		var err error
		switch {
		case len(f.key) == 0 || f.key[0] != spaceTile && f.key[0] != spaceIndex:
			err = fmt.Errorf("record %x is not derived from operations", f.key)
		case f.value == nil:
			err = b.Delete(f.key, nil)
		default:
			err = b.Set(f.key, f.value, nil)
		}
		if err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return errors.Join(classify("mend "+g.path, b.Commit(pebble.Sync)), b.Close())
}
