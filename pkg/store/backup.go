package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/internal/durable"
)

// Backup makes a storage directory at out that holds generation g and everything
// committed in it so far, whatever is being written meanwhile. It is complete and
// opens by itself. Tables are shared with g by hard links where out lies on the
// same file system, and copied otherwise: then it can take long, is reported to
// progress (bytes), and ends with ctx. Until it is complete it has another name.
//
// g must stay open, and there must be one Backup of it at a time. It returns the
// state that the backup holds. Errors: *TargetError, *LockedError, ErrCorrupt,
// or one of the file system; out is as it was then.
func (d *Dir) Backup(ctx context.Context, g *Generation, out string, progress func(done, total int64)) (s State, done Transfer, err error) {
	if !outside(d.opts.FS, d.path, out) {
		return s, done, &TargetError{out, "lies in the storage directory itself; choose a place outside of it"}
	}
	fs := d.opts.FS // not d.fs: that the backup's volume is full is no reason to end the process
	t, err := newTarget(fs, out)
	if err != nil {
		return s, done, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.discard())
		}
	}()
	from, release, err := g.frozen()
	if err != nil {
		return s, done, err
	}
	copying := transfer{fs: fs, link: true, progress: progress}
	path := t.join(generationName(g.number))
	if err := errors.Join(copying.folder(ctx, from, path), release()); err != nil {
		return s, done, err
	}
	if s, err = d.stateAt(path); err != nil {
		return s, done, err
	}
	if !s.Published() {
		return s, done, corrupt(g.path, "nothing is published in it")
	}
	c := current{database: d.opts.Identity.Database, generation: g.number, epoch: d.Epoch()}
	if err := c.write(fs, t.temp); err != nil {
		return s, done, err
	}
	// From now on whoever opens it knows how much has to be there.
	h, err := openHead(fs, t.join("HEAD"), 0)
	if err != nil {
		return s, done, err
	}
	err = errors.Join(h.write(Head{Generation: g.number, Size: s.Size, Root: s.Root}), h.f.Close())
	if err == nil {
		err = copying.checkpoint(ctx, d.path, t.temp)
	}
	if err == nil {
		err = t.publish()
	}
	return s, copying.Transfer, err
}

// frozen is a folder with the generation's files as they were at one moment.
func (g *Generation) frozen() (path string, release func() error, err error) {
	if g.dir.opts.ReadOnly {
		return g.path, func() error { return nil }, nil // nobody writes: the directory is ours
	}
	// Within the directory, where links are possible if they are anywhere, and
	// under a name that the next open removes if we cannot.
	path = g.path + ".backup" + dropSuffix
	remove := func() error { return g.dir.fs.RemoveAll(path) }
	if err := remove(); err != nil {
		return "", nil, err
	}
	if err := g.touch(); err != nil {
		return "", nil, err
	}
	if err := g.db.Checkpoint(path, pebble.WithFlushedWAL()); err != nil {
		return "", nil, errors.Join(classify("checkpoint "+path, err), remove())
	}
	return path, remove, nil
}

// touch makes pebble write its manifest: the state record is set to what it is,
// and written out. Where nothing was written out since pebble was opened, as
// after a crash that left no log to replay, it has no manifest of its own yet, and a
// checkpoint would hold an empty one.
func (g *Generation) touch() error {
	g.commit.Lock()
	err := g.broken
	if err == nil {
		err = g.db.Set(stateKey, g.State().encode(), pebble.NoSync)
	}
	g.commit.Unlock()
	if err == nil {
		err = g.db.Flush()
	}
	return classify("write out "+g.path, err)
}

// stateAt reads the state of a generation that nobody has open.
func (d *Dir) stateAt(path string) (s State, err error) {
	o := d.pebbleOptions(path, d.opts.FS)
	o.ReadOnly, o.ErrorIfNotExists = true, true
	db, err := pebble.Open(path, o)
	if err != nil {
		return s, classify("open "+path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	b, closer, err := db.Get(stateKey)
	if err != nil {
		return s, corrupt(path, "read state: %w", err)
	}
	defer closer.Close()
	if s, err = decodeState(b); err != nil {
		return s, corrupt(path, "%w", err)
	}
	return s, nil
}

// RestoreOptions say what Restore makes of what.
type RestoreOptions struct {
	From, To string
	FS       FS // nil: the operating system's
	// Epoch is the epoch of the new directory, given that of the old one. One
	// that is smaller is an *EpochError. nil: the same.
	Epoch func(held uint64) uint64
	// Check looks at the new directory before it gets its name. An error of it
	// ends the restore. nil: nobody does.
	Check func(ctx context.Context, dir string) error
	// Progress hears how many bytes of how many have been copied; nil: nobody.
	Progress func(done, total int64)
}

// Restore copies a storage directory that no process uses, as Backup leaves it,
// to another place, which must be missing or empty. It shares nothing with it.
// The copy has another name until it is complete, durable and checked.
//
// Errors: ErrNotFound, ErrForeign, ErrCorrupt, *VersionError of what is to be
// copied; *TargetError, *LockedError, *EpochError, that of Check, of ctx or of the
// file system; nothing is at To then.
func Restore(ctx context.Context, o RestoreOptions) (done Transfer, err error) {
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
	}
	c, err := readCurrent(fs, o.From)
	if err != nil {
		return done, err
	}
	if c.generation == 0 {
		return done, fmt.Errorf("%w: %s is a replica before its first sync", ErrNotFound, o.From)
	}
	if o.Epoch != nil {
		held := c.epoch
		if c.epoch = o.Epoch(held); c.epoch < held {
			return done, &EpochError{Dir: o.From, Held: held, Want: c.epoch}
		}
	}
	if !outside(fs, o.From, o.To) {
		return done, &TargetError{o.To, "lies in what is to be restored; choose a place outside of it"}
	}
	unlock, err := lockIdle(fs, o.From)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	t, err := newTarget(fs, o.To)
	if err != nil {
		return done, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.discard())
		}
	}()
	copying := transfer{fs: fs, progress: o.Progress}
	if err := copying.directory(ctx, o.From, t.temp, c); err != nil {
		return done, err
	}
	if o.Check != nil {
		if err := o.Check(ctx, t.temp); err != nil {
			return done, err
		}
	}
	return copying.Transfer, t.publish()
}

// directory copies the generation in use, and what says what is in it.
func (t *transfer) directory(ctx context.Context, from, to string, c current) error {
	name := generationName(c.generation)
	if _, err := t.fs.Stat(t.fs.PathJoin(from, name)); isNotExist(err) {
		return corrupt(from, "%s names the generation %s, which is missing", currentName, name)
	}
	head := t.fs.PathJoin(from, "HEAD")
	info, err := t.fs.Stat(head)
	if err == nil {
		t.total = info.Size()
		err = t.file(ctx, head, t.fs.PathJoin(to, "HEAD"))
	}
	if err != nil && !isNotExist(err) {
		return err
	}
	if err := t.folder(ctx, t.fs.PathJoin(from, name), t.fs.PathJoin(to, name)); err != nil {
		return err
	}
	if err := t.checkpoint(ctx, from, to); err != nil {
		return err
	}
	return c.write(t.fs, to)
}

// lockIdle makes sure that no process has a directory open, for as long as it is
// read. A backup may lie where nothing can be locked: then nobody writes there.
func lockIdle(fs FS, dir string) (unlock func() error, err error) {
	name := fs.PathJoin(dir, "LOCK")
	if _, err := fs.Stat(name); isNotExist(err) {
		return func() error { return nil }, nil
	}
	lock, err := fs.Lock(name)
	if err != nil && durable.IsLocked(err) {
		return nil, &LockedError{Dir: dir, Holder: holder(fs, name)}
	}
	if err != nil {
		return func() error { return nil }, nil //nolint:nilerr // whoever may not lock it here may still read it
	}
	return lock.Close, nil
}
