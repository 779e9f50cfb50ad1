package database

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Change is a key whose value differs between two states.
type Change struct {
	Key, Value []byte // valid during the call only
	Deleted    bool   // the key has no value any more
	Location   uint64 // of the operation that did it
}

// Changes calls fn with every key whose value at v is not the one it had at
// from, an earlier retained commit boundary: once each, in order of the
// location of the operation that made it what it is, until fn returns false.
// A key that is written anew with the value it had, as raising the floor
// does, has not changed; nor has one that came and went in between. Memory
// does not grow with the range.
//
// from may be 0 where the log is retained from 0: then every live key has
// changed. Errors: ErrNotBoundary, ErrBeyond, and ErrPruned as of At.
func (v *View) Changes(from uint64, fn func(Change) bool) error {
	if from > 0 || v.state.Start > 0 {
		if _, err := v.readableAt(from); err != nil {
			return err
		}
	}
	d := differ{v: v, r: v.gen.Reader(), from: from}
	defer d.r.Release()
	for at, size := from, firstDiff; at < v.state.Size; size = min(2*size, lastDiff) {
		end := min(v.state.Size, at+uint64(size))
		if err := d.load(at, end); err != nil {
			return err
		}
		at += uint64(len(d.rows))
		if err := d.compare(); err != nil {
			return err
		}
		for _, x := range d.rows {
			if x.changed && !fn(Change{Key: x.op.Key, Value: x.op.Value, Deleted: x.op.Kind == operation.Delete, Location: x.loc}) {
				return nil
			}
		}
	}
	return nil
}

// Operations are compared in windows: keys are looked up in their order, the
// values before in the order they lie on disk.
const (
	firstDiff = 64
	lastDiff  = 4096
	diffBytes = 1 << 20 // of operations in a window, which has one at least
)

// differ finds out which operations are changes since from.
type differ struct {
	v    *View
	r    *store.Reader
	from uint64

	buf   []byte
	rows  []diffRow // by location
	order []int32   // rows to look at, in the order they are looked at
	locs  []uint64
}

type diffRow struct {
	loc     uint64
	op      operation.Operation
	before  uint64 // location of the key's operation as of from
	changed bool
}

// load takes the operations [from, to) into the window, as many as fit.
func (d *differ) load(from, to uint64) error {
	d.rows, d.buf = d.rows[:0], d.buf[:0]
	err := d.r.Bundles(from, to, func(b *store.Bundle, i, j int) error {
		for k := i; k < j; k++ {
			if len(d.rows) > 0 && len(d.buf)+len(b.At(k)) > diffBytes {
				return errStop
			}
			n := len(d.buf)
			d.buf = append(d.buf, b.At(k)...) // rows before keep the old array if it moves
			loc := b.First + uint64(k)
			op, err := d.v.decode(d.buf[n:len(d.buf):len(d.buf)], loc)
			if err != nil {
				return err
			}
			d.rows = append(d.rows, diffRow{loc: loc, op: op})
		}
		return nil
	})
	if err == errStop { //nolint:errorlint // our own, unwrapped
		return nil
	}
	return err
}

// compare marks the rows that are changes.
func (d *differ) compare() error {
	d.order = d.order[:0]
	for i := range d.rows {
		if d.rows[i].op.Kind != operation.Commit {
			d.order = append(d.order, int32(i))
		}
	}
	slices.SortFunc(d.order, func(a, b int32) int {
		return cmp.Or(bytes.Compare(d.rows[a].op.Key, d.rows[b].op.Key), cmp.Compare(a, b))
	})
	x, err := d.r.Index()
	if err != nil {
		return err
	}
	rewritten := d.order[:0]
	for n, i := range d.order {
		if n+1 < len(d.order) && bytes.Equal(d.rows[d.order[n+1]].op.Key, d.rows[i].op.Key) {
			continue // superseded within the window
		}
		again, err := d.look(x, &d.rows[i])
		if err != nil {
			return err
		}
		if again {
			rewritten = append(rewritten, i)
		}
	}
	d.order = rewritten
	return d.compareValues()
}

// look says whether the key had a value before and has one now, so that the
// two have to be compared. Otherwise it decides itself.
func (d *differ) look(x *store.Index, row *diffRow) (again bool, err error) {
	latest, _, ok, err := x.Latest(row.op.Key, d.v.state.Size)
	if err != nil {
		return false, err
	}
	if !ok || latest < row.loc {
		return false, &store.CorruptError{
			Where: d.v.gen.Path(),
			Err:   fmt.Errorf("the operation at location %d has no index entry", row.loc),
		}
	}
	if latest > row.loc {
		return false, nil
	}
	before, kind, ok, err := x.Earlier(d.from)
	if err != nil {
		return false, err
	}
	was, is := ok && d.v.live(before, kind), row.op.Kind != operation.Delete
	row.before, row.changed = before, was != is
	return was && is, nil
}

// compareValues compares the rows in order with what their keys had before.
func (d *differ) compareValues() error {
	slices.SortFunc(d.order, func(a, b int32) int { return cmp.Compare(d.rows[a].before, d.rows[b].before) })
	d.locs = d.locs[:0]
	for _, i := range d.order {
		d.locs = append(d.locs, d.rows[i].before)
	}
	return d.r.Fetch(d.locs, func(i int, b []byte) error {
		row := &d.rows[d.order[i]]
		op, err := d.v.decode(b, row.before)
		if err != nil {
			return err
		}
		e, err := entryOf(d.v.gen, op, row.op.Key, row.before)
		row.changed = !bytes.Equal(e.Value, row.op.Value)
		return err
	})
}
