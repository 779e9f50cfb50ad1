package database

import (
	"bytes"
	"errors"
	"slices"
	"sort"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// raise moves live operations from the floor up to the end of the log, batch
// after batch of a plan: what it has passed is dead, or moved.
type raise struct {
	at    uint64 // the location to be looked at next
	moves int    // about how many are to be made
	size  int    // of the window before, in operations

	window []candidate // what is left of the stored operations below at
	buf    []byte      // their bytes
	x      lookup
}

// candidate is a stored update, perhaps a live one.
type candidate struct {
	loc  uint64
	op   []byte
	name []byte // the key
	key  int    // its number in plan.keys, or keyOther
	live bool   // unless a batch writes it
}

// Stored operations are looked at in windows: looking their keys up in order is
// several times faster than one by one. A window that holds no more operations
// than moves are to be made looks nothing up in vain; where few of them are
// live, windows grow.
const (
	firstRaise = 4
	lastRaise  = 64 << 10
	raiseBytes = 8 << 20 // of operations in a window
)

// expect begins at the floor. About so many moves are to be made.
func (r *raise) expect(p *plan, moves int) {
	r.at, r.moves, r.size = max(p.floor, p.w.state.Start), moves, firstRaise/2
}

// by raises the floor by so many live operations. Those moved by the same batch
// are not moved again: if there are fewer, the floor is where they begin.
func (r *raise) by(p *plan, steps int) error {
	limit := p.end()
	for ; steps > 0; steps-- {
		found, err := r.step(p, limit)
		if err != nil {
			return err
		}
		if !found {
			p.floor = limit
			return nil
		}
		r.moves--
	}
	return nil
}

// step moves the next live operation below limit up, if there is one.
func (r *raise) step(p *plan, limit uint64) (bool, error) {
	for len(r.window) > 0 || r.at < p.stored {
		if len(r.window) == 0 {
			if err := r.look(p); err != nil {
				return false, err
			}
			continue
		}
		c := r.window[0]
		r.window = r.window[1:]
		if c.key >= 0 {
			c.live = p.live(c.loc, c.key)
		}
		if c.live {
			p.move(c.loc, c.op, c.key)
			return true, nil
		}
	}
	for r.at < limit {
		loc := r.at
		r.at++
		if key := p.planned[loc-p.stored].key; key == keyOther || key >= 0 && p.live(loc, key) {
			p.move(loc, p.at(loc), key)
			return true, nil
		}
	}
	return false, nil
}

// live says whether the operation at loc is the newest one on a key of the batches.
func (p *plan) live(loc uint64, key int) bool {
	e := p.keys.entries[key]
	return e.ok && e.loc == loc
}

// look makes the next stored operations the window.
func (r *raise) look(p *plan) error {
	r.size = min(max(2*r.size, r.moves), lastRaise)
	end, err := r.read(p, r.at, min(p.stored, r.at+uint64(r.size)))
	if err != nil {
		return err
	}
	r.at = end
	return r.judge(p)
}

// read makes the updates of [at, end) the window, or of fewer operations if
// they are large, and says where it ends.
func (r *raise) read(p *plan, at, end uint64) (uint64, error) {
	r.window = slices.Grow(r.window[:0], int(end-at))
	r.buf = make([]byte, 0, int(end-at)*p.w.codec.Size())
	err := p.r.Bundles(at, end, func(b *store.Bundle, i, j int) error {
		if len(r.buf) > raiseBytes {
			end = b.First + uint64(i)
			return errStop
		}
		r.buf = slices.Grow(r.buf, len(b.Bytes(i, j))) // candidates found earlier keep the old array
		for k := i; k < j; k++ {
			if kind, ok := p.w.codec.KindOf(b.At(k)); !ok || kind != operation.Update {
				continue
			}
			n := len(r.buf)
			r.buf = append(r.buf, b.At(k)...)
			op, err := p.w.codec.Decode(r.buf[n:])
			if err != nil {
				return &store.CorruptError{Where: p.w.g.Path(), Err: err}
			}
			r.window = append(r.window, candidate{loc: b.First + uint64(k), op: r.buf[n:len(r.buf):len(r.buf)], name: op.Key})
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return end, err
}

// judge finds out which candidates no batch writes, and which of those the index
// names as the newest operation on their key.
func (r *raise) judge(p *plan) error {
	x := &r.x
	x.keys = x.keys[:0]
	var asked []int
	at := 0 // in the keys of the batches
	for _, o := range sortKeys(len(r.window), func(i int) []byte { return r.window[i].name }) {
		c := &r.window[o.i]
		at = advance(p.keys.keys, at, c.name)
		if c.key = keyOther; at < len(p.keys.keys) && bytes.Equal(p.keys.keys[at], c.name) {
			c.key = at
			continue
		}
		x.keys, asked = append(x.keys, c.name), append(asked, o.i)
	}
	if err := x.latest(p.r, p.w.g, p.stored); err != nil {
		return err
	}
	for i, e := range x.entries {
		c := &r.window[asked[i]]
		c.live = e.ok && e.loc == c.loc
	}
	return nil
}

// advance is the number of the first of keys, which ascend, from at on that is
// not below key: it is looked for in steps that double.
func advance(keys [][]byte, at int, key []byte) int {
	step := 1
	for at+step <= len(keys) && bytes.Compare(keys[at+step-1], key) < 0 {
		at += step
		step *= 2
	}
	n := min(step, len(keys)-at)
	return at + sort.Search(n, func(i int) bool { return bytes.Compare(keys[at+i], key) >= 0 })
}
