package database

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// View is one published state of a database. It never changes, is safe for
// concurrent use, and keeps its files alive until Close.
type View struct {
	*shared
	closed atomic.Bool
}

// shared is what all holders of one published state have in common.
type shared struct {
	codec    operation.Codec
	gen      *generation
	state    store.State
	pins     []mmr.Digest // of state.Start
	frontier *mmr.Frontier
	holders  atomic.Int64
	onFail   func(error)

	proving sync.Once
	prover  *mmr.Prover // see newestProver
}

// newView makes a view of s. The generation is held for it already, from
// s.Start on.
func newView(sh *shared) *View {
	sh.holders.Store(1)
	return &View{shared: sh}
}

// newView makes a view of s as far as it is retained by now.
func (d *DB) newView(g *generation, s store.State, f *mmr.Frontier) *View {
	var pins []mmr.Digest
	s.Start, pins = g.holdRetained()
	return newView(&shared{codec: d.codec, gen: g, state: s, pins: pins, frontier: f, onFail: func(err error) {
		d.log.Error("storage not closed", "path", g.Path(), "error", err)
	}})
}

// share returns another handle of the same state.
func (v *View) share() *View {
	v.holders.Add(1)
	return &View{shared: v.shared}
}

// Close gives the view back. Closing it again does nothing.
func (v *View) Close() {
	if v.closed.Swap(true) {
		return
	}
	if v.holders.Add(-1) == 0 {
		if err := v.gen.releaseStart(v.state.Start); err != nil {
			v.onFail(err)
		}
	}
}

// Codec is the family and encoding of the operations.
func (v *View) Codec() operation.Codec { return v.codec }

// Root is the root at Size.
func (v *View) Root() mmr.Digest { return v.state.Root }

// Size is the number of operations in the log, retained or not.
func (v *View) Size() uint64 { return v.state.Size }

// Start is the first retained location.
func (v *View) Start() uint64 { return v.state.Start }

// Floor is the inactivity floor.
func (v *View) Floor() uint64 { return v.state.Floor }

// Generation is the number of the generation the state lies in.
func (v *View) Generation() uint64 { return v.gen.Number() }

// Usage estimates the disk space of the generation, in bytes.
func (v *View) Usage() (store.Usage, error) { return v.gen.Usage() }

// Metadata is what the last commit carries; nil: nothing.
func (v *View) Metadata() ([]byte, error) {
	op, err := v.commitAt(v.state.Size)
	return op.Value, err
}

// Entry is the value of a key and the location of the operation that wrote it.
type Entry struct {
	Value    []byte
	Location uint64
}

// Get returns the value of key, which the caller owns. ErrKeyNotFound if it has none.
func (v *View) Get(key []byte) (Entry, error) {
	r := v.gen.Reader()
	defer r.Release()
	x, err := r.Index()
	if err != nil {
		return Entry{}, err
	}
	loc, kind, ok, err := x.LatestFar(key, v.state.Size)
	if err != nil {
		return Entry{}, err
	}
	if !ok || !v.live(loc, kind) {
		return Entry{}, ErrKeyNotFound
	}
	return v.entry(r, key, loc)
}

// live says whether a key whose newest index entry is this one has a value. An
// entry below the start is one that pruning has not come to yet; a family that
// moves live keys up to its floor has at most deletes there.
func (v *View) live(loc uint64, kind byte) bool {
	return loc >= v.state.Start && operation.Kind(kind) != operation.Delete
}

// entry reads the operation the index says wrote key.
func (v *View) entry(r *store.Reader, key []byte, loc uint64) (Entry, error) {
	op, err := v.operationBy(r, loc)
	if err != nil {
		return Entry{}, err
	}
	return entryOf(v.gen, op, key, loc)
}

// entryOf checks that the operation at loc wrote key, as the index of the
// generation says. The entry aliases it.
func entryOf(g *generation, op operation.Operation, key []byte, loc uint64) (Entry, error) {
	if op.Kind != operation.Update && op.Kind != operation.Set || string(op.Key) != string(key) {
		return Entry{}, &store.CorruptError{
			Where: g.Path(),
			Err:   fmt.Errorf("the index entry of key %x names location %d, which is a %s of another key", key, loc, op.Kind),
		}
	}
	return Entry{Value: op.Value, Location: loc}, nil
}

// operationAt decodes one operation; its slices are the caller's.
func (v *View) operationAt(loc uint64) (operation.Operation, error) {
	r := v.gen.Reader()
	defer r.Release()
	return v.operationBy(r, loc)
}

func (v *View) operationBy(r *store.Reader, loc uint64) (operation.Operation, error) {
	b, err := r.Operation(nil, loc)
	if err != nil {
		return operation.Operation{}, err
	}
	return v.decode(b, loc)
}

// decode decodes the operation at loc; its slices alias b.
func (v *View) decode(b []byte, loc uint64) (operation.Operation, error) {
	op, err := v.codec.Decode(b)
	if err != nil {
		return op, &store.CorruptError{Where: fmt.Sprintf("%s, operation at location %d", v.gen.Path(), loc), Err: err}
	}
	return op, nil
}

// checkRange says whether [start, end) can be read.
func (v *View) checkRange(start, end uint64) error {
	switch {
	case end > v.state.Size:
		return fmt.Errorf("%w: range ends at %d, size is %d", ErrBeyond, end, v.state.Size)
	case start < v.state.Start:
		return fmt.Errorf("%w: location %d, retained from %d", ErrPruned, start, v.state.Start)
	}
	return nil
}

// bundles is store.Reader.Bundles.
func (v *View) bundles(start, end uint64, fn func(b *store.Bundle, i, j int) error) error {
	r := v.gen.Reader()
	defer r.Release()
	return r.Bundles(start, end, fn)
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// AppendOperations appends the encoded operations [start, start+n) to dst,
// one after the other: as many of [start, end) as fit in maxBytes, at least one.
func (v *View) AppendOperations(dst []byte, start, end uint64, maxBytes int) (out []byte, n int, err error) {
	r := v.Ranges()
	defer r.Close()
	return r.AppendOperations(dst, start, end, maxBytes)
}

// Operations calls fn with each encoded operation of [start, end), in order,
// until fn returns false. op is valid during the call only.
func (v *View) Operations(start, end uint64, fn func(loc uint64, op []byte) bool) error {
	if err := v.checkRange(start, end); err != nil {
		return err
	}
	err := v.bundles(start, end, func(b *store.Bundle, i, j int) error {
		for k := i; k < j; k++ {
			if !fn(b.First+uint64(k), b.At(k)) {
				return errStop
			}
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// commitAt returns the commit that ends the log at size.
func (v *View) commitAt(size uint64) (operation.Operation, error) {
	r := v.gen.Reader()
	defer r.Release()
	return v.commitBy(r, size)
}

func (v *View) commitBy(r *store.Reader, size uint64) (operation.Operation, error) {
	switch {
	case size > v.state.Size:
		return operation.Operation{}, fmt.Errorf("%w: %d, size is %d", ErrBeyond, size, v.state.Size)
	case size <= v.state.Start:
		return operation.Operation{}, fmt.Errorf("%w: size %d, retained from %d", ErrPruned, size, v.state.Start)
	}
	op, err := v.operationBy(r, size-1)
	if err == nil && op.Kind != operation.Commit {
		err = fmt.Errorf("%w: %d", ErrNotBoundary, size)
	}
	return op, err
}

// InactivePeaks is the number of inactive peaks at a retained commit
// boundary. Errors: ErrNotBoundary, ErrPruned, ErrBeyond.
func (v *View) InactivePeaks(size uint64) (uint64, error) {
	r := v.Ranges()
	defer r.Close()
	return r.inactivePeaks(size)
}

// Prove proves the operations [start, end) against the log of size
// operations, which must be a retained commit boundary.
func (v *View) Prove(size, start, end uint64) (mmr.Proof, error) {
	r := v.Ranges()
	defer r.Close()
	return r.Prove(size, start, end)
}

// newestProver proves against Size, where most proofs are about. It is nil if the
// peaks of that size are not at hand, as in a view of an earlier state.
func (sh *shared) newestProver() *mmr.Prover {
	sh.proving.Do(func() {
		if s := sh.state; sh.frontier.Leaves() == s.Size {
			// Without one, proofs are made all the same.
			sh.prover, _ = mmr.NewProver(s.Size, mmr.InactivePeaks(s.Size, s.Floor), sh.frontier.Peaks())
		}
	})
	return sh.prover
}

// Pins are the pinned nodes of a retained location: the peaks of the tree
// with loc leaves, oldest first.
func (v *View) Pins(loc uint64) ([]mmr.Digest, error) {
	r := v.Ranges()
	defer r.Close()
	return r.Pins(loc)
}

// RootAt is the root at a retained commit boundary. Errors as of InactivePeaks.
func (v *View) RootAt(size uint64) (mmr.Digest, error) {
	if size == v.state.Size {
		return v.state.Root, nil
	}
	inactive, err := v.InactivePeaks(size)
	if err != nil {
		return mmr.Digest{}, err
	}
	peaks, err := v.Pins(size)
	if err != nil {
		return mmr.Digest{}, err
	}
	return mmr.Root(size, inactive, peaks)
}
