package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Pruning forgets the beginning of a log, in two steps of their own:
//
//	Retain     moves the start in one small, durable batch: what lies below does not count any more
//	PruneStep  deletes what does not count, oldest first, a little at a time
//
// What a crash or a pause leaves between the two is described by one record,
// the location from which on things may still exist (docs/format.md section
// 3). Both may run while a Writer commits. They touch other keys than it: it
// writes operations, tiles and entries that end at or beyond what was
// readable when the start was chosen, and the start is never above that
// state's floor. The one record they share, the state, is guarded by a mutex.

// pruneOperations and pruneBytes bound a step: the operations it deletes, and
// the batch that does so.
const (
	pruneOperations = 4096
	pruneBytes      = 256 << 10
)

// errStop ends a walk early.
var errStop = errors.New("stop")

// Retained is the first retained location and its pinned nodes, which belong
// together. The slice is shared and never changes.
func (g *Generation) Retained() (start uint64, pins []mmr.Digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.Start, g.pins
}

// Unpruned is the location from which on things may still be on disk: below
// the first retained location there are leftovers of pruning if it is smaller.
func (g *Generation) Unpruned() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unpruned
}

// Retain makes start the first retained location, durably. pins are its
// pinned nodes. It has to lie within what is readable, and to be a multiple of
// 256: bundles and tiles go as a whole. It waits for a commit in work.
func (g *Generation) Retain(start uint64, pins []mmr.Digest) error {
	g.commit.Lock()
	defer g.commit.Unlock()
	s := g.State()
	switch {
	case g.broken != nil:
		return g.broken
	case start < s.Start || start > s.Floor || start%SlotOperations != 0:
		return fmt.Errorf("retain from %d: a multiple of %d in [%d, %d] expected", start, SlotOperations, s.Start, s.Floor)
	case len(pins) != len(mmr.Peaks(start)):
		return fmt.Errorf("retain from %d: %d pinned nodes, the location has %d", start, len(pins), len(mmr.Peaks(start)))
	case start == s.Start:
		return nil
	}
	s.Start = start
	b := g.db.NewBatch()
	err := errors.Join(
		b.Set(stateKey, s.encode(), nil),
		b.Set(pinsKey, encodePins(pins), nil),
		b.Set(unprunedKey, encodeLocation(g.Unpruned()), nil),
	)
	if err == nil {
		err = classify("prune "+g.path, b.Commit(pebble.Sync))
	}
	if err = errors.Join(err, b.Close()); err != nil {
		g.broken = err // a state with the old start must not meet the new pinned nodes
		return err
	}
	g.mu.Lock()
	g.state, g.pins = s, pins
	g.mu.Unlock()
	return nil
}

// PruneStep deletes the oldest leftovers below limit, which is at most the
// first retained location: a few thousand operations with the index entries
// they name, in one batch. It returns up to where it came, limit when there is
// nothing left to do. keyOf is as of Truncate. There must be one call at a time.
//
// A step is atomic but not durable by itself: the next commit or step makes it
// so, and what a crash takes back is deleted again.
func (g *Generation) PruneStep(limit uint64, keyOf func(op []byte) (key []byte, ok bool, err error)) (next uint64, err error) {
	from := g.Unpruned()
	if start, _ := g.Retained(); limit > start {
		return from, fmt.Errorf("prune up to %d, retained from %d", limit, start)
	}
	if from >= limit {
		return from, nil
	}
	b := g.db.NewBatch()
	if next, err = g.pruneFrom(b, from, limit, keyOf); err == nil {
		err = classify("prune "+g.path, b.Commit(pebble.NoSync))
	}
	if err = errors.Join(err, b.Close()); err != nil {
		return from, err
	}
	g.mu.Lock()
	g.unpruned = next
	g.mu.Unlock()
	return next, nil
}

// pruneFrom fills the batch of a step and returns where the step ends: at the
// end of a bundle.
func (g *Generation) pruneFrom(b *pebble.Batch, from, limit uint64, keyOf func(op []byte) ([]byte, bool, error)) (next uint64, err error) {
	next = from
	err = g.Bundles(from, limit, func(bundle *Bundle, i, j int) error {
		if err := g.deleteEntries(b, bundle, i, j, keyOf); err != nil {
			return err
		}
		next = bundle.First + uint64(j)
		if next-from >= pruneOperations || b.Len() >= pruneBytes {
			return errStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return from, err
	}
	if err := b.DeleteRange(bundleKey(nil, from), bundleKey(nil, next), nil); err != nil {
		return from, err
	}
	// Tiles that end at or below next. A proof within what is retained needs
	// no digest of a node that ends at or below the start but the pinned ones,
	// and the digest of any other node lies in a tile that ends beyond it.
	if err := deleteTiles(b, from, next); err != nil {
		return from, err
	}
	return next, b.Set(unprunedKey, encodeLocation(next), nil)
}

// deleteTiles deletes the tiles that end in (from, to].
func deleteTiles(b *pebble.Batch, from, to uint64) error {
	for level := uint8(0); uint(level)*mmr.SpanHeight < 62; level++ {
		up := uint(level)*mmr.SpanHeight + mmr.SpanHeight
		if first, end := from>>up, to>>up; first < end {
			lo, hi := mmr.TileID{Level: level, Index: first}, mmr.TileID{Level: level, Index: end}
			if err := b.DeleteRange(tileKey(nil, lo), tileKey(nil, hi), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadUnpruned reads the record of leftovers; a generation that was never
// pruned has none.
func (g *Generation) loadUnpruned() error {
	g.unpruned = g.state.Start
	b, closer, err := g.db.Get(unprunedKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return classify("read state of "+g.path, err)
	}
	defer closer.Close()
	if len(b) != 8 || binary.BigEndian.Uint64(b) > g.state.Start {
		return corrupt(g.path, "record of pruning %x, retained from %d", b, g.state.Start)
	}
	g.unpruned = binary.BigEndian.Uint64(b)
	return nil
}

func encodeLocation(loc uint64) []byte { return binary.BigEndian.AppendUint64(nil, loc) }

// Busy says whether the storage engine is behind with what was written: who can
// wait should, or commits will have to.
func (g *Generation) Busy() bool {
	m := g.db.Metrics()
	return m.MemTable.Size > 2*g.opts.MemTableSize || m.Levels[0].Sublevels >= busySublevels || m.Compact.NumInProgress > 1
}

// busySublevels is above what merging starts at and far below what writes stop
// at (pebbleOptions).
const busySublevels = 8

// Garbage estimates the bytes of the generation's files that were deleted but
// still take space, and all of them.
func (g *Generation) Garbage() (garbage, total uint64) {
	m := g.db.Metrics()
	return m.Table.Garbage.PointDeletionsBytesEstimate + m.Table.Garbage.RangeDeletionsBytesEstimate, m.DiskSpaceUsage()
}

// Tidy merges all tables in the background, a piece at a time, at the next
// quiet time: what was deleted gives its space back.
func (g *Generation) Tidy() { g.tidier.written.Add(max(g.size(), tidyBytes)) }
