package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// IndexRecord is an entry of the index as it lies on disk. Its slices are
// valid during the call they are handed to only.
type IndexRecord struct {
	Raw      []byte // the whole record: equal to AppendIndexRecord of what follows
	Key      []byte
	Location uint64
	Kind     byte
}

// AppendIndexRecord appends the record that the entry of an operation has.
func (g *Generation) AppendIndexRecord(dst, key []byte, loc uint64, kind byte) []byte {
	return append(appendIndexLocation(g.indexPrefix(dst, key), loc), kind)
}

// SplitIndexRecord takes a record apart. The key is appended to buf.
func (g *Generation) SplitIndexRecord(buf, raw []byte) (r IndexRecord, ok bool) {
	if len(raw) == 0 {
		return r, false
	}
	n := len(raw) - 1
	r = IndexRecord{Raw: raw, Kind: raw[n]}
	r.Key, r.Location, ok = g.splitIndexKey(buf, raw[:n])
	return r, ok
}

// IndexFault is a place in the index that cannot be what was written.
type IndexFault struct {
	// A record that is no entry: its key, for RemoveRecord.
	Record []byte
	// Or a range of keys that cannot be read: from after the last entry that
	// could be, to before To; nil: to the end.
	After, To []byte
	File      string // the table, where it is known
	Err       error
}

// CheckIndex hands every entry of the index to visit, in order, and every
// place that is none to fault. Errors of the functions end the walk.
func (g *Generation) CheckIndex(ctx context.Context, visit func(*IndexRecord) error, fault func(IndexFault) error) error {
	it, err := g.db.NewIter(within(spaceIndex))
	if err != nil {
		return classify("read index", err)
	}
	defer closeIterator(it)
	w := indexCheck{g: g, it: it, ctx: ctx, visit: visit, fault: fault}
	for ok := it.First(); ; {
		if err := w.records(ok); err != nil {
			return err
		}
		err := it.Error()
		if err == nil {
			return nil
		}
		f := IndexFault{After: bytes.Clone(w.at), To: w.behind(err), File: CorruptFile(err), Err: err}
		if err := fault(f); err != nil || f.To == nil {
			return err
		}
		w.at = f.To
		ok = it.SeekGE(f.To)
	}
}

// indexCheck is a walk of CheckIndex.
type indexCheck struct {
	g        *Generation
	it       *pebble.Iterator
	ctx      context.Context
	visit    func(*IndexRecord) error
	fault    func(IndexFault) error
	raw, key []byte // of the record at hand
	at       []byte // key up to which the index has been looked at
	n        int
}

// records goes on until the iterator ends.
func (w *indexCheck) records(ok bool) error {
	for ; ok; ok = w.it.Next() {
		if w.n++; w.n%stepsPerCheck == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		k := w.it.Key()
		w.raw = append(w.raw[:0], k...)
		w.at = w.raw
		value, err := w.it.ValueAndErr()
		if err == nil && len(value) != 1 {
			err = fmt.Errorf("a value of %d bytes", len(value))
		}
		if err == nil {
			w.raw = append(w.raw, value[0])
			w.at = w.raw[:len(k)]
			r, valid := w.g.SplitIndexRecord(w.key[:0], w.raw)
			if valid {
				w.key = r.Key
				if err := w.visit(&r); err != nil {
					return err
				}
				continue
			}
			err = errors.New("the key is none of an entry")
		}
		if err := w.fault(IndexFault{Record: bytes.Clone(k), Err: err}); err != nil {
			return err
		}
	}
	return nil
}

// behind is where to go on after an error: behind the table it is about. Nil:
// nowhere, because that is not known or is the end.
func (w *indexCheck) behind(err error) []byte {
	info := pebble.ExtractDataCorruptionInfo(err)
	if info == nil {
		return nil
	}
	to := append(bytes.Clone(info.Bounds.End.Key), 0)
	if bytes.Compare(to, w.at) <= 0 || to[0] != spaceIndex {
		return nil
	}
	return to
}
