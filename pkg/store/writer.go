package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// SlotOperations is how many locations go together: no bundle and no tile of the
// lowest level crosses a multiple of it, so a log can be retained from one.
const SlotOperations = 1 << mmr.SpanHeight

const (
	// A bundle is closed early when it reaches bundleBytes.
	bundleBytes = 64 << 10
	// bulkOperations is how many operations make a commit worth going around
	// pebble's log and memtables, unless Options say otherwise.
	bulkOperations = 16 << 10
)

// Writer adds operations, tiles and index entries to a generation. Nothing of
// it counts until Commit, which applies everything since the last Commit, and
// the state that describes it, in one atomic step.
//
// Small commits go through pebble's log. Large ones are written as sorted
// tables that pebble takes in whole: the bundles as they come, the index
// sorted when the commit ends (docs/format.md section 4).
//
// A Writer is not safe for concurrent use. After an error it cannot go on:
// every later call returns that error.
type Writer struct {
	g   *Generation
	err error

	next      uint64   // location of the next operation
	tailFirst uint64   // location where the open bundle begins
	tail      []byte   // operations of the open bundle, from tailFirst
	lengths   []uint32 // of the operations in tail, if they vary in length
	encoded   []byte   // memory for a bundle of them
	fragments []uint64 // locations at which parts of the open bundle lie on disk
	committed int      // operations of tail that lie on disk already
	saved     int      // their bytes

	pending int           // operations since the last Commit
	batch   *pebble.Batch // small commits
	bulk    *bulk         // large ones; then batch is nil
	buffers [2]bulkBuffers
	bulks   int        // made so far; they use the buffers in turn
	later   chan error // of the large commit under way beside; nil: none
}

// NewWriter continues at state.Stored. The caller makes sure that there is
// one Writer at a time.
func (g *Generation) NewWriter(state State) (*Writer, error) {
	w := &Writer{g: g, next: state.Stored, batch: g.db.NewBatch()}
	w.openBundle(state.Stored)
	slot := state.Stored &^ (SlotOperations - 1)
	first := max(slot, state.Start)
	if first == state.Stored {
		return w, nil
	}
	// Read the open bundle: the newest run of fragments of the last slot.
	err := g.Bundles(first, state.Stored, func(b *Bundle, i, j int) error {
		if w.full() {
			w.openBundle(b.First)
		}
		if i > 0 { // a closed bundle never spans slots
			return corrupt(g.path, "bundle at location %d reaches into the next slot", b.First)
		}
		if len(w.tail) == 0 {
			w.tailFirst = b.First
		}
		w.fragments = append(w.fragments, b.First)
		for k := i; k < j; k++ {
			w.push(b.At(k))
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if w.full() {
		w.openBundle(w.next)
	}
	w.committed, w.saved = w.tailLen(), len(w.tail)
	return w, nil
}

func (w *Writer) openBundle(first uint64) {
	w.tailFirst, w.tail, w.lengths = first, w.tail[:0], w.lengths[:0]
	w.fragments, w.committed, w.saved = w.fragments[:0], 0, 0
}

func (w *Writer) push(op []byte) {
	w.tail = append(w.tail, op...)
	if w.g.opSize == 0 {
		w.lengths = append(w.lengths, uint32(len(op)))
	}
}

func (w *Writer) tailLen() int {
	if w.g.opSize == 0 {
		return len(w.lengths)
	}
	return len(w.tail) / w.g.opSize
}

func (w *Writer) full() bool {
	n := w.tailLen()
	return n > 0 && ((w.tailFirst+uint64(n))%SlotOperations == 0 || len(w.tail) >= bundleBytes)
}

// Next is the location of the next operation.
func (w *Writer) Next() uint64 { return w.next }

// Pending is the number of operations since the last Commit.
func (w *Writer) Pending() int { return w.pending }

// PendingBytes is the memory held for what is not committed yet.
func (w *Writer) PendingBytes() int {
	if w.bulk != nil {
		return w.bulk.memory()
	}
	return w.batch.Len()
}

// Append adds the next operations, in order. expect is a hint of how many
// operations this commit will have; it decides early which way is taken.
func (w *Writer) Append(ops mmr.Elements, expect int) error {
	if w.err != nil {
		return w.err
	}
	if w.bulk == nil && max(w.pending+ops.Len(), expect) >= w.g.dir.opts.BulkOperations {
		if w.err = w.goBulk(expect); w.err != nil {
			return w.err
		}
	}
	for i := range ops.Len() {
		w.push(ops.At(i))
		w.next++
		if w.full() {
			if w.err = w.closeBundle(); w.err != nil {
				return w.err
			}
		}
	}
	w.pending += ops.Len()
	return nil
}

// closeBundle writes the open bundle and deletes the fragments it replaces.
func (w *Writer) closeBundle() error {
	var buf [16]byte
	value := w.tail
	if w.g.opSize == 0 {
		w.encoded = appendBundle(w.encoded[:0], 0, w.lengths, w.tail)
		value = w.encoded
	}
	set, remove := w.batchSet, w.batchDelete
	if w.bulk != nil {
		set, remove = w.bulk.bundles.set, w.bulk.bundles.delete
	}
	if err := set(bundleKey(buf[:0], w.tailFirst), value); err != nil {
		return err
	}
	for _, loc := range w.fragments {
		if loc != w.tailFirst {
			if err := remove(bundleKey(buf[:0], loc)); err != nil {
				return err
			}
		}
	}
	w.openBundle(w.next)
	return nil
}

func (w *Writer) batchSet(key, value []byte) error { return w.batch.Set(key, value, nil) }
func (w *Writer) batchDelete(key []byte) error     { return w.batch.Delete(key, nil) }

// closeFragment writes the operations of the open bundle that are not on disk yet.
func (w *Writer) closeFragment() error {
	n := w.tailLen()
	if n == w.committed {
		return nil
	}
	first := w.tailFirst + uint64(w.committed)
	value := w.tail[w.saved:]
	if w.g.opSize == 0 {
		w.encoded = appendBundle(w.encoded[:0], 0, w.lengths[w.committed:], value)
		value = w.encoded
	}
	var buf [16]byte
	key := bundleKey(buf[:0], first)
	if w.bulk != nil {
		w.bulk.fragment(key, value)
	} else if err := w.batch.Set(key, value, nil); err != nil {
		return err
	}
	w.fragments = append(w.fragments, first)
	w.committed, w.saved = n, len(w.tail)
	return nil
}

// Tile adds a full tile.
func (w *Writer) Tile(t *mmr.Tile) {
	if w.err != nil {
		return
	}
	if w.bulk != nil {
		w.bulk.tile(t)
		return
	}
	op := w.batch.SetDeferred(tileKeyLen, mmr.TileDigests(t.Level)*mmr.DigestSize)
	tileKey(op.Key[:0], t.TileID)
	t.AppendTo(op.Value[:0])
	w.err = op.Finish()
}

const tileKeyLen = 1 + 1 + 8

// Index adds the entry of the operation on key at loc. kind is the caller's;
// one byte.
func (w *Writer) Index(key []byte, loc uint64, kind byte) error {
	switch {
	case w.err != nil:
	case w.bulk != nil:
		w.bulk.index(w.g, key, loc, kind)
	default:
		var buf [64]byte
		k := appendIndexLocation(w.g.indexPrefix(buf[:0], key), loc)
		w.err = w.batch.Set(k, []byte{kind}, nil)
	}
	return w.err
}

// goBulk moves what the batch holds so far into tables.
func (w *Writer) goBulk(expect int) error {
	n := w.bulks % len(w.buffers)
	b, err := newBulk(w.g, n, &w.buffers[n], expect)
	if err != nil {
		return err
	}
	w.bulks++
	w.bulk = b
	for r := w.batch.Reader(); len(r) > 0; {
		kind, key, value, ok, err := r.Next()
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("read back batch"))
		}
		if err := b.replay(kind, key, value); err != nil {
			return err
		}
	}
	err = w.batch.Close()
	w.batch = nil
	return err
}

// Commit makes everything since the last Commit, and state, take effect at
// once, and durably. state.Stored must be Next; state.Start is ignored, it is the
// generation's (Retain).
func (w *Writer) Commit(state State) error {
	if err := w.Settle(); err != nil {
		return err
	}
	w.err = w.commit(state)
	return w.err
}

// CommitLater is a durable Commit that, where it is a large one, goes on
// beside what the Writer does next. It waits for the one before; Settle waits for this one.
func (w *Writer) CommitLater(state State) error {
	if err := w.Settle(); err != nil {
		return err
	}
	if w.bulk == nil {
		w.err = w.commit(state)
		return w.err
	}
	b, err := w.endBulk(state)
	if err != nil {
		w.err = err
		return err
	}
	w.later = make(chan error, 1)
	go func() { w.later <- w.g.commitBulk(b, state) }() // joined by Settle
	return nil
}

// Settle returns when no commit is under way any more.
func (w *Writer) Settle() error {
	if w.later != nil {
		err := <-w.later
		w.later = nil
		if w.err == nil {
			w.err = err
		}
	}
	return w.err
}

func (w *Writer) commit(state State) error {
	if w.bulk != nil {
		b, err := w.endBulk(state)
		if err != nil {
			return err
		}
		return w.g.commitBulk(b, state)
	}
	if err := w.endCommit(state); err != nil {
		return err
	}
	n := int64(w.batch.Len())
	err := w.g.applyState(state, func(s State) error {
		if err := w.batch.Set(stateKey, s.encode(), nil); err != nil {
			return err
		}
		return classify("commit to "+w.g.path, w.batch.Commit(pebble.Sync))
	})
	if err != nil {
		return err
	}
	w.g.tidier.written.Add(n)
	w.batch.Reset()
	return nil
}

// endCommit completes what is to be committed.
func (w *Writer) endCommit(state State) error {
	if state.Stored != w.next {
		return fmt.Errorf("commit of a state that ends at %d, operations end at %d", state.Stored, w.next)
	}
	w.pending = 0
	return w.closeFragment()
}

// endBulk completes a large commit and takes it away from the writer.
func (w *Writer) endBulk(state State) (*bulk, error) {
	if err := w.endCommit(state); err != nil {
		return nil, err
	}
	b := w.bulk
	w.bulk, w.batch = nil, w.g.db.NewBatch()
	return b, nil
}

// commitBulk writes a large commit and lets it take effect with state.
func (g *Generation) commitBulk(b *bulk, state State) error {
	err := b.write()
	if err == nil {
		err = g.applyState(state, b.ingest)
	}
	return errors.Join(err, b.end())
}

// applyState lets apply make state the generation's, with its start as it is then.
func (g *Generation) applyState(state State, apply func(State) error) error {
	g.commit.Lock()
	defer g.commit.Unlock()
	if g.broken != nil {
		return g.broken
	}
	state.Start, _ = g.Retained()
	if err := apply(state); err != nil {
		return err
	}
	g.setState(state)
	return nil
}

// Close drops what was not committed. A commit under way is waited for; its
// error is returned if nobody was told yet.
func (w *Writer) Close() error {
	told := w.err
	err := w.Settle()
	if err != nil && err == told { //nolint:errorlint // the very same
		err = nil
	}
	if w.batch != nil {
		err = errors.Join(err, w.batch.Close())
	}
	if w.bulk != nil {
		err = errors.Join(err, w.bulk.end())
	}
	w.batch, w.bulk = nil, nil
	if w.err == nil {
		w.err = errors.New("writer is closed")
	}
	return err
}
