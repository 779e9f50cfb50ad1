package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Write sets or deletes one key. The slices are read during Apply only.
type Write struct {
	Key, Value []byte
	Delete     bool
}

// Batch is a set of writes that take effect together. If a key is written
// several times, the last write counts. An empty batch is a commit as well.
type Batch struct {
	Writes   []Write
	Metadata []byte      // carried by the commit; nil: none
	Floor    *uint64     // immutable only: the new inactivity floor; nil: as Policy says
	Policy   FloorPolicy // immutable only, where Floor is nil; the zero value leaves the floor where it is
	Notes    []Note      // kept with the commit, outside the log

	// OnlyChanges leaves out the writes that change nothing: a value that is
	// there already, a delete of a key that is not; in an immutable database all
	// keys that are there. Commit.Outcome counts them. If nothing remains, nothing is committed.
	OnlyChanges bool
}

// Outcome says what became of the writes of a batch, of which the last one on
// each key counts. What was left out is counted with OnlyChanges alone.
type Outcome struct {
	Written, Deleted int
	Bytes            int // of their keys and values

	Unchanged int // left out: the value was there
	Absent    int // left out: the key to be deleted was not there
	Conflicts int // left out: immutable, and there with another value
}

// Commit describes what was applied: a batch, or several.
type Commit struct {
	Size       uint64     // of the log after it
	Floor      uint64     // inactivity floor after it
	Root       mmr.Digest // root at Size
	Commits    int        // that were made: one for each batch, but for those that changed nothing
	Operations int        // that the batches became, commits included
	Outcome
}

// ErrDelete: keys of an immutable database are never deleted.
var ErrDelete = errors.New("keys of an immutable database cannot be deleted")

// spaceOf is about how much space operations take on their way to the disk, in
// bytes: in the log of the storage engine and in tables, with index entries and
// digests.
func spaceOf(bytes, operations int) uint64 { return uint64(2*bytes + 128*operations) }

// Apply turns a batch into operations (format.md section 3), appends them and
// publishes the new state; it is durable when Apply returns. A batch that is
// refused (errors of package operation, ErrDelete, ErrFloor, *space.LowError)
// changes nothing.
// After a failure to write, every later call fails with ErrFailed.
func (d *DB) Apply(ctx context.Context, b Batch) (Commit, error) {
	return d.ApplyAll(ctx, []Batch{b})
}

// ApplyAll is Apply of batches one after the other: each has a commit of its own,
// as if it had been applied alone. All of them take effect together, for
// the price of one look through the index and of one wait for the disk; their
// memory, about twice over, is the caller's concern. If one is refused, none is applied.
func (d *DB) ApplyAll(ctx context.Context, batches []Batch) (Commit, error) {
	d.write.Lock()
	defer d.write.Unlock()
	w, err := d.begin(ctx)
	if err != nil {
		return Commit{}, err
	}
	return d.applyBatches(w, batches)
}

// begin returns the writer, unless ctx is over; d.write is held.
func (d *DB) begin(ctx context.Context) (*writerState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.openWriter()
}

// applyBatches does the work of ApplyAll; d.write is held.
func (d *DB) applyBatches(w *writerState, batches []Batch) (Commit, error) {
	p, err := d.Prepare(batches)
	if err != nil {
		return Commit{}, err
	}
	return d.apply(w, p)
}

// Update is Apply of a batch that depends on the state it is applied to. fn
// gets a view of everything applied so far, valid during the call only, while
// nobody else can write; it must not write itself. fn's error is
// returned as it is, and nothing is written then.
func (d *DB) Update(ctx context.Context, fn func(v *View) (Batch, error)) (Commit, error) {
	d.write.Lock()
	defer d.write.Unlock()
	w, err := d.begin(ctx)
	if err != nil {
		return Commit{}, err
	}
	v, err := d.View()
	if err != nil {
		return Commit{}, err
	}
	defer v.Close()
	b, err := fn(v)
	if err != nil {
		return Commit{}, err
	}
	return d.applyBatches(w, []Batch{b})
}

// apply does the work of ApplyPrepared; d.write is held.
func (d *DB) apply(w *writerState, b *Prepared) (Commit, error) {
	if len(b.batches) == 0 {
		return w.last(&plan{}), nil
	}
	p, err := w.newPlan(b)
	if err != nil || p.commits == 0 {
		return w.last(p), err
	}
	run, err := d.codec.NewRun(p.ops)
	if err != nil {
		return Commit{}, fmt.Errorf("encoded batch does not decode: %w", err)
	}
	if err := d.space.Need(spaceOf(len(p.ops), run.Len())); err != nil {
		return Commit{}, err
	}
	if err := w.write(run, p); err != nil {
		d.failed = err
		return Commit{}, err
	}
	d.publish(w.g, w.state, w.frontier)
	return w.last(p), nil
}

// last describes the state after a plan.
func (w *writerState) last(p *plan) Commit {
	if p == nil {
		return Commit{}
	}
	return Commit{Size: w.state.Size, Floor: w.state.Floor, Root: w.state.Root, Commits: p.commits, Operations: len(p.planned), Outcome: p.out}
}

// write makes the operations of a plan, and its notes, durable.
func (w *writerState) write(run operation.Run, p *plan) error {
	if err := w.append(run); err != nil {
		return err
	}
	for _, n := range p.notes {
		if err := w.w.Note(n.Key, n.Value); err != nil {
			return err
		}
	}
	return w.publish(p.floor)
}

// openWriter returns the writer of Apply; d.write is held.
func (d *DB) openWriter() (*writerState, error) {
	d.mu.Lock()
	closed, gen, stored := d.closed, d.gen, d.stored
	d.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case d.failed != nil:
		return nil, fmt.Errorf("%w: %w", ErrFailed, d.failed)
	case d.dir.ReadOnly():
		if err := d.space.Need(0); err != nil {
			return nil, err // that is why
		}
		return nil, store.ErrReadOnly
	case gen == nil:
		return nil, ErrEmpty
	case d.writer != nil:
		return d.writer, nil
	}
	// What a replica stored beyond its published state is not part of the log
	// that is about to be written.
	if stored.Stored > stored.Size {
		if err := d.space.Need(0); err != nil {
			return nil, err
		}
	}
	stored, err := gen.Truncate(stored, stored.Size, indexKey(d.codec))
	d.mu.Lock()
	d.stored = stored
	d.mu.Unlock()
	if err != nil {
		d.failed = err
		return nil, err
	}
	w, err := d.newWriter(gen, stored)
	if err != nil {
		return nil, err
	}
	d.writer = w
	return w, nil
}
