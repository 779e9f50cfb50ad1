package fsck

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Log is the log of a directory, as it lies on disk: nothing is taken from what
// is derived unless a method says so. Nobody else may hold the directory. Close it.
type Log struct {
	dir   *store.Dir
	g     *store.Generation
	codec operation.Codec
	state store.State
}

// OpenLog opens the generation in use of a directory for reading. Errors are
// those of Check, and store.ErrCorrupt; database.ErrEmpty if nothing was ever readable.
func OpenLog(dir string, o Options) (*Log, error) {
	o = o.withDefaults()
	codec, err := database.Detect(dir, o.FS)
	if err != nil {
		return nil, err
	}
	d, err := store.OpenDir(dir, store.Options{
		Identity: identity(codec), FS: o.FS, ReadOnly: true, AnyHead: true,
		CacheBytes: o.CacheBytes, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	n := d.Current()
	if n == 0 {
		return nil, errors.Join(fmt.Errorf("%w: %s", database.ErrEmpty, dir), d.Close())
	}
	g, err := d.OpenGenerationForReading(n)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &Log{dir: d, g: g, codec: codec, state: g.State()}, nil
}

// Close ends the log.
func (l *Log) Close() error { return errors.Join(l.g.Close(), l.dir.Close()) }

// Codec is the family and encoding.
func (l *Log) Codec() operation.Codec { return l.codec }

// Start is the first location that is retained.
func (l *Log) Start() uint64 { return l.state.Start }

// Size is one past the last readable location.
func (l *Log) Size() uint64 { return l.state.Size }

// Floor is the inactivity floor at Size, as the state says.
func (l *Log) Floor() uint64 { return l.state.Floor }

// Root is the root at Size, as the state says.
func (l *Log) Root() mmr.Digest { return l.state.Root }

// Pins are the pinned nodes of Start: the peaks of the tree before it, oldest first.
func (l *Log) Pins() []mmr.Digest {
	_, pins := l.g.Retained()
	return pins
}

// Operations calls fn with the encoded operations [start, end) until it
// returns an error. op is valid during the call only.
func (l *Log) Operations(start, end uint64, fn func(loc uint64, op []byte) error) error {
	return l.g.Bundles(start, end, func(b *store.Bundle, i, j int) error {
		for k := i; k < j; k++ {
			if err := fn(b.First+uint64(k), b.At(k)); err != nil {
				return err
			}
		}
		return nil
	})
}

// digest is that of a node of retained operations: the stored one where a tile
// has it, and else computed from those below it.
func (l *Log) digest(n mmr.Node) (mmr.Digest, error) {
	if n.Height >= mmr.TileFloor {
		if id, at := mmr.TileOf(n); id.End() <= l.state.Stored {
			var t store.Tile
			if err := l.g.Tile(&t, id); err != nil {
				return mmr.Digest{}, err
			}
			return t.Digest(at), nil
		}
	}
	if n.Height <= mmr.TileFloor {
		return l.rehash(n)
	}
	left, err := l.digest(n.Left())
	if err != nil {
		return left, err
	}
	right, err := l.digest(n.Right())
	return mmr.HashNode(n, left, right), err
}

// rehash computes a digest from operations.
func (l *Log) rehash(n mmr.Node) (mmr.Digest, error) {
	var level []mmr.Digest
	err := l.Operations(n.First(), n.End(), func(loc uint64, op []byte) error {
		level = append(level, mmr.HashLeaf(loc, op))
		return nil
	})
	if err != nil {
		return mmr.Digest{}, err
	}
	for h := uint8(1); h <= n.Height; h++ {
		mmr.HashLevel(level[:len(level)/2], level, h, n.First()>>h)
		level = level[:len(level)/2]
	}
	return level[0], nil
}

// peaks are the peaks of the tree of what lies before a location that is
// retained, or is the end: by pinned nodes and stored digests. A peak that reaches over
// Start is made of both.
func (l *Log) peaks(at uint64) ([]mmr.Digest, error) {
	f, err := mmr.NewFrontier(l.g.Retained())
	if err != nil {
		return nil, err
	}
	var out []mmr.Digest
	for _, n := range mmr.Peaks(at) {
		d, err := l.over(f, n)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// over is digest for a node that may reach back before Start.
func (l *Log) over(f *mmr.Frontier, n mmr.Node) (mmr.Digest, error) {
	start := l.state.Start
	if n.First() >= start {
		return l.digest(n)
	}
	if n.End() <= start { // it or one above it is pinned: nothing else is asked for
		d, ok := f.Digest(n)
		if !ok || d == (mmr.Digest{}) {
			return d, fmt.Errorf("no pinned node for the operations %d to %d", n.First(), n.End()-1)
		}
		return d, nil
	}
	left, err := l.over(f, n.Left())
	if err != nil {
		return left, err
	}
	right, err := l.over(f, n.Right())
	return mmr.HashNode(n, left, right), err
}
