package database

import (
	"fmt"
	"runtime"

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
	ahead    int         // so many keys are looked up together with what a raise of the floor will want
	passing  passing     // of the last large raise
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
	return &writerState{g: g, codec: d.codec, w: w, frontier: f, state: s, ahead: aheadKeys, passing: firstPassing}, nil
}

const (
	// parallelRun is how many operations make hashing on several cores worth it.
	parallelRun = 2048
	// hashChunk operations are hashed at a time. Chunks end where slots do, so
	// that every digest a tile needs is in a span.
	hashChunk = 1024
)

// append hashes operations and adds them to the log and its index. The next
// chunks are hashed while one is added.
func (w *writerState) append(run operation.Run) error {
	first := w.frontier.Leaves()
	if run.Len() < parallelRun {
		if len(w.spans) == 0 {
			w.spans = []*mmr.Span{new(mmr.Span)}
		}
		w.spans[0].Reset(first, run)
		return w.appendSpan(w.spans[0], run, run.Len())
	}
	ahead := 2 * runtime.GOMAXPROCS(0)
	for len(w.spans) < ahead {
		w.spans = append(w.spans, new(mmr.Span))
	}
	type chunk struct {
		run  operation.Run
		span *mmr.Span
		done chan struct{}
	}
	var chunks []*chunk // being hashed, in order
	next := 0
	for next < run.Len() || len(chunks) > 0 {
		for next < run.Len() && len(chunks) < ahead {
			from, to := next, min(run.Len(), next+hashChunk-int((first+uint64(next))%hashChunk))
			next = to
			c := &chunk{run.Slice(from, to), w.spans[0], make(chan struct{})}
			w.spans = append(w.spans[1:], w.spans[0]) // in turn: it is the one used longest ago
			chunks = append(chunks, c)
			go func() { // waited for below, whatever happens
				defer close(c.done)
				c.span.Reset(first+uint64(from), c.run)
			}()
		}
		c := chunks[0]
		chunks = chunks[1:]
		<-c.done
		if err := w.appendSpan(c.span, c.run, run.Len()); err != nil {
			for _, c := range chunks {
				<-c.done
			}
			return err
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
		kind, key := w.codec.Key(run.At(i))
		if kind == operation.Commit {
			continue
		}
		if err := w.w.Index(key, first+uint64(i), byte(kind)); err != nil {
			return err
		}
	}
	last := run.Len() - 1
	op, err := w.codec.Decode(run.At(last))
	if err != nil {
		return fmt.Errorf("operation at location %d: %w", first+uint64(last), err)
	}
	w.tip = tip{known: true, commit: op.Kind == operation.Commit, floor: op.Floor}
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
	if err := w.w.Commit(s); err != nil {
		return err
	}
	w.state = w.g.State()
	return nil
}

// flushLater begins to make durable what was appended, without publishing it;
// settle, or the next commit, waits for that.
func (w *writerState) flushLater() error {
	s := w.state
	s.Stored = w.w.Next()
	return w.w.CommitLater(s)
}

// settle waits for what flushLater began.
func (w *writerState) settle() error {
	err := w.w.Settle()
	w.state = w.g.State() // what took effect, did
	return err
}

// publish makes the log up to here the readable state. The last operation is
// a commit with this floor.
func (w *writerState) publish(floor uint64) error {
	size := w.w.Next()
	s := store.State{Start: w.state.Start, Size: size, Floor: floor, Stored: size, Root: w.frontier.Root(floor)}
	if err := w.w.Commit(s); err != nil {
		return err
	}
	w.state = w.g.State()
	return nil
}
