package database

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Keys calls fn with every live key that starts with prefix and is greater
// than after (nil: from the first), and the location of the operation that
// wrote it, in bytewise order, until fn returns false. It reads no values. key
// is valid during the call only.
func (v *View) Keys(prefix, after []byte, fn func(key []byte, location uint64) bool) error {
	return v.KeysContext(context.Background(), prefix, after, fn)
}

// KeysContext is Keys that ends with ctx, whose error it then returns: finding
// the next key may take a walk over all those that are not live, or are of
// later states.
func (v *View) KeysContext(ctx context.Context, prefix, after []byte, fn func(key []byte, location uint64) bool) error {
	r := v.gen.Reader()
	defer r.Release()
	return v.walk(ctx, r, prefix, after, func(key []byte, loc uint64) (bool, error) {
		return fn(key, loc), nil
	})
}

// Scan is Keys with values. key is valid during the call only; the value is
// fn's.
func (v *View) Scan(prefix, after []byte, fn func(key []byte, e Entry) bool) error {
	return v.Page(prefix, after, math.MaxInt, fn)
}

// Page is Scan of at most limit keys. A limit that is known beforehand saves
// reading ahead in vain.
func (v *View) Page(prefix, after []byte, limit int, fn func(key []byte, e Entry) bool) error {
	return v.PageContext(context.Background(), prefix, after, limit, fn)
}

// PageContext is Page that ends with ctx, as KeysContext does.
func (v *View) PageContext(ctx context.Context, prefix, after []byte, limit int, fn func(key []byte, e Entry) bool) error {
	if limit <= 0 {
		return nil
	}
	r := v.gen.Reader()
	defer r.Release()
	w := window{v: v, r: r, size: firstWindow}
	if limit <= lastWindow {
		w.size = limit
	}
	more := true
	err := v.walk(ctx, r, prefix, after, func(key []byte, loc uint64) (_ bool, err error) {
		w.add(key, loc)
		limit--
		if limit == 0 || len(w.rows) >= w.size {
			more, err = w.emit(fn)
			w.size = min(2*w.size, lastWindow)
		}
		return more && limit > 0, err
	})
	if err == nil && more {
		_, err = w.emit(fn)
	}
	return err
}

// walk walks the live keys of a prefix.
func (v *View) walk(ctx context.Context, r *store.Reader, prefix, after []byte, fn func(key []byte, loc uint64) (bool, error)) error {
	x, err := r.Index()
	if err != nil {
		return err
	}
	from := prefix
	if bytes.Compare(after, prefix) > 0 {
		from = after
	}
	return x.ScanContext(ctx, from, v.state.Size, func(key []byte, loc uint64, kind byte) (bool, error) {
		if !bytes.HasPrefix(key, prefix) {
			return false, nil
		}
		if after != nil && bytes.Compare(key, after) <= 0 || !v.live(loc, kind) {
			return true, nil
		}
		return fn(key, loc)
	})
}

// Keys come in their own order, operations lie in another one. Windows of
// keys are read in the order of the operations: the more keys, the more of
// them share a bundle. They grow, so that a scan that is stopped early has
// not read much in vain.
const (
	firstWindow = 64
	lastWindow  = 16 << 10
	// windowBytes bounds the operations of a window; what does not fit is read
	// when its turn comes.
	windowBytes = 4 << 20
	// A value that is kept keeps this much memory of its neighbours.
	chunkBytes = 16 << 10
)

// window is a run of live keys on its way to the caller.
type window struct {
	v    *View
	r    *store.Reader
	size int // rows that make it full

	keys  []byte
	rows  []row
	order []int32 // rows by location
	locs  []uint64
}

type row struct {
	end int // of the key in keys
	loc uint64
	op  []byte // nil: not read
}

func (w *window) add(key []byte, loc uint64) {
	w.keys = append(w.keys, key...)
	w.rows = append(w.rows, row{end: len(w.keys), loc: loc})
}

// read fetches the operations of the rows as far as they fit.
func (w *window) read() error {
	w.order, w.locs = w.order[:0], w.locs[:0]
	for i := range w.rows {
		w.order = append(w.order, int32(i))
	}
	slices.SortFunc(w.order, func(a, b int32) int { return cmp.Compare(w.rows[a].loc, w.rows[b].loc) })
	for _, i := range w.order {
		w.locs = append(w.locs, w.rows[i].loc)
	}
	room := windowBytes
	var chunk []byte
	return w.r.Fetch(w.locs, func(i int, op []byte) error {
		if room -= len(op); room < 0 {
			return nil
		}
		if cap(chunk)-len(chunk) < len(op) {
			chunk = make([]byte, 0, max(len(op), min(chunkBytes, (len(w.locs)-i)*len(op))))
		}
		n := len(chunk)
		chunk = append(chunk, op...)
		w.rows[w.order[i]].op = chunk[n:len(chunk):len(chunk)]
		return nil
	})
}

// emit hands the rows to fn and empties the window. It says whether fn wants more.
func (w *window) emit(fn func(key []byte, e Entry) bool) (bool, error) {
	if err := w.read(); err != nil {
		return false, err
	}
	from := 0
	for _, x := range w.rows {
		key := w.keys[from:x.end:x.end]
		from = x.end
		var op operation.Operation
		var err error
		if x.op != nil {
			op, err = w.v.decode(x.op, x.loc)
		} else {
			op, err = w.v.operationBy(w.r, x.loc)
		}
		if err != nil {
			return false, err
		}
		e, err := entryOf(w.v.gen, op, key, x.loc)
		if err != nil || !fn(key, e) {
			return false, err
		}
	}
	w.keys, w.rows = w.keys[:0], w.rows[:0]
	return true, nil
}
