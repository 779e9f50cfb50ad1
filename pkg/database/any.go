package database

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// buildAny turns the writes, sorted by key, into the operations of the family
// any without the commit: updates and deletes of existing keys by location,
// new keys, and the operations moved up to raise the floor (format.md section 3).
func (w *writerState) buildAny(writes []Write) (ops []byte, floor uint64, err error) {
	reader := w.g.ReaderAt(w.state.Size)
	defer reader.Release()
	x, err := reader.Index()
	if err != nil {
		return nil, 0, err
	}

	type existing struct {
		loc uint64
		i   int
	}
	var old []existing
	var created []int
	for i := range writes {
		loc, kind, ok, err := x.Latest(writes[i].Key, w.state.Size)
		switch {
		case err != nil:
			return nil, 0, err
		case ok && operation.Kind(kind) != operation.Delete:
			old = append(old, existing{loc, i})
		case !writes[i].Delete:
			created = append(created, i)
		}
	}
	slices.SortFunc(old, func(a, b existing) int { return cmp.Compare(a.loc, b.loc) })

	var live []int // offsets in ops of the updates this batch makes
	var fresh []uint64
	loc := w.state.Size
	add := func(x Write) error {
		op := operation.Operation{Kind: operation.Update, Key: x.Key, Value: x.Value}
		if x.Delete {
			op = operation.Operation{Kind: operation.Delete, Key: x.Key}
		} else {
			live, fresh = append(live, len(ops)), append(fresh, loc)
		}
		loc++
		ops, err = w.codec.Append(ops, op)
		return err
	}
	for _, e := range old {
		if err := add(writes[e.i]); err != nil {
			return nil, 0, err
		}
	}
	for _, i := range created {
		if err := add(writes[i]); err != nil {
			return nil, 0, err
		}
	}
	r := raise{w: w, r: reader, x: x, writes: writes, steps: len(old) + 1, ops: ops}
	if err := r.stored(); err != nil {
		return nil, 0, err
	}
	// Then the updates of this batch itself, if the scan gets that far.
	for i := 0; i < len(live) && r.steps > 0; i++ {
		n, err := w.codec.Next(ops[live[i]:])
		if err != nil {
			return nil, 0, err
		}
		r.move(fresh[i], ops[live[i]:live[i]+n])
	}
	if r.steps > 0 {
		return r.ops, loc, nil // fewer live operations than steps: the floor is the tip
	}
	return r.ops, r.floor, nil
}

// raise moves live operations from the floor up to the end of the log.
type raise struct {
	w      *writerState
	r      *store.Reader
	x      *store.Index
	writes []Write // of this batch, sorted by key: their stored operations are dead
	steps  int     // moves still to make
	ops    []byte  // operations of the batch so far
	floor  uint64  // after the last move
}

func (r *raise) move(loc uint64, op []byte) {
	r.ops = append(r.ops, op...)
	r.floor = loc + 1
	r.steps--
}

// candidate is a stored update that lives on if the index agrees.
type candidate struct {
	loc  uint64
	op   []byte
	key  []byte
	live bool
}

// Operations are looked at in windows: looking their keys up in order is
// several times faster than one by one. A window that holds no more operations
// than moves are to be made looks nothing up in vain; where few of them are
// live, windows grow.
const (
	firstRaise = 4
	lastRaise  = 4096
)

// stored scans the operations on disk, [floor, size).
func (r *raise) stored() error {
	s := r.w.state
	var window []candidate
	var buf []byte
	size := firstRaise
	for at := max(s.Floor, s.Start); at < s.Size && r.steps > 0; size *= 2 {
		size = min(max(size, r.steps), lastRaise)
		end := min(s.Size, at+uint64(size))
		window, buf = window[:0], buf[:0]
		err := r.r.Bundles(at, end, func(b *store.Bundle, i, j int) error {
			buf = slices.Grow(buf, len(b.Bytes(i, j))) // candidates found earlier keep the old array
			for k := i; k < j; k++ {
				if kind, ok := r.w.codec.KindOf(b.At(k)); !ok || kind != operation.Update {
					continue
				}
				n := len(buf)
				buf = append(buf, b.At(k)...)
				op, err := r.w.codec.Decode(buf[n:])
				if err != nil {
					return &store.CorruptError{Where: r.w.g.Path(), Err: err}
				}
				if r.written(op.Key) {
					continue
				}
				window = append(window, candidate{loc: b.First + uint64(k), op: buf[n:len(buf):len(buf)], key: op.Key})
			}
			return nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(window, func(a, b candidate) int { return bytes.Compare(a.key, b.key) })
		for i := range window {
			c := &window[i]
			loc, _, ok, err := r.x.Latest(c.key, s.Size)
			if err != nil {
				return err
			}
			c.live = ok && loc == c.loc
		}
		slices.SortFunc(window, func(a, b candidate) int { return cmp.Compare(a.loc, b.loc) })
		for i := 0; i < len(window) && r.steps > 0; i++ {
			if window[i].live {
				r.move(window[i].loc, window[i].op)
			}
		}
		at = end
	}
	return nil
}

// written says whether this batch writes key.
func (r *raise) written(key []byte) bool {
	_, ok := slices.BinarySearchFunc(r.writes, key, func(x Write, key []byte) int { return bytes.Compare(x.Key, key) })
	return ok
}
