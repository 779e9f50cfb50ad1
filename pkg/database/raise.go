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
	size  int    // of the window before, in operations; 0: none yet
	moved int    // of that window
	made  int    // moves of all of them
	tells bool   // what it passes is what the next one will: it began with a look ahead, and found what it wanted

	window []candidate // what is left of the stored operations below at
	buf    []byte      // their bytes
	x      lookup
	asked  []int // what each key of x is asked for: the number of a candidate, or ^ that of a key of the batches
}

// candidate is a stored update, perhaps a live one.
type candidate struct {
	loc  uint64
	op   []byte
	key  int  // its number in plan.keys, or keyOther
	live bool // unless a batch writes it
}

// Stored operations are looked at in windows: looking their keys up in order is
// several times faster than one by one. A window that holds no more operations
// than moves are to be made looks nothing up in vain; where few of them are
// live, windows grow.
const (
	firstRaise = 4
	lastRaise  = 256 << 10
	raiseBytes = 16 << 20 // of operations in a window
)

// expect begins at the floor. About so many moves are to be made.
func (r *raise) expect(p *plan, moves int) {
	r.at, r.moves = max(p.floor, p.w.state.Start), moves
}

// A large batch makes the look-ups of its keys and those of the floor a single pass
// through the index: the first window is read beforehand, as large as the keys that
// have a value will want it, of which a sample tells.
const (
	aheadKeys   = 4096
	aheadSample = 64
)

// ahead reads the first window of a plan whose keys are yet to be looked up, if that
// is worth while.
func (r *raise) ahead(p *plan) error {
	n := len(p.keys.keys)
	if n < p.w.ahead || p.reduced { // if it is, nobody knows what will remain
		return nil
	}
	index, err := p.r.Index()
	if err != nil {
		return err
	}
	live, asked := 0, min(n, aheadSample)
	for i := range asked {
		_, kind, ok, err := index.Latest(p.keys.keys[i*n/asked], p.stored)
		if err != nil {
			return err
		}
		if ok && operation.Kind(kind) != operation.Delete {
			live++
		}
	}
	if live == 0 {
		return nil
	}
	r.expect(p, n*live/asked+len(p.batches))
	r.tells = true
	return r.fill(p, p.w.passing.window(r.moves))
}

// passing is how many locations a raise passed to move so many operations: the others
// were dead, or written by its batches. The next raise will find about as many.
type passing struct{ locations, moves uint64 }

// firstPassing is taken for what nobody knows yet.
var firstPassing = passing{10, 9}

// mostPassing bounds what one raise makes the next one look at, in locations for a move:
// windows double by themselves.
const mostPassing = 8

// window is how many locations are to be looked at for so many moves, with some to spare:
// what remains costs another pass through the index.
func (x passing) window(moves int) int {
	return int(min(uint64(moves)*min(x.locations, mostPassing*x.moves)/x.moves*9/8, lastRaise))
}

// learn notes what a raise has passed, if that tells anything of the next one.
func (r *raise) learn(p *plan) {
	if r.tells && r.made > 0 {
		p.w.passing = passing{p.floor - p.w.state.Floor, uint64(r.made)}
	}
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
			p.floor, r.tells = limit, false
			return nil
		}
		r.moves--
		r.made++
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
			r.moved++
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
	size := r.moves
	if r.size > 0 {
		size = 2 * r.size
		if r.moved > 0 { // as many of the next ones will be live
			size = min(size, r.moves*r.size/r.moved*9/8+firstRaise)
		}
	}
	if err := r.fill(p, size); err != nil {
		return err
	}
	return r.judge(p, false)
}

// fill reads a window of about so many operations.
func (r *raise) fill(p *plan, size int) error {
	r.size, r.moved = min(max(size, firstRaise), lastRaise), 0
	end, err := r.read(p, r.at, min(p.stored, r.at+uint64(r.size)))
	if err != nil {
		return err
	}
	r.at = end
	return nil
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
			if _, err := p.w.codec.Decode(r.buf[n:]); err != nil {
				return &store.CorruptError{Where: p.w.g.Path(), Err: err}
			}
			r.window = append(r.window, candidate{loc: b.First + uint64(k), op: r.buf[n:len(r.buf):len(r.buf)]})
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return end, err
}

// judge finds out which candidates no batch writes, and which of those the index
// names as the newest operation on their key. The keys of the batches are looked
// up in the same pass, if they are not known yet.
func (r *raise) judge(p *plan, keys bool) error {
	x := &r.x
	x.keys, r.asked = x.keys[:0], r.asked[:0]
	at := 0 // in the keys of the batches
	passed := func(to int) {
		for ; at < to; at++ {
			if keys {
				x.keys, r.asked = append(x.keys, p.keys.keys[at]), append(r.asked, ^at)
			}
		}
	}
	name := func(i int) []byte { _, key := p.w.codec.Key(r.window[i].op); return key }
	for _, o := range sortKeys(len(r.window), name) {
		c, key := &r.window[o.i], name(o.i)
		passed(advance(p.keys.keys, at, key))
		if c.key = keyOther; at < len(p.keys.keys) && bytes.Equal(p.keys.keys[at], key) {
			c.key = at
			continue
		}
		x.keys, r.asked = append(x.keys, key), append(r.asked, o.i)
	}
	passed(len(p.keys.keys))
	if err := x.latest(p.r, p.w.g, p.stored); err != nil {
		return err
	}
	if keys {
		p.keys.entries = make([]entry, len(p.keys.keys))
	}
	for i, e := range x.entries {
		if n := r.asked[i]; n < 0 {
			p.keys.entries[^n] = e
		} else {
			c := &r.window[n]
			c.live = e.ok && e.loc == c.loc
		}
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
