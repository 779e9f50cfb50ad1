package database

import (
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// writerState is a writer's end of the log: ahead of the published state by
// what was appended but not published.
type writerState struct {
	g        *generation
	codec    operation.Codec
	w        *store.Writer
	frontier *mmr.Frontier
	state    store.State // as last committed to the store
	tip      tip         // of the last operation, once one was appended
	spans    []*mmr.Span // reused while hashing
	dirty    bool        // commits that are not known to be durable
}

// tip is what publishing needs to know of the last operation.
type tip struct {
	known  bool
	commit bool
	floor  uint64
}

func (d *DB) newWriter(g *generation, s store.State) (*writerState, error) {
	f, err := restore(g, s.Stored)
	if err != nil {
		return nil, err
	}
	w, err := g.NewWriter(s)
	if err != nil {
		return nil, err
	}
	return &writerState{g: g, codec: d.codec, w: w, frontier: f, state: s}, nil
}

// parallelRun is how many operations make hashing on several cores worth it.
const parallelRun = 2048

// append hashes operations and adds them to the log and its index.
func (w *writerState) append(run operation.Run) error {
	const chunk = 1024
	if run.Len() < parallelRun {
		if len(w.spans) == 0 {
			w.spans = []*mmr.Span{new(mmr.Span)}
		}
		w.spans[0].Reset(w.frontier.Leaves(), run)
		return w.appendSpan(w.spans[0], run, run.Len())
	}
	// Chunks end at slot boundaries, so that every digest a tile needs is in a span.
	workers := runtime.GOMAXPROCS(0)
	for len(w.spans) < 2*workers {
		w.spans = append(w.spans, new(mmr.Span))
	}
	expect := run.Len()
	for at := 0; at < run.Len(); {
		type part struct{ from, to int }
		var parts []part
		var group errgroup.Group
		group.SetLimit(workers)
		first := w.frontier.Leaves() - uint64(at) // location of the run's first operation
		for len(parts) < len(w.spans) && at < run.Len() {
			to := min(run.Len(), at+chunk-int((first+uint64(at))%chunk))
			span, from := w.spans[len(parts)], at
			group.Go(func() error {
				span.Reset(first+uint64(from), run.Slice(from, to))
				return nil
			})
			parts, at = append(parts, part{at, to}), to
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i, p := range parts {
			if err := w.appendSpan(w.spans[i], run.Slice(p.from, p.to), expect); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendSpan adds operations that are hashed already. expect hints at how
// many operations the commit will have.
func (w *writerState) appendSpan(span *mmr.Span, run operation.Run, expect int) error {
	if int(span.End()-span.Start()) != run.Len() {
		return fmt.Errorf("span of %d operations for a run of %d", span.End()-span.Start(), run.Len())
	}
	if run.Len() == 0 {
		return nil
	}
	first := w.frontier.Leaves()
	if span.Start() != first {
		return fmt.Errorf("operations start at %d, the log ends at %d", span.Start(), first)
	}
	if err := w.w.Append(run, expect); err != nil {
		return err
	}
	if err := w.frontier.Append(span, w.w.Tile); err != nil {
		return err
	}
	for i := range run.Len() {
		op, err := w.codec.Decode(run.At(i))
		if err != nil {
			return fmt.Errorf("operation at location %d: %w", first+uint64(i), err)
		}
		w.tip = tip{known: true, commit: op.Kind == operation.Commit, floor: op.Floor}
		if op.Kind == operation.Commit {
			continue
		}
		if err := w.w.Index(op.Key, first+uint64(i), byte(op.Kind)); err != nil {
			return err
		}
	}
	return nil
}

// indexKey names the key an operation has an index entry of.
func indexKey(c operation.Codec) func([]byte) ([]byte, bool, error) {
	return func(b []byte) ([]byte, bool, error) {
		op, err := c.Decode(b)
		return op.Key, op.Kind != operation.Commit, err
	}
}

// flush makes what was appended durable without publishing it.
func (w *writerState) flush() error {
	s := w.state
	s.Stored = w.w.Next()
	if err := w.w.Commit(s, true); err != nil {
		return err
	}
	w.state, w.dirty = w.g.State(), false
	return nil
}

// publish makes the log up to here the readable state. The last operation is
// a commit with this floor.
func (w *writerState) publish(floor uint64, sync bool) error {
	size := w.w.Next()
	s := store.State{Start: w.state.Start, Size: size, Floor: floor, Stored: size, Root: w.frontier.Root(floor)}
	if err := w.w.Commit(s, sync); err != nil {
		return err
	}
	w.state, w.dirty = w.g.State(), !sync
	return nil
}

func (w *writerState) sync() error {
	if !w.dirty {
		return nil
	}
	if err := w.w.Sync(); err != nil {
		return err
	}
	w.dirty = false
	return nil
}
