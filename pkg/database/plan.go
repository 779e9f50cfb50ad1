package database

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// plan turns batches into operations, a commit for each, before anything is
// written. Each is planned against what is stored and what those before it will
// have written; keys are looked up once for all of them, in order.
type plan struct {
	w      *writerState
	r      *store.Reader // of everything stored; nil: keys are not looked up
	stored uint64        // size of the log before the plan

	*Prepared
	keys lookup // of all batches, and the newest operation on each, stored or planned

	ops     []byte // planned, from location stored on
	planned []planned
	floor   uint64 // after the batches planned so far
	commits int
	notes   []Note // of the batches that have a commit
	out     Outcome

	raise raise
	old   []existing // of the batch at work
	fresh []int
}

// planned is an operation of the plan.
type planned struct {
	offset int // in plan.ops
	key    int // its number in plan.keys, or one of those below
}

const (
	keyOther = -1 - iota // moved up by a raise, and no batch writes it
	keyNone              // a commit
)

// existing is a key that has a value.
type existing struct {
	loc uint64
	i   int // number of its change
}

// newPlan plans batches. An error says which of them is at fault, if there are several.
func (w *writerState) newPlan(b *Prepared) (*plan, error) {
	p := &plan{w: w, Prepared: b, stored: w.state.Size, floor: w.state.Floor}
	p.keys.keys = b.sorted
	live := 0 // keys of the batches that have a value
	if w.codec.Family() == operation.Any || b.reduced {
		p.r = w.g.ReaderAt(p.stored)
		defer p.r.Release()
		var err error
		if w.codec.Family() == operation.Any {
			err = p.raise.ahead(p)
		}
		if err == nil {
			live, err = p.find()
		}
		if err != nil {
			return nil, err
		}
		if err := p.compare(); err != nil {
			return nil, err
		}
	}
	written, moves := p.writes+len(p.batches), 0
	if w.codec.Family() == operation.Any {
		moves = live + len(p.batches)
		if p.raise.moves = moves; p.raise.size == 0 {
			p.raise.expect(p, moves)
		}
	}
	// Moved operations are taken to be as large as written ones.
	p.planned = make([]planned, 0, written+moves)
	p.ops = make([]byte, 0, p.bytes+p.bytes/written*moves)
	for i := range p.batches {
		if err := p.batch(p.changes[i], &p.batches[i]); err != nil {
			return nil, ofBatch(err, i, len(p.batches))
		}
	}
	p.raise.learn(p)
	return p, nil
}

func ofBatch(err error, i, n int) error {
	if n == 1 {
		return err
	}
	return fmt.Errorf("batch %d of %d: %w", i+1, n, err)
}

// find looks the keys up, and says how many have a value.
func (p *plan) find() (live int, err error) {
	if len(p.raise.window) == 0 {
		err = p.keys.latest(p.r, p.w.g, p.stored)
	} else {
		err = p.raise.judge(p, true)
	}
	if err != nil {
		return 0, err
	}
	for i := range p.keys.entries {
		e := &p.keys.entries[i]
		e.ok = e.ok && operation.Kind(e.kind) != operation.Delete && e.loc >= p.w.state.Start
		if e.ok {
			live++
		}
	}
	return live, nil
}

// compare finds out which writes of batches to be reduced are of the value that
// is stored, in the order of the log.
func (p *plan) compare() error {
	var at [][]*change // by key
	for i, b := range p.batches {
		if !b.OnlyChanges {
			continue
		}
		if at == nil {
			at = make([][]*change, len(p.keys.keys))
		}
		for j := range p.changes[i] {
			if c := &p.changes[i][j]; p.keys.entries[c.key].ok {
				at[c.key] = append(at[c.key], c)
			}
		}
	}
	var stored []existing
	for key, changes := range at {
		if len(changes) > 0 {
			stored = append(stored, existing{p.keys.entries[key].loc, key})
		}
	}
	sortExisting(stored)
	locs := make([]uint64, len(stored))
	for i, e := range stored {
		locs[i] = e.loc
	}
	return p.r.Fetch(locs, func(n int, b []byte) error {
		key := stored[n].i
		op, err := p.w.codec.Decode(b)
		if err != nil {
			return &store.CorruptError{Where: p.w.g.Path(), Err: err}
		}
		e, err := entryOf(p.w.g, op, p.keys.keys[key], locs[n])
		if err != nil {
			return err
		}
		for _, c := range at[key] {
			x := c.write
			c.same = !x.Delete && bytes.Equal(e.Value, x.Value)
		}
		return nil
	})
}

func sortExisting(all []existing) {
	slices.SortFunc(all, func(a, b existing) int { return cmp.Compare(a.loc, b.loc) })
}

// end is the location of the next operation.
func (p *plan) end() uint64 { return p.stored + uint64(len(p.planned)) }

// at is a planned operation.
func (p *plan) at(loc uint64) []byte {
	n := int(loc - p.stored)
	if n+1 < len(p.planned) {
		return p.ops[p.planned[n].offset:p.planned[n+1].offset]
	}
	return p.ops[p.planned[n].offset:]
}

// add plans one operation.
func (p *plan) add(op operation.Operation, key int) (err error) {
	if key >= 0 && p.r != nil {
		p.keys.entries[key] = entry{p.end(), byte(op.Kind), op.Kind != operation.Delete}
	}
	p.planned = append(p.planned, planned{len(p.ops), key})
	p.ops, err = p.w.codec.Append(p.ops, op)
	return err
}

// move plans a copy of the operation at loc, and raises the floor above it.
func (p *plan) move(loc uint64, op []byte, key int) {
	if key >= 0 {
		p.keys.entries[key].loc = p.end()
	}
	p.planned = append(p.planned, planned{len(p.ops), key})
	p.ops = append(p.ops, op...)
	p.floor = loc + 1
}

// batch plans the operations of a batch, the last one being its commit (format.md
// section 3); none if it is to be reduced and nothing remains.
func (p *plan) batch(changes []change, b *Batch) error {
	if err := p.classify(changes, b); err != nil {
		return err
	}
	if b.OnlyChanges && len(p.old)+len(p.fresh) == 0 {
		return nil
	}
	kind := operation.Update
	if p.w.codec.Family() == operation.Immutable {
		kind = operation.Set
	}
	add := func(c *change) error {
		x := c.write
		op := operation.Operation{Kind: kind, Key: x.Key, Value: x.Value}
		if x.Delete {
			op = operation.Operation{Kind: operation.Delete, Key: x.Key}
		}
		return p.add(op, c.key)
	}
	for _, e := range p.old {
		if err := add(&changes[e.i]); err != nil {
			return err
		}
	}
	for _, i := range p.fresh {
		if err := add(&changes[i]); err != nil {
			return err
		}
	}
	var err error
	if kind == operation.Set {
		err = p.chooseFloor(b)
	} else {
		err = p.raise.by(p, len(p.old)+1)
	}
	if err != nil {
		return err
	}
	p.commits++
	p.notes = append(p.notes, b.Notes...)
	return p.add(operation.Operation{Kind: operation.Commit, Value: b.Metadata, Floor: p.floor}, keyNone)
}

// classify sorts out which keys have a value, those in the order of their
// locations, and which do not, and counts what is left out.
func (p *plan) classify(changes []change, b *Batch) error {
	p.old, p.fresh = p.old[:0], p.fresh[:0]
	immutable := p.w.codec.Family() == operation.Immutable
	for i := range changes {
		c := &changes[i]
		x := c.write
		exists := p.r != nil && p.keys.entries[c.key].ok
		if b.OnlyChanges {
			same, err := p.same(c)
			switch {
			case err != nil:
				return err
			case !exists && x.Delete:
				p.out.Absent++
				continue
			case same:
				p.out.Unchanged++
				continue
			case exists && immutable:
				p.out.Conflicts++
				continue
			}
		}
		if x.Delete {
			p.out.Deleted++
		} else {
			p.out.Written++
		}
		p.out.Bytes += len(x.Key) + len(x.Value)
		switch {
		case exists && !immutable:
			p.old = append(p.old, existing{p.keys.entries[c.key].loc, i})
		case !x.Delete:
			p.fresh = append(p.fresh, i)
		}
	}
	sortExisting(p.old)
	return nil
}

// same says whether a change writes the value its key has.
func (p *plan) same(c *change) (bool, error) {
	e := p.keys.entries[c.key]
	x := c.write
	if !e.ok || x.Delete || e.loc < p.stored {
		return e.ok && c.same, nil
	}
	op, err := p.w.codec.Decode(p.at(e.loc))
	return bytes.Equal(op.Value, x.Value), err
}

// chooseFloor moves the floor of an immutable database to where the commit says.
func (p *plan) chooseFloor(b *Batch) error {
	commit := p.end()
	floor := b.Policy.Next(p.floor, commit)
	if b.Floor != nil {
		floor = *b.Floor
	}
	if floor < p.floor || floor > commit {
		return fmt.Errorf("%w: %d, between the previous floor %d and the commit's location %d", ErrFloor, floor, p.floor, commit)
	}
	p.floor = floor
	return nil
}
