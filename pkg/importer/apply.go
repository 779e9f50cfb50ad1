package importer

import (
	"bytes"
	"context"
	"errors"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
)

// applier is the second pass: it commits the records that change something.
type applier struct {
	db       *database.DB
	options  Options
	result   *Result
	progress *progress

	view   *database.View // what the batch at hand is compared with
	writes []database.Write
	bytes  int
}

func (a *applier) run(ctx context.Context, inputs []input, conv *converter, superseded *bitmap) (err error) {
	if a.view, err = a.db.View(); err != nil {
		return err
	}
	defer func() {
		if a.view != nil {
			a.view.Close()
		}
	}()
	ordinal := int64(-1)
	for _, in := range inputs {
		err := in.records(ctx, func(r *record) error {
			ordinal++
			a.progress.add(1)
			if superseded.has(ordinal) {
				return nil
			}
			w, err := conv.write(r)
			if err == nil && ordinal >= a.result.Records {
				err = errors.New("changed while it was read")
			}
			if err != nil {
				return &InputError{File: r.file, Line: r.line, Reason: err.Error()}
			}
			return a.add(ctx, w)
		})
		if err != nil {
			return err
		}
	}
	return a.flush(ctx)
}

// add puts a write into the batch if it changes anything.
func (a *applier) add(ctx context.Context, w database.Write) error {
	current, err := a.view.Get(w.Key)
	switch {
	case errors.Is(err, database.ErrKeyNotFound):
		if w.Delete {
			a.result.Absent++
			return nil
		}
	case err != nil:
		return err
	case !w.Delete && bytes.Equal(current.Value, w.Value):
		a.result.Unchanged++
		return nil
	case a.db.Codec().Family() == operation.Immutable:
		a.result.Conflicts++
		return nil
	}
	w.Key, w.Value = bytes.Clone(w.Key), bytes.Clone(w.Value)
	a.writes = append(a.writes, w)
	a.bytes += len(w.Key) + len(w.Value)
	if len(a.writes) < a.options.BatchSize && a.bytes < maxBatchBytes {
		return nil
	}
	return a.flush(ctx)
}

// flush commits the batch. Keys are unique within an import, so nothing later
// in it depends on what is committed here but the floor.
func (a *applier) flush(ctx context.Context) error {
	if len(a.writes) == 0 {
		return nil
	}
	batch := database.Batch{Writes: a.writes}
	if a.db.Codec().Family() == operation.Immutable {
		location := a.view.Size() + uint64(len(a.writes)) // of the commit
		floor := a.options.FloorPolicy.Next(a.view.Floor(), location)
		batch.Floor = &floor
	}
	var commit database.Commit
	err := space.Retry(ctx, func() (err error) {
		commit, err = a.db.Apply(ctx, batch)
		return err
	})
	if err != nil {
		return err
	}
	a.result.Commit = commit
	a.result.Batches++
	a.result.Bytes += int64(a.bytes)
	for _, w := range a.writes {
		if w.Delete {
			a.result.Deleted++
		} else {
			a.result.Written++
		}
	}
	clear(a.writes)
	a.writes, a.bytes = a.writes[:0], 0
	a.view.Close()
	a.view = nil // View may fail, and then there is nothing to close
	view, err := a.db.View()
	if err == nil {
		a.view = view
	}
	return err
}
