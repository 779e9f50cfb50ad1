package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// What is committed lies on top of what was there before, and a read has to
// look into each layer. The storage engine merges layers when they become
// many; merging all of them in quiet times makes reads by key about twice as
// fast, for about a second of one processor a million operations.
const (
	// A generation is tidied when so much was written since the last time, in
	// bytes and as a share of all of it: so that everything written is written
	// at most tidyShare times more.
	tidyBytes = 8 << 20
	tidyShare = 16
	// It is quiet when in so many ticks in a row less was written than this, in bytes.
	quietTicks = 2
	quietBytes = 1 << 20
	// tidyPiece is about how many bytes are merged at a time: closing waits for
	// a piece, and space for a second copy of it is needed.
	tidyPiece = 64 << 20
)

// tidier merges the tables of a generation in quiet times.
type tidier struct {
	least, busy int64        // tidyBytes, quietBytes
	written     atomic.Int64 // bytes since it was tidied

	mu     sync.Mutex
	before int64 // written at the tick before
	quiet  int   // ticks
	closed bool
	cancel context.CancelFunc // of the run under way; nil: none
	done   sync.WaitGroup
}

// tick runs in the background when the time has come.
func (t *tidier) tick(size func() int64, run func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	written := t.written.Load()
	if t.quiet++; written-t.before >= t.busy {
		t.quiet = 0
	}
	t.before = written
	if written < t.least || t.quiet < quietTicks || t.closed || t.cancel != nil || written < size()/tidyShare {
		return
	}
	t.written.Add(-written)
	t.before = 0
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	t.done.Go(func() {
		err := run(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cancel = nil
		if cancel(); err != nil {
			t.written.Add(written) // once more, later
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

// tidy merges everything there is into one layer, piece by piece.
func (g *Generation) tidy(ctx context.Context) error {
	begun := time.Now()
	pieces, err := g.pieces()
	if err != nil {
		return err
	}
	for i := range len(pieces) - 1 {
		if room := g.dir.opts.Room; room != nil {
			if err := room(2 * tidyPiece); err != nil {
				return err // tried again when it is quiet
			}
		}
		if err := g.db.Compact(ctx, pieces[i], pieces[i+1], false); err != nil {
			if !errors.Is(err, context.Canceled) {
				g.dir.opts.Logger.Warn("tables not merged; reads stay slower", "path", g.path, "error", err)
			}
			return err
		}
	}
	g.dir.opts.Logger.Debug("merged tables", "path", g.path, "duration", time.Since(begun))
	return nil
}

// pieces are keys that cut what is to be merged into parts of about tidyPiece
// bytes, as they lie in the lowest layer.
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

// size is what the tables take on disk, in bytes.
func (g *Generation) size() int64 { return int64(g.db.Metrics().DiskSpaceUsage()) }
