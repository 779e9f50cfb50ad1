package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Verdict is how two logs relate.
type Verdict string

// The verdicts.
const (
	// Equal: the same operations up to the same end.
	Equal Verdict = "equal"
	// Prefix: equal as far as the shorter one reaches.
	Prefix Verdict = "prefix"
	// Differ: two histories. Location is the first operation that differs.
	Differ Verdict = "differ"
	// Apart: no location is retained in both, so nothing can be said but what
	// their pinned nodes say.
	Apart Verdict = "apart"
)

// Difference is the result of a comparison.
type Difference struct {
	Verdict  Verdict `json:"verdict"`
	From     uint64  `json:"from"` // operations [From, To) are in both, and were compared
	To       uint64  `json:"to"`
	Location uint64  `json:"location"` // Differ: where first

	// BeforeDiffers: what lies before From, which only one of them or none
	// has, is not the same: by the pinned nodes. Where is not known then.
	BeforeDiffers bool `json:"before_differs"`
	// Digests: stored digests differ while the operations under them are
	// equal. One of the directories is damaged: check both.
	Digests bool `json:"digests_damaged"`

	A Side `json:"a"`
	B Side `json:"b"`
}

// Side is one of the two logs.
type Side struct {
	Start uint64     `json:"start"`
	Size  uint64     `json:"size"`
	Root  mmr.Digest `json:"root"`
	// Operation is what it has at Location, as it is stored; nil where nothing differs.
	Operation Bytes `json:"operation,omitempty"`
}

// Diff compares two logs of one family and encoding, each up to its size. It
// trusts stored digests, and so reads a few hundred of them whatever the size;
// full compares the operations themselves. Progress is that of Options.
func Diff(ctx context.Context, a, b *Log, full bool, o Options) (Difference, error) {
	d := Difference{
		From: max(a.Start(), b.Start()), To: min(a.Size(), b.Size()),
		A: Side{Start: a.Start(), Size: a.Size(), Root: a.Root()},
		B: Side{Start: b.Start(), Size: b.Size(), Root: b.Root()},
	}
	if a.codec != b.codec {
		return d, fmt.Errorf("%s and %s have nothing in common", a.codec, b.codec)
	}
	if d.From > d.To {
		d.Verdict = Apart
		return d, nil
	}
	c := comparison{ctx: ctx, a: a, b: b, d: &d}
	if err := c.before(); err != nil {
		return d, err
	}
	var at uint64
	var found bool
	var err error
	if full {
		at, found, err = c.operations(d.From, d.To, o)
	} else {
		at, found, err = c.digests()
	}
	switch {
	case err != nil:
		return d, err
	case found:
		d.Verdict, d.Location = Differ, at
		if d.A.Operation, err = a.g.Operation(nil, at); err == nil {
			d.B.Operation, err = b.g.Operation(nil, at)
		}
		return d, err
	case d.BeforeDiffers:
		d.Verdict = Differ
	case d.A.Size == d.B.Size:
		d.Verdict = Equal
	default:
		d.Verdict = Prefix
	}
	if d.From == d.To && d.Verdict != Differ && d.A.Size != d.B.Size && d.A.Start != d.B.Start {
		d.Verdict = Apart // one ends where the other begins; their pinned nodes agree
	}
	return d, nil
}

// comparison compares two logs.
type comparison struct {
	ctx  context.Context
	a, b *Log
	d    *Difference
}

// before compares what lies before the first common location, by the peaks there.
func (c *comparison) before() error {
	pa, err := c.a.peaks(c.d.From)
	if err != nil {
		return fmt.Errorf("%s: %w", c.a.dir.Path(), err)
	}
	pb, err := c.b.peaks(c.d.From)
	if err != nil {
		return fmt.Errorf("%s: %w", c.b.dir.Path(), err)
	}
	for i := range pa {
		if pa[i] != pb[i] {
			c.d.BeforeDiffers = true
		}
	}
	return nil
}

// digests finds the first difference from the top down.
func (c *comparison) digests() (at uint64, found bool, err error) {
	for n := range cover(c.d.From, c.d.To) {
		if at, found, err = c.node(n); found || err != nil {
			return at, found, err
		}
	}
	return 0, false, nil
}

func (c *comparison) node(n mmr.Node) (at uint64, found bool, err error) {
	if err := c.ctx.Err(); err != nil {
		return 0, false, err
	}
	da, err := c.a.digest(n)
	if err != nil {
		return 0, false, err
	}
	db, err := c.b.digest(n)
	if err != nil || da == db {
		return 0, false, err
	}
	if n.Height > mmr.TileFloor {
		at, found, err = c.node(n.Left())
		if !found && err == nil {
			at, found, err = c.node(n.Right())
		}
	} else {
		at, found, err = c.operations(n.First(), n.End(), Options{})
	}
	if !found && err == nil {
		c.d.Digests = true
	}
	return at, found, err
}

// cover are the largest nodes that make up the locations [from, to), in order.
func cover(from, to uint64) iter.Seq[mmr.Node] {
	return func(yield func(mmr.Node) bool) {
		for from < to {
			h := uint8(0)
			for from&(1<<(h+1)-1) == 0 && from+1<<(h+1) <= to {
				h++
			}
			if !yield(mmr.Node{Height: h, Index: from >> h}) {
				return
			}
			from += 1 << h
		}
	}
}

// errDiffers ends a walk at the first difference.
var errDiffers = errors.New("operations differ")

// operations compares the operations [from, to) one by one.
func (c *comparison) operations(from, to uint64, o Options) (at uint64, found bool, err error) {
	at = from
	var done atomic.Uint64
	end := o.watch(Progress{Generation: c.a.g.Number(), Task: Diffing, Total: to - from}, done.Load)
	defer end()
	for at < to {
		// A stretch of one log is held while the other one is walked along it.
		stretch := min(to, (at/slot+1)*slot)
		var held []byte
		var ends []int
		err = c.a.g.Bundles(at, stretch, func(b *store.Bundle, i, j int) error {
			for k := i; k < j; k++ {
				held = append(held, b.At(k)...)
				ends = append(ends, len(held))
			}
			return nil
		})
		if err != nil {
			return 0, false, err
		}
		n, begin := 0, 0
		err = c.b.Operations(at, stretch, func(_ uint64, op []byte) error {
			if !bytes.Equal(held[begin:ends[n]], op) {
				return errDiffers
			}
			begin = ends[n]
			n++
			return nil
		})
		at += uint64(n)
		done.Store(at - from)
		if errors.Is(err, errDiffers) {
			return at, true, nil
		}
		if err == nil {
			err = c.ctx.Err()
		}
		if err != nil {
			return 0, false, err
		}
	}
	return 0, false, nil
}

// Describe is an operation in words.
func Describe(c operation.Codec, b []byte) string {
	op, err := c.Decode(b)
	if err != nil {
		return fmt.Sprintf("%x, which does not decode: %v", b, err)
	}
	switch op.Kind {
	case operation.Commit:
		s := fmt.Sprintf("commit, floor %d", op.Floor)
		if op.Value != nil {
			s += fmt.Sprintf(", metadata %x", op.Value)
		}
		return s
	case operation.Delete:
		return fmt.Sprintf("delete %x", op.Key)
	}
	return fmt.Sprintf("%s %x = %x", op.Kind, op.Key, op.Value)
}
