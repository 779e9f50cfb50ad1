package database

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// Ranges reads runs of operations of a view, and what proves them, as a server does
// for one request after the other. It keeps what the next one often needs as well: the
// bundle and the tiles it saw last, and the memory of proofs.
//
// It belongs to one goroutine until Close, which comes before that of the view.
type Ranges struct {
	nodes   nodes
	digest  func(mmr.Node) (mmr.Digest, error) // nodes.digest
	digests []mmr.Digest                       // of the last proof

	// What inactivePeaks found last; size 0: nothing.
	size, inactive uint64
}

// Ranges returns a reader of ranges.
func (v *View) Ranges() *Ranges {
	r := &Ranges{nodes: nodes{v: v, r: v.gen.Reader()}}
	r.digest = r.nodes.digest
	return r
}

// Close gives the reader back.
func (r *Ranges) Close() { r.nodes.r.Release() }

// AppendOperations is View.AppendOperations.
func (r *Ranges) AppendOperations(dst []byte, start, end uint64, maxBytes int) (out []byte, n int, err error) {
	if err := r.nodes.v.checkRange(start, end); err != nil {
		return dst, 0, err
	}
	room := maxBytes
	err = r.nodes.r.Bundles(start, end, func(b *store.Bundle, i, j int) error {
		if run := b.Bytes(i, j); len(run) <= room {
			dst, n, room = append(dst, run...), n+j-i, room-len(run)
			return nil
		}
		for ; i < j; i++ {
			op := b.At(i)
			if len(op) > room && n > 0 {
				return errStop
			}
			dst, n, room = append(dst, op...), n+1, room-len(op)
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return dst, n, err
}

// Prove is View.Prove, but the digests of the proof are valid until the next call.
func (r *Ranges) Prove(size, start, end uint64) (mmr.Proof, error) {
	v := r.nodes.v
	inactive, err := r.inactivePeaks(size)
	if err != nil {
		return mmr.Proof{}, err
	}
	if start < v.state.Start {
		return mmr.Proof{}, fmt.Errorf("%w: location %d, retained from %d", ErrPruned, start, v.state.Start)
	}
	if p := v.newestProver(); p != nil && size == v.state.Size {
		proof, err := p.Prove(r.digests, start, end, r.digest)
		if err == nil {
			r.digests = proof.Digests
		}
		return proof, err
	}
	return mmr.Prove(size, inactive, start, end, r.digest)
}

// inactivePeaks is View.InactivePeaks.
func (r *Ranges) inactivePeaks(size uint64) (uint64, error) {
	v := r.nodes.v
	if size == v.state.Size {
		return mmr.InactivePeaks(size, v.state.Floor), nil
	}
	if size != r.size || size == 0 {
		op, err := v.commitBy(r.nodes.r, size)
		if err != nil {
			return 0, err
		}
		r.size, r.inactive = size, mmr.InactivePeaks(size, op.Floor)
	}
	return r.inactive, nil
}

// Pins is View.Pins.
func (r *Ranges) Pins(loc uint64) ([]mmr.Digest, error) {
	if err := r.nodes.v.checkRange(loc, loc); err != nil {
		return nil, err
	}
	peaks := mmr.Peaks(loc)
	pins := make([]mmr.Digest, len(peaks))
	for i, p := range peaks {
		var err error
		if pins[i], err = r.digest(p); err != nil {
			return nil, err
		}
	}
	return pins, nil
}
