package database

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// changes are the writes of a batch, sorted by key, and what is there already.
type changes struct {
	w      *writerState
	r      *store.Reader // of everything committed; one batch makes do with it
	writes []Write
	x      lookup

	old     []existing // ascending by location
	created []int      // numbers of writes of keys that are not there
	absent  int        // deletes of such
}

// existing is a key that has a value.
type existing struct {
	loc uint64
	i   int // number of its write
}

// find looks the keys up.
func (c *changes) find() error {
	for i := range c.writes {
		c.x.keys = append(c.x.keys, c.writes[i].Key)
	}
	if err := c.x.latest(c.r, c.w.g, c.w.state.Size); err != nil {
		return err
	}
	for i, e := range c.x.entries {
		switch {
		case e.ok && operation.Kind(e.kind) != operation.Delete && e.loc >= c.w.state.Start:
			c.old = append(c.old, existing{e.loc, i})
		case !c.writes[i].Delete:
			c.created = append(c.created, i)
		default:
			c.absent++
		}
	}
	slices.SortFunc(c.old, func(a, b existing) int { return cmp.Compare(a.loc, b.loc) })
	return nil
}

// reduce leaves only the writes that change something.
func (c *changes) reduce() (out Outcome, err error) {
	out.Absent = c.absent
	immutable := c.w.codec.Family() == operation.Immutable
	locs := make([]uint64, len(c.old))
	for i, e := range c.old {
		locs[i] = e.loc
	}
	keep := make([]bool, len(c.writes))
	for _, i := range c.created {
		keep[i] = true
	}
	if err = c.r.Fetch(locs, func(n int, b []byte) error {
		x := c.writes[c.old[n].i]
		op, err := c.w.codec.Decode(b)
		if err != nil {
			return &store.CorruptError{Where: c.w.g.Path(), Err: err}
		}
		e, err := entryOf(c.w.g, op, x.Key, locs[n])
		if err != nil {
			return err
		}
		switch same := bytes.Equal(e.Value, x.Value); {
		case same && !x.Delete:
			out.Unchanged++
		case immutable:
			out.Conflicts++
		default:
			keep[c.old[n].i] = true
		}
		return nil
	}); err != nil {
		return out, err
	}
	number := make([]int, len(c.writes)) // after what is left out is gone
	writes := c.writes
	c.writes = c.writes[:0]
	for i, x := range writes {
		if number[i] = len(c.writes); keep[i] {
			c.writes = append(c.writes, x)
		}
	}
	c.old = slices.DeleteFunc(c.old, func(e existing) bool { return !keep[e.i] })
	for n := range c.old {
		c.old[n].i = number[c.old[n].i]
	}
	for n := range c.created {
		c.created[n] = number[c.created[n]]
	}
	return out, nil
}

// buildAny turns the writes into the operations of the family any without the
// commit: updates and deletes of existing keys by location, new keys, and the
// operations moved up to raise the floor (format.md section 3).
func (w *writerState) buildAny(c *changes) (ops []byte, floor uint64, err error) {
	writes, old, created := c.writes, c.old, c.created
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
	r := raise{w: w, r: c.r, x: c.x, writes: writes, steps: len(old) + 1, ops: ops}
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
	x      lookup
	writes []Write // of this batch, sorted by key: their stored operations are dead
	steps  int     // moves still to make
	ops    []byte  // operations of the batch so far
	floor  uint64  // after the last move

	window []candidate
	buf    []byte // their operations
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
	lastRaise  = 64 << 10
	raiseBytes = 8 << 20 // of operations in a window
)

// stored scans the operations on disk, [floor, size).
func (r *raise) stored() error {
	s := r.w.state
	size := firstRaise
	for at := max(s.Floor, s.Start); at < s.Size && r.steps > 0; size *= 2 {
		size = min(max(size, r.steps), lastRaise)
		end, err := r.read(at, min(s.Size, at+uint64(size)))
		if err != nil {
			return err
		}
		if err := r.judge(); err != nil {
			return err
		}
		for i := 0; i < len(r.window) && r.steps > 0; i++ {
			if r.window[i].live {
				r.move(r.window[i].loc, r.window[i].op)
			}
		}
		at = end
	}
	return nil
}

// read makes the updates of [at, end) the window, or of fewer operations if
// they are large, and says where it ends.
func (r *raise) read(at, end uint64) (uint64, error) {
	r.window, r.buf = r.window[:0], r.buf[:0]
	err := r.r.Bundles(at, end, func(b *store.Bundle, i, j int) error {
		if len(r.buf) > raiseBytes {
			end = b.First + uint64(i)
			return errStop
		}
		r.buf = slices.Grow(r.buf, len(b.Bytes(i, j))) // candidates found earlier keep the old array
		for k := i; k < j; k++ {
			if kind, ok := r.w.codec.KindOf(b.At(k)); !ok || kind != operation.Update {
				continue
			}
			n := len(r.buf)
			r.buf = append(r.buf, b.At(k)...)
			op, err := r.w.codec.Decode(r.buf[n:])
			if err != nil {
				return &store.CorruptError{Where: r.w.g.Path(), Err: err}
			}
			r.window = append(r.window, candidate{loc: b.First + uint64(k), op: r.buf[n:len(r.buf):len(r.buf)], key: op.Key})
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return end, err
}

// judge finds out which candidates live on: those that this batch does not
// write, and that the index names as the newest operation on their key.
func (r *raise) judge() error {
	x := &r.x
	x.keys = x.keys[:0]
	var asked []int
	at := 0 // in writes
	for _, o := range sortKeys(len(r.window), func(i int) []byte { return r.window[i].key }) {
		key := r.window[o.i].key
		for at < len(r.writes) && bytes.Compare(r.writes[at].Key, key) < 0 {
			at++
		}
		if at < len(r.writes) && bytes.Equal(r.writes[at].Key, key) {
			continue
		}
		x.keys, asked = append(x.keys, key), append(asked, o.i)
	}
	if err := x.latest(r.r, r.w.g, r.w.state.Size); err != nil {
		return err
	}
	for i, e := range x.entries {
		c := &r.window[asked[i]]
		c.live = e.ok && e.loc == c.loc
	}
	return nil
}
