package database

import (
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// nodes finds the digests of one proof. The nodes of a proof share a few
// tiles and at most two groups of eight operations, so it keeps the ones it
// saw last. Not safe for concurrent use.
type nodes struct {
	v *View

	tile   store.Tile // read last
	group  mmr.Span   // the operations rehashed last
	loaded bool       // group holds something
}

// digest finds the digest of a node that ends at or below Size: pinned, at
// the edge in memory, in a tile, or rehashed from at most eight operations.
func (s *nodes) digest(n mmr.Node) (mmr.Digest, error) {
	start := s.v.state.Start
	if n.End() <= start {
		for i, p := range mmr.Peaks(start) {
			if p == n {
				return s.v.gen.Pins()[i], nil
			}
		}
		return mmr.Digest{}, fmt.Errorf("%w: digest of [%d, %d), retained from %d", ErrPruned, n.First(), n.End(), start)
	}
	if d, ok := s.v.frontier.Digest(n); ok {
		return d, nil
	}
	if n.Height >= mmr.TileFloor {
		id, at := mmr.TileOf(n)
		if err := s.v.gen.Tile(&s.tile, id); err != nil {
			return mmr.Digest{}, err
		}
		return s.tile.Digest(at), nil
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

// rehash hashes the aligned group of eight operations around n, as far as it
// is retained and readable.
func (s *nodes) rehash(n mmr.Node) (mmr.Digest, error) {
	if s.loaded {
		if d, ok := s.group.Digest(n); ok {
			return d, nil
		}
	}
	first := n.First() >> mmr.TileFloor << mmr.TileFloor
	from, to := max(first, s.v.state.Start), min(first+1<<mmr.TileFloor, s.v.state.Size)
	ops, count, err := s.v.AppendOperations(nil, from, to, operation.MaxOperation<<mmr.TileFloor)
	if err != nil {
		return mmr.Digest{}, err
	}
	run, err := s.v.codec.NewRun(ops)
	if err != nil {
		return mmr.Digest{}, &store.CorruptError{Where: fmt.Sprintf("%s, operations [%d, %d)", s.v.gen.Path(), from, to), Err: err}
	}
	s.group.Reset(from, run)
	d, ok := s.group.Digest(n)
	if s.loaded = ok; !ok {
		return d, &store.CorruptError{Where: s.v.gen.Path(), Err: fmt.Errorf("%d operations from %d on, %d expected", count, from, to-from)}
	}
	return d, nil
}
