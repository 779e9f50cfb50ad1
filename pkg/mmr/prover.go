package mmr

import "slices"

// Prover builds proofs in one tree whose peaks are known. What proofs fold out of
// peaks, up to a hash for each of them, is folded once. It is safe for concurrent
// use if the functions it is given are.
type Prover struct {
	leaves, inactive uint64
	left             []Digest // of the first i+1 peaks, folded as inactive ones are
	right            []Digest // of the peaks from i on, folded as active ones are
}

// NewProver is for the tree with this many leaves and inactive peaks. peaks are
// its peak digests, oldest first. It fails as Root does.
func NewProver(leaves, inactive uint64, peaks []Digest) (*Prover, error) {
	if _, err := Root(leaves, inactive, peaks); err != nil {
		return nil, err
	}
	p := &Prover{leaves: leaves, inactive: inactive, left: slices.Clone(peaks), right: slices.Clone(peaks)}
	for i := 1; i < len(peaks); i++ {
		p.left[i] = fold(p.left[i-1], peaks[i])
	}
	for i := len(peaks) - 2; i >= 0; i-- {
		p.right[i] = fold(peaks[i], p.right[i+1])
	}
	return p, nil
}

// Prove builds the proof of the operations [start, end), as the function Prove does.
// Its digests lie in the memory of buf if that is large enough; nil is.
func (p *Prover) Prove(buf []Digest, start, end uint64, node func(Node) (Digest, error)) (Proof, error) {
	var room layoutRoom
	l, err := newLayout(&room, p.leaves, p.inactive, start, end)
	if err != nil {
		return Proof{}, err
	}
	digests := slices.Grow(buf[:0], l.size())
	if n := len(l.folded); n > 0 {
		digests = append(digests, p.left[n-1])
	}
	if digests, err = appendNodes(digests, l.before, node); err != nil {
		return Proof{}, err
	}
	if digests, err = appendNodes(digests, l.after, node); err != nil {
		return Proof{}, err
	}
	if n := len(l.suffix); n > 0 {
		digests = append(digests, p.right[len(p.right)-n])
	}
	if digests, err = appendNodes(digests, l.siblings, node); err != nil {
		return Proof{}, err
	}
	return Proof{Leaves: p.leaves, InactivePeaks: p.inactive, Digests: digests}, nil
}

func appendNodes(dst []Digest, nodes []Node, node func(Node) (Digest, error)) ([]Digest, error) {
	for _, n := range nodes {
		d, err := node(n)
		if err != nil {
			return nil, err
		}
		dst = append(dst, d)
	}
	return dst, nil
}
