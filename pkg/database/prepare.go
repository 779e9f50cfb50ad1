package database

import (
	"bytes"
	"context"
	"fmt"

	"github.com/proofsync/proofsync/pkg/operation"
)

// Prepared is batches that were checked and sorted, which takes no look at what is
// stored: a writer of many batches prepares the next ones while some are applied.
// It can be applied again after a refusal, by one call at a time.
type Prepared struct {
	codec   operation.Codec
	batches []Batch
	bytes   int  // about as many have the operations that are written
	reduced bool // a batch has OnlyChanges

	writes  int        // of all batches
	sorted  [][]byte   // their keys, each once, ascending
	changes [][]change // of each batch, ascending by key
}

// change is a write of a batch, if it is the batch's last one on its key.
type change struct {
	write *Write
	key   int  // its number in Prepared.sorted
	same  bool // it is what is stored; known where the batch is to be reduced
}

// Prepare checks and sorts batches for ApplyPrepared. What they refer to is read until
// that returns. Errors are those of package operation, ErrDelete and ErrFloor, and name
// the batch if there are several.
func (d *DB) Prepare(batches []Batch) (*Prepared, error) {
	p := &Prepared{codec: d.codec, batches: batches}
	for i := range batches {
		n, err := checkBatch(d.codec, &batches[i])
		if err != nil {
			return nil, ofBatch(err, i, len(batches))
		}
		p.bytes += n
		p.writes += len(batches[i].Writes)
		p.reduced = p.reduced || batches[i].OnlyChanges
	}
	if len(batches) > 0 {
		p.sort()
	}
	return p, nil
}

// ApplyPrepared is ApplyAll of batches that were prepared, by this database or another
// of the same family and encoding.
func (d *DB) ApplyPrepared(ctx context.Context, p *Prepared) (Commit, error) {
	if p.codec != d.codec {
		return Commit{}, fmt.Errorf("batches were prepared for a database of %s, this one is of %s", p.codec, d.codec)
	}
	d.write.Lock()
	defer d.write.Unlock()
	w, err := d.begin(ctx)
	if err != nil {
		return Commit{}, err
	}
	return d.apply(w, p)
}

// checkBatch says whether a batch can be written, and about how many bytes its
// operations will have.
func checkBatch(codec operation.Codec, b *Batch) (size int, err error) {
	if err := checkNotes(b.Notes); err != nil {
		return 0, err
	}
	immutable := codec.Family() == operation.Immutable
	if b.Floor != nil && !immutable {
		return 0, fmt.Errorf("%w: databases of family any choose their own", ErrFloor)
	}
	for _, x := range b.Writes {
		op := operation.Operation{Kind: operation.Update, Key: x.Key, Value: x.Value}
		switch {
		case x.Delete && immutable:
			return 0, fmt.Errorf("%w: %.40q", ErrDelete, x.Key)
		case x.Delete:
			op = operation.Operation{Kind: operation.Delete, Key: x.Key}
		case immutable:
			op.Kind = operation.Set
		}
		if err := codec.Check(op); err != nil {
			return 0, err
		}
		size += len(x.Key) + len(x.Value) + operationOverhead
	}
	return size + max(codec.Size(), len(b.Metadata)+operationOverhead), nil
}

// operationOverhead is what an operation has beside key and value, in bytes, if
// the lengths are not unusual.
const operationOverhead = 5

// sort sorts the writes of all batches by key, and keeps the last one of each
// batch on each key.
func (p *Prepared) sort() {
	p.changes = make([][]change, len(p.batches))
	p.sorted = make([][]byte, 0, p.writes)
	refs := make([]keyRef, 0, p.writes)
	of := make([]int32, 0, p.writes)      // the batch of each write
	firsts := make([]int, len(p.batches)) // the number of each batch's first write
	for i, b := range p.batches {
		p.changes[i], firsts[i] = make([]change, 0, len(b.Writes)), len(refs)
		for j := range b.Writes {
			refs, of = append(refs, newKeyRef(b.Writes[j].Key, len(refs))), append(of, int32(i))
		}
	}
	write := func(i int) *Write { b := of[i]; return &p.batches[b].Writes[i-firsts[b]] }
	last := keyRef{i: -1}
	for _, o := range sortRefs(refs, func(i int) []byte { return write(i).Key }) {
		x := write(o.i)
		c := &p.changes[of[o.i]]
		n := len(p.sorted)
		switch {
		case n == 0 || o.prefix != last.prefix || !bytes.Equal(p.sorted[n-1], x.Key):
			p.sorted = append(p.sorted, x.Key)
			n++
		case of[o.i] == of[last.i]:
			(*c)[len(*c)-1].write = x
			last = o
			continue
		}
		*c = append(*c, change{write: x, key: n - 1})
		last = o
	}
}
