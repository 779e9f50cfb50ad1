package fsck

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// ErrUnrepairable: the operations or the state are damaged, so that nothing
// can be derived from them. Restore a backup, or let a replica sync anew.
var ErrUnrepairable = errors.New("operations or state are damaged, which cannot be rebuilt: restore a backup, or remove the directory of a replica and let it sync anew")

// Repair checks a directory, rebuilds what is derived where it is wrong, and
// checks again: the report is of the second check, and says what was done.
// Few differences are mended in place. Otherwise, and where tables cannot be
// read, the generation is built anew beside the old one, which it replaces in
// one step: that takes as much space again. Where nothing is wrong afterwards, what
// a process has remembered of damage is forgotten. With ErrUnrepairable, nothing was
// written and the report is that of the check.
func Repair(ctx context.Context, dir string, o Options) (*Report, error) {
	o = o.withDefaults()
	r, plans, err := check(ctx, dir, o)
	if err == nil && r.Clean() {
		err = store.ClearMark(o.FS, dir)
	}
	if err != nil || r.Clean() {
		return r, err
	}
	if !r.Repairable() {
		return r, ErrUnrepairable
	}
	codec, err := database.Detect(dir, o.FS)
	if err != nil {
		return r, ErrUnrepairable
	}
	d, err := store.OpenDir(dir, store.Options{Identity: identity(codec), FS: o.FS, CacheBytes: o.CacheBytes, Logger: o.Logger})
	if err != nil {
		return r, err
	}
	done, err := repairDir(ctx, d, codec, plans, o)
	if err = errors.Join(err, d.Close()); err != nil {
		return r, err
	}
	again, err := Check(ctx, dir, o)
	if err != nil {
		return r, err
	}
	again.Repaired = done
	if again.Clean() {
		err = store.ClearMark(o.FS, dir)
	}
	return again, err
}

// errChanged: somebody else had the directory between check and repair.
var errChanged = errors.New("the directory was changed since it was checked: run it again")

func repairDir(ctx context.Context, d *store.Dir, codec operation.Codec, plans map[uint64]*plan, o Options) (done []string, err error) {
	current := d.Current()
	p := plans[current]
	anew := p != nil && p.rebuild
	for n, staged := range plans {
		if n == current || !staged.damaged && !anew {
			continue
		}
		// Nothing in it was ever readable, and what a sync fetches again is right.
		if err := d.Remove(n); err != nil {
			return done, err
		}
		done = append(done, fmt.Sprintf("removed generation %d, which was in the making: the next sync starts it anew", n))
	}
	switch {
	case p == nil:
		return done, nil
	case p.impossible:
		return done, ErrUnrepairable
	case anew:
		what, err := rebuild(ctx, d, codec, current, p.state, o)
		return append(done, what...), err
	case len(p.fixes) > 0:
		what, err := mend(d, current, p)
		return append(done, what...), err
	}
	return done, nil
}

// mend corrects single records of a generation.
func mend(d *store.Dir, n uint64, p *plan) (done []string, err error) {
	g, err := d.OpenGeneration(n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if g.State() != p.state {
		return nil, errChanged
	}
	if err := g.Mend(p.fixes); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("mended %d records of generation %d", len(p.fixes), n)}, nil
}

// rebuild writes a generation anew from the operations of another one, and
// puts it in its place.
func rebuild(ctx context.Context, d *store.Dir, codec operation.Codec, n uint64, want store.State, o Options) (done []string, err error) {
	old, err := d.OpenGenerationForReading(n)
	if err != nil {
		return nil, err
	}
	open := []*store.Generation{old}
	defer func() {
		for _, g := range open {
			err = errors.Join(err, g.Close())
		}
	}()
	if old.State() != want {
		return nil, errChanged
	}
	start, pins := old.Retained()
	g, err := d.CreateGeneration(start, pins)
	if err != nil {
		return nil, err
	}
	notes, err := copyLog(ctx, codec, old, g, o)
	if err = errors.Join(err, g.Close()); err != nil {
		return nil, errors.Join(err, d.Remove(g.Number()))
	}
	if err := d.SetCurrent(g.Number()); err != nil {
		return nil, err
	}
	if want.Published() {
		d.Acknowledge(store.Head{Generation: g.Number(), Size: want.Size, Root: want.Root})
	}
	open = nil
	if err := errors.Join(old.Close(), d.Remove(n)); err != nil {
		return nil, err
	}
	done = append(done, fmt.Sprintf("built generation %d from the %d operations of generation %d, which it replaces", g.Number(), want.Stored-want.Start, n))
	if notes != nil {
		done = append(done, fmt.Sprintf("notes that could not be read are lost, with them idempotency keys: a batch that is sent again under one of them is applied again (%v)", notes))
	}
	return done, nil
}

// copying is a log on its way from one generation to another, which derives
// everything else anew.
type copying struct {
	codec    operation.Codec
	from     *store.Generation
	w        *store.Writer
	frontier *mmr.Frontier
	span     mmr.Span
	done     atomic.Uint64
}

// Limits of what is held in memory before it is written.
const (
	copyBytes      = 24 << 20
	copyOperations = 256 << 10
)

// copyLog fills an empty generation. notes is why notes are missing there.
func copyLog(ctx context.Context, codec operation.Codec, from, to *store.Generation, o Options) (notes, err error) {
	s := from.State()
	f, err := mmr.NewFrontier(from.Retained())
	if err != nil {
		return nil, err
	}
	w, err := to.NewWriter(to.State())
	if err != nil {
		return nil, err
	}
	c := &copying{codec: codec, from: from, w: w, frontier: f}
	end := o.watch(Progress{Generation: from.Number(), Task: Building, Total: s.Stored - s.Start}, c.done.Load)
	defer end()
	err = from.CheckBundles(s.Start, s.Stored, func(b *store.Bundle, i, j int) error {
		for i < j {
			cut := j
			if at := b.First + uint64(i); at < s.Size && s.Size < b.First+uint64(j) {
				cut = int(s.Size - b.First)
			}
			if err := c.add(b, i, cut); err != nil {
				return err
			}
			i = cut
		}
		if w.PendingBytes() >= copyBytes || w.Pending() >= copyOperations {
			// Nothing of it is readable before the last commit says so.
			partial := store.State{Start: s.Start, Size: s.Start, Stored: w.Next()}
			if err := w.Commit(partial); err != nil {
				return err
			}
		}
		return ctx.Err()
	}, func(f store.RangeFault) error {
		if f.Lost {
			return fmt.Errorf("%w: operations at location %d: %w", ErrUnrepairable, f.From, f.Err)
		}
		return nil
	})
	if err == nil {
		notes = from.Notes(func(key, value []byte) bool {
			err = w.Note(key, value)
			return err == nil
		})
	}
	if err == nil {
		err = w.Commit(s)
	}
	return notes, errors.Join(err, w.Close())
}

// add copies the operations [i, j) of a bundle.
func (c *copying) add(b *store.Bundle, i, j int) error {
	run, err := c.codec.NewRun(b.Bytes(i, j))
	if err != nil {
		return fmt.Errorf("%w: operations from location %d on: %w", ErrUnrepairable, b.First+uint64(i), err)
	}
	s, first := c.from.State(), b.First+uint64(i)
	c.span.Reset(first, run)
	if err := c.w.Append(run, int(min(s.Stored-s.Start, copyOperations))); err != nil {
		return err
	}
	if err := c.frontier.Append(&c.span, c.w.Tile); err != nil {
		return err
	}
	for k := range run.Len() {
		op, err := c.codec.Decode(run.At(k))
		if err != nil {
			return err
		}
		if op.Kind == operation.Commit {
			continue
		}
		if err := c.w.Index(op.Key, first+uint64(k), byte(op.Kind)); err != nil {
			return err
		}
	}
	c.done.Add(uint64(j - i))
	if c.frontier.Leaves() == s.Size && s.Published() {
		if root := c.frontier.Root(s.Floor); root != s.Root {
			return fmt.Errorf("%w: operations lead to root %s, the state says %s", ErrUnrepairable, root, s.Root)
		}
	}
	return nil
}
