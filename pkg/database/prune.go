package database

import (
	"context"
	"errors"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// PruneTo rounds a location down to one that a log can be retained from.
func PruneTo(loc uint64) uint64 { return loc &^ (store.SlotOperations - 1) }

// PruneState says what pruning has left to do, in the generation in use.
type PruneState struct {
	Unpruned uint64 // from here on operations may still be on disk
	Start    uint64 // first retained location: what lies below is to be deleted
	Limit    uint64 // how far deleting may come now; below Start while older views are open
	Busy     bool   // the storage engine is behind: a step now would make commits wait
}

// Done says whether nothing below the start is left.
func (s PruneState) Done() bool { return s.Unpruned >= s.Start }

// Retain makes start, rounded down by PruneTo, the first retained location of
// the log, but at most the inactivity floor: what is live is never pruned. It
// publishes the state again: of the same size and root, with the new start.
// Views that are open go on showing what they did. Where that changes nothing,
// nothing is written. It returns the first retained location.
//
// It may be called while others write, and waits for the end of a commit in
// work, not for a batch or a Load. Nothing is deleted before PruneStep does.
// Errors: ErrEmpty, ErrClosed, store.ErrReadOnly, or one of the storage, after
// which no commit succeeds.
func (d *DB) Retain(start uint64) (uint64, error) {
	if d.dir.ReadOnly() {
		return 0, store.ErrReadOnly
	}
	d.pruning.Lock()
	defer d.pruning.Unlock()
	v, err := d.View()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	start = PruneTo(min(start, v.Floor()))
	if start <= v.Start() {
		return v.Start(), nil
	}
	pins, err := v.Pins(start)
	if err != nil {
		return 0, err
	}
	if err := v.gen.Retain(start, pins); err != nil {
		return 0, err
	}
	d.republish(v.gen)
	return start, nil
}

// republish makes new views of the state in use begin where it is retained
// from by now. Another generation may have taken its place.
func (d *DB) republish(g *generation) {
	d.mu.Lock()
	old, changed := d.view, d.changed
	if d.closed || old == nil || old.gen != g {
		d.mu.Unlock()
		return
	}
	d.view, d.changed = d.newView(g, old.state, old.frontier), make(chan struct{})
	d.mu.Unlock()
	close(changed)
	old.Close()
}

// Pruning says what is left to do for PruneStep.
func (d *DB) Pruning() (PruneState, error) {
	g, err := d.holdCurrent()
	if err != nil {
		return PruneState{}, err
	}
	s := g.pruning()
	return s, g.release()
}

// PruneStep deletes a few thousand of the oldest operations below the start,
// with their digests and index entries, and tells what is left to do. It
// deletes nothing that an open view may read. Others may write at the same time.
// A process that ends between two steps goes on with the next one when it
// calls it again.
func (d *DB) PruneStep(ctx context.Context) (PruneState, error) {
	if d.dir.ReadOnly() {
		return PruneState{}, store.ErrReadOnly
	}
	d.pruning.Lock()
	defer d.pruning.Unlock()
	if err := ctx.Err(); err != nil {
		return PruneState{}, err
	}
	g, err := d.holdCurrent()
	if err != nil {
		return PruneState{}, err
	}
	s := g.pruning()
	if s.Unpruned < s.Limit {
		s.Unpruned, err = g.PruneStep(s.Limit, indexKey(d.codec))
	}
	return s, errors.Join(err, g.release())
}

// holdCurrent holds the generation in use.
func (d *DB) holdCurrent() (*generation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.gen == nil || d.view == nil:
		return nil, ErrEmpty
	}
	d.gen.hold()
	return d.gen, nil
}

// holdRetained holds the generation and everything it retains by now.
func (g *generation) holdRetained() (start uint64, pins []mmr.Digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	start, pins = g.Retained()
	g.holdLocked(start)
	return start, pins
}

// holdFrom holds the generation and what lies from start on, which the caller
// holds already.
func (g *generation) holdFrom(start uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holdLocked(start)
}

func (g *generation) holdLocked(start uint64) {
	if g.starts == nil {
		g.starts = map[uint64]int{}
	}
	g.starts[start]++
	g.holders++
}

// releaseStart gives back what holdRetained or holdFrom held.
func (g *generation) releaseStart(start uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.starts[start]--; g.starts[start] == 0 {
		delete(g.starts, start)
	}
	return g.releaseLocked()
}

// pruning looks at what may be deleted. Whoever holds the generation later
// holds it from the first retained location on, which only rises.
func (g *generation) pruning() PruneState {
	g.mu.Lock()
	defer g.mu.Unlock()
	start, _ := g.Retained()
	s := PruneState{Unpruned: g.Unpruned(), Start: start, Limit: start}
	for held := range g.starts {
		s.Limit = min(s.Limit, held)
	}
	s.Busy = g.Busy()
	return s
}

// Garbage estimates the bytes of files that were deleted but still take space
// in the generation in use, and all bytes of its files.
func (d *DB) Garbage() (garbage, total uint64, err error) {
	g, err := d.holdCurrent()
	if err != nil {
		return 0, 0, err
	}
	garbage, total = g.Generation.Garbage()
	return garbage, total, g.release()
}

// Tidy rewrites the files of the generation in use in the background, without
// what was deleted, as soon as no more than a megabyte a second is written. It needs space for a second copy of a small part of them.
func (d *DB) Tidy() error {
	g, err := d.holdCurrent()
	if err != nil {
		return err
	}
	g.Generation.Tidy()
	return g.release()
}
