package database

import (
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// nodes finds the digests of one proof, whose nodes do not overlap. They share a
// few tiles and at most two bundles, and its reader keeps the ones it saw last. Not
// safe for concurrent use.
type nodes struct {
	v   *View
	r   *store.Reader
	row [1 << (mmr.TileFloor - 1)]mmr.Digest // memory of rehash
}

// digest finds the digest of a node that ends at or below Size: pinned, at
// the edge in memory, in a tile, or rehashed from at most four operations.
func (s *nodes) digest(n mmr.Node) (mmr.Digest, error) {
	start := s.v.state.Start
	if n.End() <= start {
		for i, p := range mmr.Peaks(start) {
			if p == n {
				return s.v.pins[i], nil
			}
		}
		return mmr.Digest{}, fmt.Errorf("%w: digest of [%d, %d), retained from %d", ErrPruned, n.First(), n.End(), start)
	}
	if d, ok := s.v.frontier.Digest(n); ok {
		return d, nil
	}
	if n.Height >= mmr.TileFloor {
		id, at := mmr.TileOf(n)
		t, err := s.r.Tile(id)
		if err != nil {
			return mmr.Digest{}, err
		}
		return t.Digest(at), nil
	}
	if n.First() >= start {
		return s.rehash(n)
	}
	left, err := s.digest(n.Left())
	if err != nil {
		return left, err
	}
	right, err := s.digest(n.Right())
	return mmr.HashNode(n, left, right), err
}

// rehash hashes a node below the tiles from its operations, at most four, one
// at a time: they may be large.
func (s *nodes) rehash(n mmr.Node) (mmr.Digest, error) {
	if n.End() > s.v.state.Size {
		return mmr.Digest{}, fmt.Errorf("%w: digest of [%d, %d), size %d", ErrBeyond, n.First(), n.End(), s.v.state.Size)
	}
	row, count := s.row[:], 0 // of one height
	err := s.r.Bundles(n.First(), n.End(), func(b *store.Bundle, i, j int) error {
		for k := i; k < j; k++ {
			row[count] = mmr.HashLeaf(b.First+uint64(k), b.At(k))
			count++
		}
		return nil
	})
	if err != nil {
		return mmr.Digest{}, err
	}
	for h := uint8(1); h <= n.Height; h++ {
		count /= 2
		mmr.HashLevel(row[:count], row, h, n.First()>>h)
	}
	return row[0], nil
}
