package mmr

import "github.com/proofsync/proofsync/internal/sha256x2"

// Elements are consecutive encoded operations. What At returned has to stay as it
// is while others are asked for.
type Elements interface {
	Len() int
	At(i int) []byte
}

// SpanHeight is the largest height a Span holds digests of. It is the height
// of a bundle of 256 operations; taller nodes cost 1/256 hash per operation
// and are computed where they are needed.
const SpanHeight = 8

// Span holds the digests of every node up to SpanHeight that lies wholly
// inside a run of operations. Hashing a run once serves both the check of its
// proof and the tiles that are stored.
//
// A Span may be reused with Reset; it is safe for concurrent readers.
type Span struct {
	start, end uint64
	levels     [SpanHeight + 1][]Digest // levels[h][i] is node {h, base[h]+i}
	base       [SpanHeight + 1]uint64
}

// HashSpan hashes the operations that stand at [start, start+e.Len()).
func HashSpan(start uint64, e Elements) *Span {
	s := new(Span)
	s.Reset(start, e)
	return s
}

// Reset hashes anew, reusing the span's memory.
func (s *Span) Reset(start uint64, e Elements) {
	n := e.Len()
	s.start, s.end = start, start+uint64(n)
	s.base[0] = start
	leaves := resize(s.levels[0], n)
	hashLeaves(leaves, start, e)
	s.levels[0] = leaves
	for h := uint8(1); h <= SpanHeight; h++ {
		first := (start + 1<<h - 1) >> h
		count := 0
		if end := s.end >> h; end > first {
			count = int(end - first)
		}
		s.base[h] = first
		level := resize(s.levels[h], count)
		if count > 0 { // below may end before its first left child
			HashLevel(level, s.levels[h-1][2*first-s.base[h-1]:], h, first)
		}
		s.levels[h] = level
	}
}

// hashLeaves stores the digests of the operations at [first, first+e.Len()) in dst.
func hashLeaves(dst []Digest, first uint64, e Elements) {
	done := sha256x2.Pairs(dst, func(i int) (uint64, []byte, []byte) {
		return LeafPosition(first + uint64(i)), nil, e.At(i)
	})
	for i := done; i < len(dst); i++ {
		dst[i] = HashLeaf(first+uint64(i), e.At(i))
	}
}

// HashLevel stores the digests of the nodes of height h from index first on in
// dst, as many as it has room for. below has those of their children, two each; dst
// may be its beginning.
func HashLevel(dst, below []Digest, h uint8, first uint64) {
	done := sha256x2.Pairs(dst, func(i int) (uint64, []byte, []byte) {
		return Node{h, first + uint64(i)}.Position(), below[2*i][:], below[2*i+1][:]
	})
	for i := done; i < len(dst); i++ {
		dst[i] = HashNode(Node{h, first + uint64(i)}, below[2*i], below[2*i+1])
	}
}

func resize(d []Digest, n int) []Digest {
	if cap(d) < n {
		return make([]Digest, n)
	}
	return d[:n]
}

// Start is the location of the first operation.
func (s *Span) Start() uint64 { return s.start }

// End is one past the location of the last operation.
func (s *Span) End() uint64 { return s.end }

// Digest returns the digest of a node that lies wholly inside the span, and
// whether it does. Nodes above SpanHeight are computed from those below.
func (s *Span) Digest(n Node) (Digest, bool) {
	if n.First() < s.start || n.End() > s.end {
		return Digest{}, false
	}
	return s.digest(n), true
}

func (s *Span) digest(n Node) Digest {
	if n.Height <= SpanHeight {
		return s.levels[n.Height][n.Index-s.base[n.Height]]
	}
	return HashNode(n, s.digest(n.Left()), s.digest(n.Right()))
}

// level returns the digests of height h wholly inside the span, from index base on.
func (s *Span) level(h uint8) (base uint64, digests []Digest) { return s.base[h], s.levels[h] }
