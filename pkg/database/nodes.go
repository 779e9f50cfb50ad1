package database

import (
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// nodes finds the digests of one proof. The nodes of a proof share a few
// tiles and at most two groups of eight operations, so it keeps the ones it
// saw last. Not safe for concurrent use.
type nodes struct {
	v     *View
	r     *store.Reader // keeps the tiles read last
	group group         // rehashed last
}

// digest finds the digest of a node that ends at or below Size: pinned, at
// the edge in memory, in a tile, or rehashed from at most eight operations.
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

// group is an aligned group of operations, hashed.
type group struct {
	first  uint64 // location of leaves[0]
	leaves []mmr.Digest
}

// digest finds a node that lies in the group, and says whether it does.
func (g *group) digest(n mmr.Node) (mmr.Digest, bool) {
	if n.First() < g.first || n.End() > g.first+uint64(len(g.leaves)) {
		return mmr.Digest{}, false
	}
	if n.Height == 0 {
		return g.leaves[n.Index-g.first], true
	}
	left, _ := g.digest(n.Left())
	right, _ := g.digest(n.Right())
	return mmr.HashNode(n, left, right), true
}

// rehash hashes the aligned group of eight operations around n, as far as it
// is retained and readable, one operation at a time: they may be large.
func (s *nodes) rehash(n mmr.Node) (mmr.Digest, error) {
	if d, ok := s.group.digest(n); ok {
		return d, nil
	}
	first := n.First() >> mmr.TileFloor << mmr.TileFloor
	from, to := max(first, s.v.state.Start), min(first+1<<mmr.TileFloor, s.v.state.Size)
	s.group.first, s.group.leaves = from, s.group.leaves[:0]
	err := s.r.Bundles(from, to, func(b *store.Bundle, i, j int) error {
		for k := i; k < j; k++ {
			s.group.leaves = append(s.group.leaves, mmr.HashLeaf(b.First+uint64(k), b.At(k)))
		}
		return nil
	})
	if err != nil {
		return mmr.Digest{}, err
	}
	d, ok := s.group.digest(n)
	if !ok {
		return d, fmt.Errorf("%w: digest of [%d, %d), size %d", ErrBeyond, n.First(), n.End(), s.v.state.Size)
	}
	return d, nil
}
