package mmr

import "fmt"

const (
	// TileFloor is the lowest height whose digests tiles hold: below it,
	// rehashing up to seven neighbours is cheaper than storing and reading 64
	// bytes for every operation.
	TileFloor = 3
	// tileSpan is the number of heights a tile rises.
	tileSpan = 8
	heights  = 63 // 2^62 leaves are one peak of height 62
	groups   = (heights + tileSpan - 1) / tileSpan
)

// TileID names a tile. A tile of level L covers the 256 nodes of height 8L
// from Index<<8 on, and holds the digests of what lies above them, up to the
// one node of height 8L+8.
type TileID struct {
	Level uint8
	Index uint64
}

// TileOf is the tile that holds the digest of n, and where in it: the digest
// number, counted by ascending height, then index. n.Height is at least TileFloor.
func TileOf(n Node) (TileID, int) {
	level := (n.Height - 1) / tileSpan
	up := level*tileSpan + tileSpan - n.Height // heights between n and the tile's top
	id := TileID{level, n.Index >> up}
	at := 0
	for h := tileFloor(level); h < n.Height; h++ {
		at += 1 << (level*tileSpan + tileSpan - h)
	}
	return id, at + int(n.Index&(1<<up-1))
}

// TileDigests is the number of digests in a tile of this level.
func TileDigests(level uint8) int {
	return 1<<(level*tileSpan+tileSpan-tileFloor(level)+1) - 1
}

func tileFloor(level uint8) uint8 {
	if level == 0 {
		return TileFloor
	}
	return level*tileSpan + 1
}

// End is one past the last location the tile covers.
func (t TileID) End() uint64 { return (t.Index + 1) << (t.Level*tileSpan + tileSpan) }

// Top is the one node at the top of the tile.
func (t TileID) Top() Node { return Node{t.Level*tileSpan + tileSpan, t.Index} }

// Tile is a full tile as it is handed out by Frontier.Append.
type Tile struct {
	TileID
	rows [tileSpan][]Digest // by ascending height
}

// AppendTo appends the tile's TileDigests digests, by ascending height, then index.
func (t *Tile) AppendTo(dst []byte) []byte {
	for _, row := range t.rows {
		for i := range row {
			dst = append(dst, row[i][:]...)
		}
	}
	return dst
}

// Frontier is the growing edge of a tree: the digests of every node that lies
// in a tile which is not full yet. It is all that appending and computing the
// root need. Memory: at most 512 digests for every eight heights.
//
// Digests of nodes wholly before the start of the log are unknown unless they
// are pinned; they are zero here and no proof of a retained range asks for them.
type Frontier struct {
	leaves uint64
	// rows[h][i] is node {h, base+i}, base being the first node of height h in
	// the unfinished tile of level h/8.
	rows   [heights][]Digest
	shared [groups]bool // a snapshot holds these rows' memory
}

// NewFrontier is the edge of a log that starts at location start with the
// given pinned nodes (the peaks of the tree with start leaves, oldest first).
func NewFrontier(start uint64, pins []Digest) (*Frontier, error) {
	if start > MaxLeaves {
		return nil, proofErrorf("location %d, at most 2^62", start)
	}
	peaks := Peaks(start)
	if len(pins) != len(peaks) {
		return nil, proofErrorf("%d pinned nodes, location %d has %d", len(pins), start, len(peaks))
	}
	f := &Frontier{leaves: start}
	for h := range uint8(heights) {
		f.rows[h] = make([]Digest, start>>h-f.base(h))
	}
	for i, p := range peaks {
		if row := f.rows[p.Height]; len(row) > 0 {
			row[len(row)-1] = pins[i]
		}
	}
	return f, nil
}

// TailStart is where the operations begin that are not under a full tile of
// the lowest level, in a log [start, leaves).
func TailStart(start, leaves uint64) uint64 {
	return max(start, leaves&^(1<<SpanHeight-1))
}

// LoadFrontier restores the edge of a log [start, leaves) as it was at its
// TailStart; the caller appends the operations from there on. top returns the
// digest of the node at the top of a full tile.
func LoadFrontier(leaves, start uint64, pins []Digest, top func(Node) (Digest, error)) (*Frontier, error) {
	known, err := NewFrontier(start, pins)
	edge := TailStart(start, leaves)
	if err != nil || start == edge {
		return known, err
	}
	f := &Frontier{leaves: edge}
	for h := uint8(SpanHeight); h < heights; h++ {
		base := f.base(h)
		row := make([]Digest, edge>>h-base)
		for i := range row {
			n := Node{h, base + uint64(i)}
			switch {
			case n.End() <= start: // pinned, or unknown and never asked for
				row[i], _ = known.Digest(n)
			case h%tileSpan == 0:
				if row[i], err = top(n); err != nil {
					return nil, err
				}
			default:
				below := f.rows[h-1]
				row[i] = HashNode(n, below[2*i], below[2*i+1])
			}
		}
		f.rows[h] = row
	}
	return f, nil
}

// base is the index of the first node of height h in the unfinished tile.
func (f *Frontier) base(h uint8) uint64 {
	up := tileSpan - h%tileSpan
	return f.leaves >> (h + up) << up
}

// Leaves is the number of operations so far.
func (f *Frontier) Leaves() uint64 { return f.leaves }

// Snapshot returns a copy that stays as it is while f grows. The two share memory.
func (f *Frontier) Snapshot() *Frontier {
	for i := range f.shared {
		f.shared[i] = true
	}
	c := *f
	return &c
}

// Digest returns the digest of n if n lies in an unfinished tile, or tops a
// finished one right under an unfinished tile.
func (f *Frontier) Digest(n Node) (Digest, bool) {
	if n.Height >= heights || n.End() > f.leaves {
		return Digest{}, false
	}
	base := f.base(n.Height)
	if n.Index < base || n.Index-base >= uint64(len(f.rows[n.Height])) {
		return Digest{}, false
	}
	return f.rows[n.Height][n.Index-base], true
}

// Peaks returns the digests of the peaks, oldest first: the pinned nodes of
// the location the log has grown to.
func (f *Frontier) Peaks() []Digest {
	nodes := Peaks(f.leaves)
	out := make([]Digest, len(nodes))
	for i, n := range nodes {
		row := f.rows[n.Height]
		out[i] = row[len(row)-1]
	}
	return out
}

// Root is the root of the log with the given inactivity floor.
func (f *Frontier) Root(floor uint64) Digest {
	root, err := Root(f.leaves, InactivePeaks(f.leaves, floor), f.Peaks())
	if err != nil {
		panic("mmr: frontier with a wrong number of peaks: " + err.Error())
	}
	return root
}

// Append adds the operations of a span, which must start at Leaves. Each tile
// that becomes full is passed to emit (which may be nil), lowest level first;
// the tile's memory is valid during the call only.
func (f *Frontier) Append(s *Span, emit func(*Tile)) error {
	if s.start != f.leaves {
		return fmt.Errorf("mmr: span starts at %d, the log ends at %d", s.start, f.leaves)
	}
	if s.end > MaxLeaves {
		return proofErrorf("%d leaves, at most 2^62", s.end)
	}
	for at := s.start; at < s.end; {
		next := min(s.end, (at>>SpanHeight+1)<<SpanHeight)
		if next-at == 1<<SpanHeight {
			f.appendSlot(s, at, emit)
		} else {
			f.appendPart(s, at, next, emit)
		}
		at = next
	}
	return nil
}

// appendSlot adds an aligned run of 256 operations, all of whose digests the span has.
func (f *Frontier) appendSlot(s *Span, at uint64, emit func(*Tile)) {
	if emit != nil {
		t := Tile{TileID: TileID{0, at >> SpanHeight}}
		for h := uint8(TileFloor); h <= SpanHeight; h++ {
			base, level := s.level(h)
			i := at>>h - base
			t.rows[h-TileFloor] = level[i : i+1<<(SpanHeight-h)]
		}
		emit(&t)
	}
	base, level := s.level(SpanHeight)
	top := level[at>>SpanHeight-base]
	f.reset(0)
	f.leaves = at + 1<<SpanHeight
	f.push(SpanHeight, top, emit)
}

// Skip goes on behind the slot of 256 operations that the log ends in, or at
// whose start it ends, knowing nothing of it but the digest of the node on top:
// for a log of which operations are lost. No tile of the lowest level comes of it.
func (f *Frontier) Skip(top Digest, emit func(*Tile)) {
	f.reset(0)
	f.leaves = (f.leaves>>SpanHeight + 1) << SpanHeight
	f.push(SpanHeight, top, emit)
}

// appendPart adds the operations [at, next), which lie in one slot of 256.
func (f *Frontier) appendPart(s *Span, at, next uint64, emit func(*Tile)) {
	base, level := s.level(0)
	f.rows[0] = append(f.rows[0], level[at-base:next-base]...)
	slot := at >> SpanHeight << SpanHeight
	for h := uint8(1); h < SpanHeight; h++ {
		row := f.rows[h]
		base, level := s.level(h)
		for i := slot>>h + uint64(len(row)); i < next>>h; i++ {
			if i >= base && i-base < uint64(len(level)) {
				row = append(row, level[i-base])
				continue
			}
			c := 2*i - slot>>(h-1) // this node reaches back before the span
			row = append(row, HashNode(Node{h, i}, f.rows[h-1][c], f.rows[h-1][c+1]))
		}
		f.rows[h] = row
	}
	f.leaves = next
	if next&(1<<SpanHeight-1) != 0 {
		return
	}
	below := f.rows[SpanHeight-1]
	top := HashNode(Node{SpanHeight, slot >> SpanHeight}, below[0], below[1])
	f.finish(0, slot>>SpanHeight, top, emit)
	f.push(SpanHeight, top, emit)
}

// push appends a node of height h, a multiple of 8, and every node it completes.
func (f *Frontier) push(h uint8, d Digest, emit func(*Tile)) {
	if h >= heights {
		return
	}
	level := h / tileSpan
	index := f.leaves>>h - 1 // of the node of height h that has just been completed
	f.rows[h] = append(f.rows[h], d)
	for top := level*tileSpan + tileSpan; index&1 == 1 && h+1 < heights; {
		row := f.rows[h]
		h, index = h+1, index>>1
		d = HashNode(Node{h, index}, row[len(row)-2], row[len(row)-1])
		if h == top {
			f.finish(level, index, d, emit)
			f.push(h, d, emit)
			return
		}
		f.rows[h] = append(f.rows[h], d)
	}
}

// finish hands out the tile whose top has just been computed and starts the next one.
func (f *Frontier) finish(level uint8, index uint64, top Digest, emit func(*Tile)) {
	if emit != nil {
		t := Tile{TileID: TileID{level, index}}
		i := 0
		for h := tileFloor(level); h < level*tileSpan+tileSpan; h++ {
			t.rows[i] = f.rows[h]
			i++
		}
		t.rows[i] = []Digest{top}
		emit(&t)
	}
	f.reset(level)
}

// reset empties the rows of a group, keeping their memory if nobody else reads it.
func (f *Frontier) reset(level uint8) {
	for h := level * tileSpan; h < min(level*tileSpan+tileSpan, heights); h++ {
		if f.shared[level] {
			f.rows[h] = nil
		} else {
			f.rows[h] = f.rows[h][:0]
		}
	}
	f.shared[level] = false
}
