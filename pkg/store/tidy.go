package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A bulk commit leaves its tables on top of those of the one before, and a
// read has to look into each. The storage engine merges them when they become
// many; merging all of them once the loading is over makes reads by key about
// twice as fast for good, for about a second of one processor a million
// operations.
const (
	// tidyAfter is how many ticks after the last bulk commit.
	tidyAfter = 2
	// tidyPiece is about how many bytes are merged at a time: closing waits for
	// a piece, and space for a second copy of it is needed.
	tidyPiece = 64 << 20
)

// tidier merges the tables of a generation when its bulk commits are over.
type tidier struct {
	mu      sync.Mutex
	waiting int // ticks until it begins; 0: there is nothing to do
	closed  bool
	cancel  context.CancelFunc // of the run under way; nil: none
	done    sync.WaitGroup
}

// untidy says that there was a bulk commit. A run under way ends: it would
// merge what is about to be covered again.
func (t *tidier) untidy() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = tidyAfter
	if t.cancel != nil {
		t.cancel()
	}
}

// tick counts down, and runs in the background when the time has come.
func (t *tidier) tick(run func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == 0 || t.closed || t.cancel != nil {
		return
	}
	if t.waiting--; t.waiting > 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	t.done.Go(func() {
		err := run(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cancel = nil
		if cancel(); err != nil && t.waiting == 0 {
			t.waiting = tidyAfter // once more, later
		}
	})
}

func (t *tidier) close() {
	t.mu.Lock()
	t.closed = true
	if t.cancel != nil {
		t.cancel()
	}
	t.mu.Unlock()
	t.done.Wait()
}

// tidy merges everything below the memtables into one run of tables, piece by piece.
func (g *Generation) tidy(ctx context.Context) error {
	begun := time.Now()
	pieces, err := g.pieces()
	if err != nil {
		return err
	}
	for i := range len(pieces) - 1 {
		if err := g.db.Compact(ctx, pieces[i], pieces[i+1], false); err != nil {
			if !errors.Is(err, context.Canceled) {
				g.dir.opts.Logger.Warn("tables not merged after bulk commits; reads stay slower", "path", g.path, "error", err)
			}
			return err
		}
	}
	g.dir.opts.Logger.Debug("merged tables after bulk commits", "path", g.path, "duration", time.Since(begun))
	return nil
}

// pieces are keys that cut what is to be merged into parts of about tidyPiece
// bytes, as they lie in the lowest level.
func (g *Generation) pieces() ([][]byte, error) {
	levels, err := g.db.SSTables()
	if err != nil {
		return nil, classify("list tables", err)
	}
	cuts := [][]byte{{spaceState}}
	var size uint64
	for _, t := range levels[len(levels)-1] {
		if size += t.Size; size >= tidyPiece {
			cuts, size = append(cuts, t.Largest.UserKey), 0
		}
	}
	return append(cuts, []byte{spaceNote + 1}), nil
}
