package importer

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/space"
)

// applier is the second pass: it commits the records that change something.
// One goroutine reads the inputs once more, one sorts what was read, another commits.
type applier struct {
	db       *database.DB
	options  Options
	result   *Result
	progress *progress
}

// Together is how many batches are applied, and wait for the disk, together, if
// they hold no more than MaxBytes.
const Together = 16

// batch becomes a commit. Its writes lie in data.
type batch struct {
	writes []database.Write
	data   []byte
}

func (b *batch) add(w database.Write) {
	w.Key, w.Value = b.keep(w.Key), b.keep(w.Value)
	b.writes = append(b.writes, w)
}

func (b *batch) keep(s []byte) []byte {
	n := len(b.data)
	b.data = append(b.data, s...) // what was kept before stays in the old array
	return b.data[n:len(b.data):len(b.data)]
}

func (a *applier) run(ctx context.Context, inputs []input, conv *converter, superseded *bitmap) error {
	group, ctx := errgroup.WithContext(ctx)
	groups, ready := make(chan []*batch), make(chan *database.Prepared)
	records := a.result.Records
	group.Go(func() error {
		defer close(groups)
		return a.read(ctx, inputs, conv, superseded, records, groups)
	})
	group.Go(func() error {
		defer close(ready)
		return a.prepare(ctx, groups, ready)
	})
	group.Go(func() error {
		for p := range ready {
			if err := a.commit(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// prepare sorts what is read next while something is committed.
func (a *applier) prepare(ctx context.Context, groups <-chan []*batch, ready chan<- *database.Prepared) error {
	for group := range groups {
		batches := make([]database.Batch, len(group))
		for i, b := range group {
			batches[i] = database.Batch{Writes: b.writes, Policy: a.options.FloorPolicy, OnlyChanges: true}
		}
		p, err := a.db.Prepare(batches)
		if err != nil {
			return err
		}
		select {
		case ready <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// read passes the records that count on, in batches, and those in groups.
func (a *applier) read(ctx context.Context, inputs []input, conv *converter, superseded *bitmap, records int64, groups chan<- []*batch) error {
	var group []*batch
	held := 0 // bytes of the group
	b := &batch{}
	pass := func(all bool) error {
		if len(b.writes) > 0 {
			group, held = append(group, b), held+len(b.data)
			b = &batch{writes: make([]database.Write, 0, len(b.writes)), data: make([]byte, 0, len(b.data))}
		}
		if len(group) == 0 || !all && len(group) < Together && held < MaxBytes {
			return nil
		}
		select {
		case groups <- group:
			group, held = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ordinal := int64(-1)
	for _, in := range inputs {
		err := in.records(ctx, func(r *record) error {
			ordinal++
			a.progress.add(1)
			if superseded.has(ordinal) {
				return nil
			}
			w, err := conv.write(r)
			if err == nil && ordinal >= records {
				err = errors.New("changed while it was read")
			}
			if err != nil {
				return &InputError{File: r.file, Line: r.line, Reason: err.Error()}
			}
			if b.add(w); len(b.writes) < a.options.BatchSize && len(b.data) < MaxBytes {
				return nil
			}
			return pass(false)
		})
		if err != nil {
			return err
		}
	}
	return pass(true)
}

// commit commits what the batches change, each for itself.
func (a *applier) commit(ctx context.Context, p *database.Prepared) error {
	var commit database.Commit
	err := space.Retry(ctx, func() (err error) {
		commit, err = a.db.ApplyPrepared(ctx, p)
		return err
	})
	if err != nil {
		return err
	}
	r := a.result
	r.Unchanged += int64(commit.Unchanged)
	r.Absent += int64(commit.Absent)
	r.Conflicts += int64(commit.Conflicts)
	if commit.Commits == 0 {
		return nil
	}
	r.Commit = commit
	r.Batches += int64(commit.Commits)
	r.Written += int64(commit.Written)
	r.Deleted += int64(commit.Deleted)
	r.Bytes += int64(commit.Bytes)
	return nil
}
