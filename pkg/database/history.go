package database

import (
	"errors"
	"fmt"
	"slices"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// ErrScanLimit: the search came to its limit before it found anything. There
// is something to be found further on.
var ErrScanLimit = errors.New("scan limit reached")

// At is the database as of a retained commit boundary: a view of its own,
// which shows the state of that size and has to be closed, before or after v.
// At(v.Size()) is v itself.
//
// Errors: ErrNotBoundary, ErrBeyond, and ErrPruned: a state is readable only
// if everything from its inactivity floor on is retained, since live keys may
// stand as far back as that.
func (v *View) At(size uint64) (*View, error) {
	if size == v.state.Size {
		return v.share(), nil
	}
	floor, err := v.readableAt(size)
	if err != nil {
		return nil, err
	}
	s := v.state
	s.Size, s.Floor = size, floor
	if s.Root, err = v.RootAt(size); err != nil {
		return nil, err
	}
	// The edge of the tree is that of the newer state: it has every node the
	// smaller tree has, apart from those that went into tiles.
	v.gen.holdFrom(s.Start)
	return newView(&shared{codec: v.codec, gen: v.gen, state: s, pins: v.pins, frontier: v.frontier, onFail: v.onFail}), nil
}

// readableAt is the floor of the commit that ends the log at size, if all
// keys of that state can be read.
func (v *View) readableAt(size uint64) (floor uint64, err error) {
	if size == v.state.Size {
		return v.state.Floor, nil
	}
	op, err := v.commitAt(size)
	if err == nil && op.Floor < v.state.Start {
		err = fmt.Errorf("%w: the state of size %d reaches back to %d, retained from %d", ErrPruned, size, op.Floor, v.state.Start)
	}
	return op.Floor, err
}

// CommitInfo describes a commit of the log.
type CommitInfo struct {
	Size     uint64 // of the log that ends with it
	Floor    uint64 // inactivity floor after it
	Metadata []byte // nil: none
}

// commitWindow is how many operations are looked at together. Bundles do not
// cross its multiples.
const commitWindow = 256

// commitBytes bounds the memory of the commits found in one window; what
// carries more metadata is read again.
const commitBytes = 256 << 10

// Commits calls fn with the retained commits of size at most before, newest
// first, until fn returns false. It looks at about maxScan operations at
// most, at least one window of 256. next is the before to go on with; 0: that
// was all. Metadata is fn's to keep.
func (v *View) Commits(before, maxScan uint64, fn func(CommitInfo) bool) (next uint64, err error) {
	at := min(before, v.state.Size)
	scanned := uint64(0)
	for at > v.state.Start && (scanned == 0 || scanned < maxScan) {
		from := max(v.state.Start, (at-1)/commitWindow*commitWindow)
		found, err := v.commitsIn(from, at)
		if err != nil {
			return 0, err
		}
		for _, c := range slices.Backward(found) {
			op := c.op
			if c.skipped {
				if op, err = v.operationAt(c.loc); err != nil {
					return 0, err
				}
			}
			if !fn(CommitInfo{Size: c.loc + 1, Floor: op.Floor, Metadata: op.Value}) {
				return v.commitsBefore(c.loc), nil
			}
		}
		scanned += at - from
		at = from
	}
	return v.commitsBefore(at), nil
}

// commitsBefore is at, or 0 if no commit of that size or a smaller one is retained.
func (v *View) commitsBefore(at uint64) uint64 {
	if at <= v.state.Start {
		return 0
	}
	return at
}

// foundCommit is a commit of a window.
type foundCommit struct {
	loc     uint64
	op      operation.Operation
	skipped bool // not decoded: the window holds enough already
}

// commitsIn finds the commits of [from, to).
func (v *View) commitsIn(from, to uint64) ([]foundCommit, error) {
	var found []foundCommit
	room := commitBytes
	err := v.bundles(from, to, func(b *store.Bundle, i, j int) error {
		for k := i; k < j; k++ {
			if kind, ok := v.codec.KindOf(b.At(k)); ok && kind != operation.Commit {
				continue
			}
			c := foundCommit{loc: b.First + uint64(k)}
			if room -= len(b.At(k)); room < 0 {
				c.skipped = true
			} else {
				var err error
				if c.op, err = v.decode(append([]byte(nil), b.At(k)...), c.loc); err != nil {
					return err
				}
			}
			found = append(found, c)
		}
		return nil
	})
	return found, err
}

// NextCommit is the smallest commit boundary above after, which need not be
// one itself; 0 if the log ends there. ErrPruned if after lies before the
// first retained location, ErrBeyond if beyond Size, ErrScanLimit if there is
// no commit within the next maxScan operations or so.
func (v *View) NextCommit(after, maxScan uint64) (size uint64, err error) {
	if err := v.checkRange(after, after); err != nil {
		return 0, err
	}
	end := v.state.Size
	if maxScan < end-after {
		end = after + max(maxScan, 1)
	}
	err = v.bundles(after, end, func(b *store.Bundle, i, j int) error {
		for k := i; k < j; k++ {
			if kind, ok := v.codec.KindOf(b.At(k)); ok && kind == operation.Commit {
				size = b.First + uint64(k) + 1
				return errStop
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errStop):
		return size, nil
	case err == nil && end < v.state.Size:
		err = fmt.Errorf("%w: no commit in [%d, %d)", ErrScanLimit, after, end)
	}
	return 0, err
}
