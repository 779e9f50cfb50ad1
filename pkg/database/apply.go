package database

import (
	"bytes"
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

	// NoSync leaves out waiting for the disk. What is not durable is not
	// published: the next synced batch, or Sync, does both.
	NoSync bool
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

// Commit describes an applied batch.
type Commit struct {
	Size       uint64     // of the log after it
	Floor      uint64     // inactivity floor after it
	Root       mmr.Digest // root at Size
	Operations int        // that the batch became, the commit included; 0: nothing was committed
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
	d.write.Lock()
	defer d.write.Unlock()
	if err := ctx.Err(); err != nil {
		return Commit{}, err
	}
	w, err := d.openWriter()
	if err != nil {
		return Commit{}, err
	}
	return d.apply(w, b)
}

// Update is Apply of a batch that depends on the state it is applied to. fn
// gets a view of everything applied so far, valid during the call only, while
// nobody else can write; it must not write itself. Batches that were applied
// without waiting for the disk are synced and published first. fn's error is
// returned as it is, and nothing is written then.
func (d *DB) Update(ctx context.Context, fn func(v *View) (Batch, error)) (Commit, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if err := ctx.Err(); err != nil {
		return Commit{}, err
	}
	w, err := d.openWriter()
	if err != nil {
		return Commit{}, err
	}
	if err := d.publishApplied(w); err != nil {
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
	return d.apply(w, b)
}

// apply does the work of Apply; d.write is held.
func (d *DB) apply(w *writerState, b Batch) (Commit, error) {
	if err := checkNotes(b.Notes); err != nil {
		return Commit{}, err
	}
	ops, floor, outcome, err := w.build(b)
	if err != nil {
		return Commit{}, err
	}
	if len(ops) == 0 {
		return Commit{Size: w.state.Size, Floor: w.state.Floor, Root: w.state.Root, Outcome: outcome}, nil
	}
	run, err := d.codec.NewRun(ops)
	if err != nil {
		return Commit{}, fmt.Errorf("encoded batch does not decode: %w", err)
	}
	if err := d.space.Need(spaceOf(len(ops), run.Len())); err != nil {
		return Commit{}, err
	}
	err = w.append(run)
	for i := 0; i < len(b.Notes) && err == nil; i++ {
		err = w.w.Note(b.Notes[i].Key, b.Notes[i].Value)
	}
	if err == nil {
		err = w.publish(floor, !b.NoSync)
	}
	if err != nil {
		d.failed = err
		return Commit{}, err
	}
	if !b.NoSync {
		d.publish(w.g, w.state, w.frontier)
	}
	return Commit{Size: w.state.Size, Floor: floor, Root: w.state.Root, Operations: run.Len(), Outcome: outcome}, nil
}

// Sync makes every batch applied so far durable and publishes the result.
func (d *DB) Sync() error {
	d.write.Lock()
	defer d.write.Unlock()
	w, err := d.openWriter()
	if err != nil {
		return err
	}
	return d.publishApplied(w)
}

// publishApplied makes batches durable and readable that were applied without
// waiting for the disk; d.write is held.
func (d *DB) publishApplied(w *writerState) error {
	if !w.dirty {
		return nil
	}
	if err := w.sync(); err != nil {
		d.failed = err
		return err
	}
	d.publish(w.g, w.state, w.frontier)
	return nil
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

// build turns a batch into encoded operations, ending with the commit; none
// if nothing is to be committed.
func (w *writerState) build(b Batch) (ops []byte, floor uint64, out Outcome, err error) {
	kind := operation.Update
	if w.codec.Family() == operation.Immutable {
		kind = operation.Set
	}
	for _, x := range b.Writes {
		op := operation.Operation{Kind: kind, Key: x.Key, Value: x.Value}
		if x.Delete {
			if kind == operation.Set {
				return nil, 0, out, fmt.Errorf("%w: %.40q", ErrDelete, x.Key)
			}
			op = operation.Operation{Kind: operation.Delete, Key: x.Key}
		}
		if err := w.codec.Check(op); err != nil {
			return nil, 0, out, err
		}
	}
	if b.Floor != nil && kind != operation.Set {
		return nil, 0, out, fmt.Errorf("%w: databases of family any choose their own", ErrFloor)
	}
	c := changes{w: w, writes: lastWrites(b.Writes)}
	if kind != operation.Set || b.OnlyChanges {
		c.r = w.g.ReaderAt(w.state.Size)
		defer c.r.Release()
		if err := c.find(); err != nil {
			return nil, 0, out, err
		}
	}
	if b.OnlyChanges {
		if out, err = c.reduce(); err != nil || len(c.writes) == 0 {
			return nil, 0, out, err
		}
	}
	out.count(c.writes)
	if kind == operation.Set {
		ops, floor, err = w.buildImmutable(c.writes, b)
	} else {
		ops, floor, err = w.buildAny(&c)
	}
	if err != nil {
		return nil, 0, out, err
	}
	ops, err = w.codec.Append(ops, operation.Operation{Kind: operation.Commit, Value: b.Metadata, Floor: floor})
	return ops, floor, out, err
}

func (o *Outcome) count(writes []Write) {
	for _, x := range writes {
		if o.Bytes += len(x.Key) + len(x.Value); x.Delete {
			o.Deleted++
		} else {
			o.Written++
		}
	}
}

// lastWrites sorts writes by key and keeps the last one of each.
func lastWrites(writes []Write) []Write {
	order := sortKeys(len(writes), func(i int) []byte { return writes[i].Key })
	sorted := make([]Write, 0, len(writes))
	for i, o := range order {
		if i+1 < len(order) && bytes.Equal(writes[order[i+1].i].Key, writes[o.i].Key) {
			continue
		}
		sorted = append(sorted, writes[o.i])
	}
	return sorted
}

func (w *writerState) buildImmutable(writes []Write, b Batch) (ops []byte, floor uint64, err error) {
	commit := w.state.Size + uint64(len(writes))
	floor = b.Policy.Next(w.state.Floor, commit)
	if b.Floor != nil {
		floor = *b.Floor
	}
	if floor < w.state.Floor || floor > commit {
		return nil, 0, fmt.Errorf("%w: %d, between the previous floor %d and the commit's location %d", ErrFloor, floor, w.state.Floor, commit)
	}
	for _, x := range writes {
		if ops, err = w.codec.Append(ops, operation.Operation{Kind: operation.Set, Key: x.Key, Value: x.Value}); err != nil {
			return nil, 0, err
		}
	}
	return ops, floor, nil
}
