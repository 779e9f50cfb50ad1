package mmr

import (
	"errors"
	"fmt"
	"slices"
)

// ErrProof is matched by every error that says that a proof, or the pinned
// nodes that came with it, must be rejected.
var ErrProof = errors.New("invalid proof")

// ProofError tells why a proof was rejected.
type ProofError struct{ Reason string }

func (e *ProofError) Error() string        { return "invalid proof: " + e.Reason }
func (e *ProofError) Is(target error) bool { return target == ErrProof }

func proofErrorf(format string, args ...any) error {
	return &ProofError{fmt.Sprintf(format, args...)}
}

// Proof shows that a run of operations stands in a tree (format.md section 2).
//
// Leaves is the size proven against. InactivePeaks is the declared number of
// inactive peaks at that size; the root hashes it, so it is as trustworthy as
// the root. The order of Digests is the one of the wire.
type Proof struct {
	Leaves        uint64
	InactivePeaks uint64
	Digests       []Digest
}

// layout sorts the nodes a proof of [start, end) speaks of into the five
// parts of format.md section 2.
type layout struct {
	folded   []Node // 1: inactive peaks before the range, folded into one digest
	before   []Node // 2: active peaks before the range
	after    []Node // 3: inactive peaks after the range
	suffix   []Node // 4: active peaks after the range, folded into one digest
	touching []Node // peaks the range lies in
	siblings []Node // 5: maximal subtrees of those outside the range
}

// layoutRoom is memory for the nodes of a layout: on the stack of whoever makes one
// it costs less than on the heap. A proof has at most one sibling for each height
// on either side of its range.
type layoutRoom struct {
	peaks    [MaxPeaks]Node
	siblings [2 * MaxPeaks]Node
}

func newLayout(room *layoutRoom, leaves, inactive, start, end uint64) (layout, error) {
	switch {
	case leaves > MaxLeaves:
		return layout{}, proofErrorf("%d leaves, at most 2^62", leaves)
	case start >= end:
		return layout{}, proofErrorf("empty range [%d, %d)", start, end)
	case end > leaves:
		return layout{}, proofErrorf("range [%d, %d) beyond %d leaves", start, end, leaves)
	}
	peaks := AppendPeaks(room.peaks[:0], leaves)
	if inactive > uint64(len(peaks)) {
		return layout{}, proofErrorf("%d inactive peaks of %d", inactive, len(peaks))
	}
	// The peaks are in order, so each part but the last is a run of them.
	first := 0
	for peaks[first].End() <= start {
		first++
	}
	last := first + 1
	for last < len(peaks) && peaks[last].First() < end {
		last++
	}
	k := int(inactive)
	l := layout{
		folded:   peaks[:min(k, first)],
		before:   peaks[min(k, first):first],
		touching: peaks[first:last],
		after:    peaks[last:max(k, last)],
		suffix:   peaks[max(k, last):],
		siblings: room.siblings[:0],
	}
	for _, p := range l.touching {
		l.siblings = outside(l.siblings, p, start, end)
	}
	return l, nil
}

// outside appends the maximal subtrees of n wholly outside [start, end), left to right.
func outside(dst []Node, n Node, start, end uint64) []Node {
	switch {
	case n.End() <= start || n.First() >= end:
		return append(dst, n)
	case n.First() >= start && n.End() <= end:
		return dst
	}
	return outside(outside(dst, n.Left(), start, end), n.Right(), start, end)
}

// size is the exact number of digests of the proof.
func (l *layout) size() int {
	n := len(l.before) + len(l.after) + len(l.siblings)
	if len(l.folded) > 0 {
		n++
	}
	if len(l.suffix) > 0 {
		n++
	}
	return n
}

// ProofSize is the exact number of digests of a proof of [start, end).
func ProofSize(leaves, inactive, start, end uint64) (int, error) {
	var room layoutRoom
	l, err := newLayout(&room, leaves, inactive, start, end)
	if err != nil {
		return 0, err
	}
	return l.size(), nil
}

// Prove builds the proof of the operations [start, end) in the tree as it was
// with this many leaves and inactive peaks. node returns the digest of a node
// of that tree; its error ends the proof. Every node asked for lies wholly
// outside the range.
func Prove(leaves, inactive, start, end uint64, node func(Node) (Digest, error)) (Proof, error) {
	var room layoutRoom
	l, err := newLayout(&room, leaves, inactive, start, end)
	if err != nil {
		return Proof{}, err
	}
	digests := make([]Digest, 0, l.size())
	add := func(nodes []Node) {
		for _, n := range nodes {
			if err != nil {
				return
			}
			var d Digest
			if d, err = node(n); err == nil {
				digests = append(digests, d)
			}
		}
	}
	// squash folds what add appended from index i on into one digest.
	squash := func(i int, f func([]Digest) Digest) {
		if err == nil && len(digests) > i {
			digests = append(digests[:i], f(digests[i:]))
		}
	}
	add(l.folded)
	squash(0, foldLeft)
	add(l.before)
	add(l.after)
	i := len(digests)
	add(l.suffix)
	squash(i, foldRight)
	add(l.siblings)
	if err != nil {
		return Proof{}, err
	}
	return Proof{Leaves: leaves, InactivePeaks: inactive, Digests: digests}, nil
}

// parts are the digests of a proof, sorted by the layout.
type parts struct {
	layout
	folded, suffix          []Digest // none or one
	before, after, siblings []Digest
}

func (p *Proof) split(room *layoutRoom, start, end uint64) (parts, error) {
	l, err := newLayout(room, p.Leaves, p.InactivePeaks, start, end)
	if err != nil {
		return parts{}, err
	}
	if want := l.size(); len(p.Digests) != want {
		return parts{}, proofErrorf("%d digests, exactly %d expected", len(p.Digests), want)
	}
	rest := p.Digests
	take := func(n int) []Digest {
		d := rest[:n]
		rest = rest[n:]
		return d
	}
	return parts{
		layout:   l,
		folded:   take(min(len(l.folded), 1)),
		before:   take(len(l.before)),
		after:    take(len(l.after)),
		suffix:   take(min(len(l.suffix), 1)),
		siblings: take(len(l.siblings)),
	}, nil
}

// Root recomputes the root that the proof and the operations of the span
// lead to. It returns a *ProofError when their shapes do not fit together.
func (p *Proof) Root(s *Span) (Digest, error) {
	if s.start == s.end {
		if s.start != 0 || p.Leaves != 0 || p.InactivePeaks != 0 || len(p.Digests) != 0 {
			return Digest{}, proofErrorf("no operations")
		}
		return Root(0, 0, nil)
	}
	var room layoutRoom
	q, err := p.split(&room, s.start, s.end)
	if err != nil {
		return Digest{}, err
	}
	return q.root(p, s)
}

func (q *parts) root(p *Proof, s *Span) (Digest, error) {
	list := make([]Digest, 0, MaxPeaks)
	list = append(append(list, q.folded...), q.before...)
	siblings := q.siblings
	var rebuild func(n Node) Digest
	rebuild = func(n Node) Digest {
		if n.End() <= s.start || n.First() >= s.end {
			d := siblings[0]
			siblings = siblings[1:]
			return d
		}
		if n.First() >= s.start && n.End() <= s.end {
			return s.digest(n)
		}
		left := rebuild(n.Left()) // before the right one: it takes its digests first
		return HashNode(n, left, rebuild(n.Right()))
	}
	for _, n := range q.touching {
		list = append(list, rebuild(n))
	}
	list = append(append(list, q.after...), q.suffix...)
	foldFirst := p.InactivePeaks
	if len(q.folded) > 0 {
		foldFirst = p.InactivePeaks - uint64(len(q.layout.folded)) + 1
	}
	return rootOf(p.Leaves, p.InactivePeaks, foldFirst, list)
}

// Verify checks that the operations of the span stand at its location under
// root. The caller has to check that p.Leaves is the size it asked about.
// Every error is a *ProofError.
func (p *Proof) Verify(s *Span, root Digest) error {
	got, err := p.Root(s)
	if err != nil {
		return err
	}
	if got != root {
		return proofErrorf("root mismatch: computed %s, trusted %s", got, root)
	}
	return nil
}

// VerifyPins is Verify, and checks that pins are the peaks of the tree that
// had s.Start() leaves, oldest first (format.md section 2, pinned nodes): what
// the proof says of everything before the range has to follow from them.
func (p *Proof) VerifyPins(s *Span, pins []Digest, root Digest) error {
	if err := p.Verify(s, root); err != nil {
		return err
	}
	nodes := Peaks(s.start)
	if len(pins) != len(nodes) {
		return proofErrorf("%d pinned nodes, location %d has %d", len(pins), s.start, len(nodes))
	}
	if s.start == 0 {
		return nil
	}
	var room layoutRoom
	q, err := p.split(&room, s.start, s.end)
	if err != nil {
		return err
	}
	// Pins and proof speak of the same nodes, in the same order: whatever the
	// size proven against, the subtrees before a location are its peaks.
	folded, rest := pins[:len(q.layout.folded)], pins[len(q.layout.folded):]
	if len(folded) > 0 && foldLeft(folded) != q.folded[0] {
		return proofErrorf("pinned nodes of location %d do not match the folded peaks", s.start)
	}
	claimed := q.before
	for i, n := range q.layout.siblings {
		if n.End() <= s.start {
			claimed = append(slices.Clip(claimed), q.siblings[i])
		}
	}
	if !slices.Equal(claimed, rest) {
		return proofErrorf("pinned nodes of location %d do not match the proof", s.start)
	}
	return nil
}
