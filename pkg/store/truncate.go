package store

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// truncateStep bounds the operations forgotten in one batch.
const truncateStep = 4096

// Truncate forgets the operations [to, state.Stored), none of which is
// readable, with their tiles and index entries, and returns the new state. It
// works from the end in bounded, durable steps, so a crash leaves a shorter
// leftover. keyOf names the key an operation has an index entry of, if any.
// There must be no Writer.
func (g *Generation) Truncate(state State, to uint64, keyOf func(op []byte) (key []byte, ok bool, err error)) (State, error) {
	g.commit.Lock()
	defer g.commit.Unlock()
	state.Start, _ = g.Retained()
	for state.Stored > to {
		lo := to
		if state.Stored-to > truncateStep {
			lo = state.Stored - truncateStep
		}
		b := g.db.NewBatch()
		err := g.truncateTo(b, state.Stored, lo, keyOf)
		next := state
		next.Stored = lo
		if err == nil {
			err = b.Set(stateKey, next.encode(), nil)
		}
		if err == nil {
			err = classify("truncate "+g.path, b.Commit(pebble.Sync))
		}
		if err = errors.Join(err, b.Close()); err != nil {
			return state, err
		}
		state = next
		g.setState(state)
	}
	return state, nil
}

func (g *Generation) truncateTo(b *pebble.Batch, end, lo uint64, keyOf func(op []byte) ([]byte, bool, error)) error {
	err := g.Bundles(lo, end, func(bundle *Bundle, i, j int) error {
		if err := g.deleteEntries(b, bundle, i, j, keyOf); err != nil {
			return err
		}
		if i > 0 { // the bundle begins before: keep that part
			var lengths []uint32
			if g.opSize == 0 {
				for k := range i {
					lengths = append(lengths, uint32(len(bundle.At(k))))
				}
			}
			return b.Set(bundleKey(nil, bundle.First), appendBundle(nil, g.opSize, lengths, bundle.Bytes(0, i)), nil)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.DeleteRange(bundleKey(nil, lo), bundleKey(nil, end), nil); err != nil {
		return err
	}
	return deleteTiles(b, lo, end)
}

// deleteEntries deletes the index entries of the operations [i, j) of a bundle.
func (g *Generation) deleteEntries(b *pebble.Batch, bundle *Bundle, i, j int, keyOf func(op []byte) ([]byte, bool, error)) error {
	var buf []byte
	for k := i; k < j; k++ {
		loc := bundle.First + uint64(k)
		key, ok, err := keyOf(bundle.At(k))
		if err != nil {
			return corrupt(g.path, "operation at location %d: %w", loc, err)
		}
		if !ok {
			continue
		}
		buf = appendIndexLocation(g.indexPrefix(buf[:0], key), loc)
		if err := b.Delete(buf, nil); err != nil {
			return err
		}
	}
	return nil
}

// Usage is the estimated disk space of each key space, in bytes, without what
// still sits in memtables.
type Usage struct {
	Operations, Tiles, Index, Total uint64
}

// Usage estimates the space the generation takes.
func (g *Generation) Usage() (Usage, error) {
	var u Usage
	for space, n := range map[byte]*uint64{spaceBundle: &u.Operations, spaceTile: &u.Tiles, spaceIndex: &u.Index} {
		var err error
		if *n, err = g.db.EstimateDiskUsage([]byte{space}, []byte{space + 1}); err != nil {
			return u, classify("estimate disk usage", err)
		}
	}
	u.Total = g.db.Metrics().DiskSpaceUsage()
	return u, nil
}
