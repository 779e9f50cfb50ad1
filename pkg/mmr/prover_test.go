package mmr

import (
	"errors"
	"slices"
	"testing"
)

func TestAProverBuildsTheSameProofs(t *testing.T) {
	const most = 37
	tree := newNaive(most)
	node := func(n Node) (Digest, error) { return tree.node(n), nil }
	var buf []Digest
	for size := uint64(1); size <= most; size++ {
		for k := uint64(0); k <= uint64(len(Peaks(size))); k++ {
			p, err := NewProver(size, k, tree.peaks(size))
			if err != nil {
				t.Fatal(err)
			}
			for start := range size {
				for end := start + 1; end <= size; end++ {
					want := prove(t, tree, size, k, start, end)
					got, err := p.Prove(buf, start, end, node)
					buf = got.Digests
					if err != nil || got.Leaves != want.Leaves || got.InactivePeaks != want.InactivePeaks || !slices.Equal(got.Digests, want.Digests) {
						t.Fatalf("[%d, %d) of %d, %d inactive peaks: %v, %v; want %v", start, end, size, k, got, err, want)
					}
				}
			}
		}
	}
}

func TestAProverRefusesWhatProveRefuses(t *testing.T) {
	tree := newNaive(11)
	if _, err := NewProver(11, 0, tree.peaks(10)); !errors.Is(err, ErrProof) {
		t.Errorf("peaks of another size: %v", err)
	}
	p, err := NewProver(11, 1, tree.peaks(11))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]uint64{{3, 3}, {4, 2}, {0, 12}, {11, 12}} {
		if _, err := p.Prove(nil, r[0], r[1], nil); !errors.Is(err, ErrProof) {
			t.Errorf("[%d, %d) of 11: %v", r[0], r[1], err)
		}
	}
	gone := errors.New("gone")
	if _, err := p.Prove(nil, 4, 5, func(Node) (Digest, error) { return Digest{}, gone }); !errors.Is(err, gone) {
		t.Errorf("a digest that cannot be read: %v", err)
	}
}
