package mmr

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// naive keeps every node by position and follows format.md section 1 word for
// word: the second implementation the package is compared with.
type naive struct {
	nodes  []Digest
	leaves uint64
}

func (t *naive) hash(parts ...[]byte) Digest {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return Digest(h.Sum(nil))
}

func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (t *naive) append(op []byte) {
	t.nodes = append(t.nodes, t.hash(be64(uint64(len(t.nodes))), op))
	for h, n := 0, t.leaves+1; n&1 == 0; h, n = h+1, n>>1 {
		pos := len(t.nodes)
		left, right := t.nodes[pos-2<<h], t.nodes[pos-1]
		t.nodes = append(t.nodes, t.hash(be64(uint64(pos)), left[:], right[:]))
	}
	t.leaves++
}

// node finds a digest by walking down from the peaks, without Node.Position.
func (t *naive) node(n Node) Digest {
	base := 0
	first := uint64(0)
	for h := 62; h >= 0; h-- {
		if t.leaves>>h&1 == 0 {
			continue
		}
		size := 2<<h - 1
		if n.First() >= first && n.End() <= first+1<<h {
			return t.nodes[t.within(base, h, first, n)]
		}
		base, first = base+size, first+1<<h
	}
	panic(fmt.Sprint("no such node ", n))
}

func (t *naive) within(base, h int, first uint64, n Node) int {
	switch {
	case h == int(n.Height):
		return base + 2<<h - 2
	case n.First() < first+1<<(h-1):
		return t.within(base, h-1, first, n)
	default:
		return t.within(base+1<<h-1, h-1, first+1<<(h-1), n)
	}
}

func (t *naive) peaks(leaves uint64) []Digest {
	var out []Digest
	first := uint64(0)
	for h := 62; h >= 0; h-- {
		if leaves>>h&1 == 1 {
			out = append(out, t.node(Node{uint8(h), first >> h}))
			first += 1 << h
		}
	}
	return out
}

func (t *naive) root(leaves, k uint64) Digest {
	p := t.peaks(leaves)
	if len(p) == 0 {
		return t.hash(be64(0))
	}
	for k2 := k; k2 > 1; k2-- {
		p = append([]Digest{t.hash(p[0][:], p[1][:])}, p[2:]...)
	}
	for len(p) > 1 {
		n := len(p)
		p = append(p[:n-2:n-2], t.hash(p[n-2][:], p[n-1][:]))
	}
	if k == 0 {
		return t.hash(be64(leaves), p[0][:])
	}
	return t.hash(be64(leaves), be64(k), p[0][:])
}

// ops are test operations: operation i is its own number, with varying length.
type ops struct{ start, end uint64 }

func (o ops) Len() int { return int(o.end - o.start) }
func (o ops) At(i int) []byte {
	n := o.start + uint64(i)
	return append(be64(n*n+1), make([]byte, n%200)...)
}

func newNaive(n uint64) *naive {
	t := new(naive)
	all := ops{0, n}
	for i := range n {
		t.append(all.At(int(i)))
	}
	return t
}
