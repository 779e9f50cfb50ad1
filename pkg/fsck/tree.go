package fsck

import (
	"bytes"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// tree grows from the operations in order, and compares what comes of them
// with what is stored: tiles as they become full, roots where they are known.
type tree struct {
	c        *checker
	frontier *mmr.Frontier
	cursors  [store.TileLevels]*store.TileCursor
	buf      []byte
	rooted   bool   // the root of the state was compared
	lost     string // why no digest can be computed any more, if that is so
}

func (p *pass) newTree() (*tree, error) {
	c := p.c
	t := &tree{c: c}
	var err error
	if t.frontier, err = mmr.NewFrontier(c.g.Retained()); err != nil {
		return nil, err
	}
	for level := range t.cursors {
		t.cursors[level], err = c.g.Tiles(uint8(level), func(key []byte, index uint64) { t.extra(uint8(level), index, key) })
		if err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

func (t *tree) close() {
	for _, c := range t.cursors {
		if c != nil {
			c.Close()
		}
	}
}

// chunk appends a chunk of operations, or goes on behind those that are lost.
func (t *tree) chunk(k *chunk) error {
	if k.fault != nil {
		t.c.rangeFault(k.fault)
		if k.fault.Lost {
			t.skip(k.fault.From, k.fault.To)
		}
		return nil
	}
	t.c.sum.Operations += uint64(k.Len())
	for _, b := range k.bad {
		t.c.badOperation(b)
	}
	switch at := t.frontier.Leaves(); {
	case t.lost != "":
	case k.first == at:
		if err := t.frontier.Append(&k.span, t.tile); err != nil {
			return err
		}
		t.root(k)
	case k.end() > at: // the slot of an operation that is lost ends in here
		t.lost = fmt.Sprintf("operations at location %d are lost", at)
	}
	return nil
}

// skip goes on behind operations that are lost, taking the digests of their
// slots as they are stored: if they lead to the root, everything else is right.
func (t *tree) skip(from, to uint64) {
	for at := max(from, t.frontier.Leaves()); at < to && t.lost == ""; at = t.frontier.Leaves() {
		var d []byte
		if end := (at/slot + 1) * slot; end <= t.c.s.Stored {
			d, _ = t.cursors[0].Take(at / slot) // without it, the root cannot be told: that is what counts
		}
		if d == nil {
			t.lost = fmt.Sprintf("operations at location %d are lost, and no digest of them is stored", at)
			return
		}
		t.c.sum.Tiles++
		t.frontier.Skip(mmr.Digest(d[len(d)-mmr.DigestSize:]), t.tile)
	}
}

// root compares the roots that are known at the end of a chunk.
func (t *tree) root(k *chunk) {
	c, at := t.c, k.end()
	isCommit := k.tip.Kind == operation.Commit
	if at == c.head.Size && at < c.s.Size && isCommit {
		if root := t.frontier.Root(k.tip.Floor); root != c.head.Root {
			c.add(Finding{
				Space: Head, Problem: Different, Ranged: true, From: 0, To: at,
				Expected: "root " + c.head.Root.String() + ", as acknowledged", Found: root.String(),
			})
		}
	}
	if at != c.s.Size || !c.s.Published() {
		return
	}
	if !isCommit {
		c.wrong = true
		c.add(Finding{Space: State, Problem: Malformed, Ranged: true, From: at - 1, To: at, Detail: "the last readable operation is no commit"})
	} else if k.tip.Floor != c.s.Floor {
		c.wrong = true
		c.add(Finding{
			Space: State, Problem: Different, Ranged: true, From: at - 1, To: at,
			Expected: fmt.Sprintf("floor %d, as the commit says", k.tip.Floor), Found: fmt.Sprint(c.s.Floor),
		})
	}
	t.compareRoot()
}

func (t *tree) compareRoot() {
	c := t.c
	t.rooted = true
	if root := t.frontier.Root(c.s.Floor); root != c.s.Root {
		c.wrong = true
		c.add(Finding{
			Space: State, Problem: Different, Ranged: true, From: c.s.Start, To: c.s.Size,
			Expected: "root " + c.s.Root.String() + ", as the state says", Found: root.String(),
			Detail: "operations or pinned nodes are not those that were written",
		})
	}
}

// finish looks at what is left when all operations were read.
func (t *tree) finish() error {
	c := t.c
	if !t.rooted && c.s.Published() {
		if t.lost == "" && t.frontier.Leaves() == c.s.Size { // its end was skipped
			t.compareRoot()
		} else {
			c.wrong = true
			detail := "the root cannot be computed"
			if t.lost != "" {
				detail += ": " + t.lost
			}
			c.add(Finding{Space: State, Problem: Unreadable, Ranged: true, From: c.s.Start, To: c.s.Size, Detail: detail})
		}
	}
	if t.lost != "" {
		return nil // what tiles there should be is not known
	}
	for level, cursor := range t.cursors {
		if err := cursor.Rest(); err != nil {
			c.add(Finding{Space: Tiles, Problem: Unreadable, Rebuild: true, Tile: fmt.Sprintf("%d/", level), Detail: reason(err)})
		}
	}
	return nil
}

// tile compares a tile that has become full with the one stored.
func (t *tree) tile(tile *mmr.Tile) {
	c, id := t.c, tile.TileID
	c.sum.Tiles++
	t.buf = tile.AppendTo(t.buf[:0])
	stored, err := t.cursors[id.Level].Take(id.Index)
	if err == nil && bytes.Equal(stored, t.buf) {
		return
	}
	f := Finding{Space: Tiles, Tile: tileName(id), Repairable: true, Ranged: true, From: id.End() - 1<<(8*uint(id.Level)+8), To: id.End()}
	switch {
	case err != nil:
		f.Problem, f.Rebuild, f.Detail, f.File = Unreadable, true, reason(err), store.CorruptFile(err)
	case stored == nil:
		f.Problem = Missing
	default:
		n, at, differs := firstDifference(id, stored, t.buf, c.s.Start)
		if !differs {
			return // in digests of what lies before the start, which nobody asks for
		}
		f.Problem, f.From, f.To = Different, n.First(), n.End()
		f.Expected = fmt.Sprintf("digest %x of the node of height %d", t.buf[at:at+mmr.DigestSize], n.Height)
		f.Found = fmt.Sprintf("%x", stored[at:at+mmr.DigestSize])
	}
	c.fix(store.SetTile(id, bytes.Clone(t.buf)))
	c.add(f)
}

// firstDifference is the first node whose digest differs in two tiles, and
// the digest's offset. Nodes that end at or before start do not count.
func firstDifference(id mmr.TileID, a, b []byte, start uint64) (n mmr.Node, at int, ok bool) {
	top := id.Top()
	floor := top.Height - mmr.SpanHeight + 1
	floor = max(floor, mmr.TileFloor)
	for h := floor; h <= top.Height; h++ {
		first := id.Index << (top.Height - h)
		for i := range uint64(1) << (top.Height - h) {
			n = mmr.Node{Height: h, Index: first + i}
			if n.End() > start && !bytes.Equal(a[at:at+mmr.DigestSize], b[at:at+mmr.DigestSize]) {
				return n, at, true
			}
			at += mmr.DigestSize
		}
	}
	return n, 0, false
}

// extra reports a tile that is stored and does not follow from the operations.
func (t *tree) extra(level uint8, index uint64, key []byte) {
	c := t.c
	if t.lost != "" {
		return
	}
	id := mmr.TileID{Level: level, Index: index}
	f := Finding{Space: Tiles, Problem: Extra, Tile: tileName(id), Repairable: true}
	if level+1 < store.TileLevels && id.End() <= c.s.Start {
		f.Severity, f.Detail = Note, "below the start: pruned, to be removed"
	} else {
		c.fix(store.RemoveRecord(key))
	}
	c.add(f)
}

func tileName(id mmr.TileID) string { return fmt.Sprintf("%d/%d", id.Level, id.Index) }
