// Package database is an authenticated database: an append-only log of
// operations under a Merkle root, and the key index that the log implies.
//
// A writer hands in batches (Apply); a replica adds operations that were
// verified elsewhere (Load). Either way a new state is published in one step:
// readers hold a View, which stays as it is, and take a new one when they
// want to see more.
//
//	Batch --family--> operations --mmr--> tiles, root --store.Writer--> disk --> View
//	Load  ------------^ (already verified)
//
// Trust is decided elsewhere: a Load takes operations as verified, and Publish
// only confirms that they lead to the root the caller trusts.
package database

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
	"github.com/proofsync/proofsync/pkg/store"
)

var (
	// ErrEmpty: nothing has been published yet; a replica before its first sync.
	ErrEmpty = errors.New("database is empty")
	// ErrKeyNotFound: the key has no value at this state.
	ErrKeyNotFound = errors.New("key not found")
	// ErrPruned: the location lies before the first retained one.
	ErrPruned = errors.New("location is not retained")
	// ErrNotBoundary: the operation before this size is no commit.
	ErrNotBoundary = errors.New("size is no commit boundary")
	// ErrBeyond: the size is larger than the database.
	ErrBeyond = errors.New("size is beyond the database")
	// ErrFloor: the floor of a commit is out of range; nothing was applied.
	ErrFloor = errors.New("floor out of range")
	// ErrClosed: the database was closed.
	ErrClosed = errors.New("database is closed")
	// ErrFailed: an earlier write failed, so what is in memory may differ from
	// what is on disk; the database has to be opened again.
	ErrFailed = errors.New("database stopped after a failed write")
)

// FormatVersion is the version of the storage directory.
const FormatVersion = store.FormatVersion

// Options configure a database.
type Options struct {
	Codec operation.Codec // family and encoding
	FS    store.FS        // nil: the operating system's

	// CreateIfMissing makes a fresh database where nothing was ever
	// published: one commit at location 0, floor 0 (format.md section 3).
	// Without it the directory is made, but stays empty: a replica.
	CreateIfMissing bool
	// ReadOnly opens without writing; a missing directory is store.ErrNotFound.
	ReadOnly bool
	// Epoch is recorded in the directory: a larger one than before says that the
	// log may lack commits that were acknowledged earlier. A smaller one is a
	// *store.EpochError. 0: the recorded one.
	Epoch uint64
	// CacheBytes is the memory for the storage engine's cache; 0: store.DefaultCacheBytes.
	CacheBytes int64
	// LoadOperations is how many operations a Load holds in memory before it
	// writes them; fewer if they are large. 0: 262144.
	LoadOperations int
	// BulkOperations is from how many operations on a commit is written around the
	// storage engine's log; 0: 16384.
	BulkOperations int
	// Space is asked before every write; nil: there is room for everything. A
	// write it refuses fails with a *space.LowError and changes nothing.
	Space *space.Guard
	// Rebuild is for replicas: a directory that turns out to be damaged when it is
	// opened is set aside, and an empty one is opened in its place. Without it
	// Open fails with store.ErrCorrupt.
	Rebuild bool
	Logger  *slog.Logger // nil: discard
	// Fatal is told when the storage cannot go on; the process has to end then,
	// as store.Options say. nil: it ends with one line and exit code 1.
	Fatal func(error)
}

// DB is an open database. Its methods are safe for concurrent use; writes
// (Apply, Load) are serialised.
type DB struct {
	dir   *store.Dir
	codec operation.Codec
	space *space.Guard
	log   *slog.Logger

	loadOperations int // Options.LoadOperations

	users atomic.Int64 // open generations, and the database itself: the directory is held for them

	// write is held by whoever changes the database: Apply for one batch, a
	// Load from its creation to Close.
	write  sync.Mutex
	writer *writerState // of Apply; nil until the first one, or after a Load
	failed error        // set once: see ErrFailed

	pruning sync.Mutex // held by Retain and PruneStep
	backup  sync.Mutex // held while a backup is made

	mu          sync.Mutex
	view        *View       // newest published state; nil: none
	gen         *generation // in use; nil: none
	staged      *generation // in the making; nil: none
	stagedState store.State
	stored      store.State   // of gen: what is stored, beyond the published state too
	changed     chan struct{} // closed at the next publication
	closed      bool
	damage      *Damage       // of gen or staged; nil: none is known
	damaged     chan struct{} // gets a token when damage is set
	quarantined uint64        // times that something was set aside
}

// generation counts the holders of a store.Generation, so that one that was
// replaced is deleted when its last reader is gone.
type generation struct {
	*store.Generation
	db *DB

	mu      sync.Mutex
	holders int
	drop    bool           // delete when the last holder is gone
	starts  map[uint64]int // holders that read, by where what they see begins: nothing from the smallest on is deleted
	aside   *Damage        // set aside instead, because of this
}

func (g *generation) hold() {
	g.mu.Lock()
	g.holders++
	g.mu.Unlock()
}

func (g *generation) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.releaseLocked()
}

func (g *generation) releaseLocked() error {
	if g.holders--; g.holders > 0 {
		return nil
	}
	err := g.Close()
	if g.aside != nil {
		g.db.setAside(g, err)
		return g.db.leave()
	}
	if g.drop && err == nil {
		if err = g.db.dir.Remove(g.Number()); err == nil {
			g.db.log.Info("dropped replaced generation", "path", g.Path())
		}
	}
	return errors.Join(err, g.db.leave())
}

// leave gives the directory free when the database and the last generation
// have been closed.
func (d *DB) leave() error {
	if d.users.Add(-1) > 0 {
		return nil
	}
	return d.dir.Close()
}

// Detect returns the family and encoding of an existing directory without
// opening it. Errors as of store.ReadIdentity.
func Detect(dir string, fs store.FS) (operation.Codec, error) {
	name, err := store.ReadIdentity(fs, dir)
	if err != nil {
		return operation.Codec{}, err
	}
	for _, f := range []operation.Family{operation.Any, operation.Immutable} {
		for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
			if c := operation.NewCodec(f, e); c.String() == name {
				return c, nil
			}
		}
	}
	return operation.Codec{}, fmt.Errorf("%w: %s holds a database of %q", store.ErrForeign, dir, name)
}

// Open opens the database in dir, or makes it. The directory belongs to this
// process until Close. The cost does not depend on the number of operations.
//
// Errors: store.ErrNotFound, store.ErrForeign, store.ErrCorrupt,
// *store.LockedError, *store.MismatchError, *store.VersionError,
// *store.EpochError, or one of the file system.
func Open(dir string, o Options) (*DB, error) {
	if f := o.Codec.Family(); f != operation.Any && f != operation.Immutable {
		return nil, fmt.Errorf("no database of family %s: any or immutable expected", f)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	db, err := openDB(dir, o)
	if o.Rebuild && !o.ReadOnly && errors.Is(err, store.ErrCorrupt) {
		return reopen(dir, o, err)
	}
	return db, err
}

func openDB(dir string, o Options) (*DB, error) {
	db := &DB{codec: o.Codec, space: o.Space, log: o.Logger, loadOperations: cmp.Or(o.LoadOperations, loadOperations), changed: make(chan struct{}), damaged: make(chan struct{}, 1)}
	d, err := store.OpenDir(dir, store.Options{
		Identity:   store.Identity{Database: o.Codec.String(), OpSize: o.Codec.Size()},
		FS:         o.FS,
		Create:     !o.ReadOnly,
		ReadOnly:   o.ReadOnly,
		CacheBytes: o.CacheBytes,
		Room:       o.Space.Need,
		Damaged:    db.NoteDamage,
		Logger:     o.Logger,
		Fatal:      o.Fatal,

		BulkOperations: o.BulkOperations,
	})
	if err != nil {
		return nil, err
	}
	db.dir = d
	db.users.Add(1)
	_, err = d.ReadLost() // which has to be right before anything is fetched
	if err == nil {
		err = db.open(o.CreateIfMissing && !o.ReadOnly)
	}
	if err == nil {
		db.recall()
		err = db.raiseEpoch(o.Epoch)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (d *DB) open(create bool) error {
	if err := d.openStaged(); err != nil {
		return err
	}
	if err := d.openCurrent(); err != nil {
		return err
	}
	if !create || d.view != nil {
		return nil
	}
	if d.staged != nil && d.stagedState.Stored > d.stagedState.Start {
		return fmt.Errorf("directory %s holds an unfinished replica: let a client finish it, or choose another directory", d.dir.Path())
	}
	return d.create()
}

func (d *DB) own(g *store.Generation) *generation {
	d.users.Add(1)
	return &generation{Generation: g, db: d, holders: 1}
}

// openStaged opens a generation that was in the making when the process
// ended. One in which something was published had only to be named in
// CURRENT: that is done now. What cannot be opened is removed: nothing in it
// was ever readable.
func (d *DB) openStaged() error {
	n, err := d.dir.Staged()
	if err != nil || n == 0 {
		return err
	}
	g, err := d.dir.OpenGeneration(n)
	if err != nil {
		if d.dir.ReadOnly() {
			return nil
		}
		d.log.Warn("removed a generation in the making that cannot be continued", "generation", n, "error", err)
		return d.dir.Remove(n)
	}
	if !g.State().Published() || d.dir.ReadOnly() {
		d.staged, d.stagedState = d.own(g), g.State()
		return nil
	}
	old := d.dir.Current()
	d.gen = d.own(g)
	if err := d.dir.SetCurrent(n); err != nil || old == 0 {
		return err
	}
	return d.dir.Remove(old)
}

// openCurrent opens the generation in use, if there is one, and checks that
// it is what was acknowledged.
func (d *DB) openCurrent() error {
	n := d.dir.Current()
	if n == 0 {
		return nil
	}
	if d.gen == nil {
		g, err := d.dir.OpenGeneration(n)
		if errors.Is(err, store.ErrNotFound) {
			return &store.CorruptError{Where: d.dir.Path(), Err: fmt.Errorf("the generation in use is missing: %w", err)}
		}
		if err != nil {
			return err
		}
		d.gen = d.own(g)
	}
	g := d.gen.Generation
	s := g.State()
	d.stored = s
	if !s.Published() {
		return &store.CorruptError{Where: g.Path(), Err: errors.New("the generation in use has nothing published")}
	}
	if head := d.dir.Head(); head.Generation == n && head.Size > s.Size {
		return &store.CorruptError{Where: g.Path(), Err: fmt.Errorf("holds %d operations, %d were acknowledged", s.Size, head.Size)}
	} else if head.Generation == n && head.Size == s.Size && head.Root != s.Root {
		return &store.CorruptError{Where: g.Path(), Err: fmt.Errorf("root at size %d is %s, %s was acknowledged", s.Size, s.Root, head.Root)}
	}
	f, err := restore(d.gen, s.Size)
	if err != nil {
		return err
	}
	if root := f.Root(s.Floor); root != s.Root {
		return &store.CorruptError{Where: g.Path(), Err: fmt.Errorf("stored digests give root %s at size %d, the state says %s", root, s.Size, s.Root)}
	}
	d.view = d.newView(d.gen, s, f)
	return nil
}

// create makes a fresh database: one commit at location 0.
func (d *DB) create() error {
	if d.staged != nil {
		if err := d.dropStaged(); err != nil {
			return err
		}
	}
	g, err := d.dir.CreateGeneration(0, nil)
	if err != nil {
		return err
	}
	d.gen, d.stored = d.own(g), g.State()
	w, err := d.newWriter(d.gen, g.State())
	if err != nil {
		return err
	}
	d.writer = w
	op, err := d.codec.Append(nil, operation.Operation{Kind: operation.Commit})
	if err != nil {
		return err
	}
	run, err := d.codec.NewRun(op)
	if err != nil {
		return err
	}
	if err := w.append(run); err != nil {
		return err
	}
	if err := w.publish(0); err != nil {
		return err
	}
	if err := d.dir.SetCurrent(g.Number()); err != nil {
		return err
	}
	d.publish(d.gen, w.state, w.frontier)
	return nil
}

// restore rebuilds the edge of the tree of the retained log up to size, which
// costs at most a bundle of hashing and a few hundred reads whatever the size.
func restore(g *generation, size uint64) (f *mmr.Frontier, err error) {
	start, pins := g.holdRetained()
	defer func() { err = errors.Join(err, g.releaseStart(start)) }()
	c := g.db.codec
	f, err = mmr.LoadFrontier(size, start, pins, g.TileTop)
	if err != nil {
		return nil, err
	}
	span := new(mmr.Span)
	err = g.Bundles(f.Leaves(), size, func(b *store.Bundle, i, j int) error {
		run, err := c.NewRun(b.Bytes(i, j))
		if err != nil {
			return &store.CorruptError{Where: fmt.Sprintf("%s, bundle at location %d", g.Path(), b.First), Err: err}
		}
		span.Reset(b.First+uint64(i), run)
		return f.Append(span, nil)
	})
	return f, err
}

// publish makes a durable state the one that new views show.
func (d *DB) publish(g *generation, s store.State, f *mmr.Frontier) {
	g.Published(s.Size) // before anybody can ask for it
	edge := f.Snapshot()
	d.mu.Lock()
	v := d.newView(g, s, edge) // under the mutex, or it may be older than what Prune has published
	old, oldChanged := d.view, d.changed
	d.view, d.changed, d.stored = v, make(chan struct{}), s
	d.mu.Unlock()
	d.dir.Acknowledge(store.Head{Generation: g.Number(), Size: s.Size, Root: s.Root})
	close(oldChanged)
	if old != nil {
		old.Close()
	}
}

// Codec is the family and encoding of the database.
func (d *DB) Codec() operation.Codec { return d.codec }

// Path is the storage directory.
func (d *DB) Path() string { return d.dir.Path() }

// View returns the newest published state; the caller has to Close it. It
// fails with ErrEmpty before a replica's first sync, and with ErrClosed.
func (d *DB) View() (*View, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.view == nil:
		return nil, ErrEmpty
	}
	return d.view.share(), nil
}

// Changed returns a channel that is closed at the next publication. Ask for
// it before looking at a View, or a publication in between is missed.
func (d *DB) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// KeepEvidence stores data under DIR/evidence and returns the file's path.
func (d *DB) KeepEvidence(name string, data []byte) (string, error) {
	return d.dir.WriteFile("evidence", name, data)
}

// Close waits for a write or a step of pruning in work and closes the storage. Views that are
// still held go on working; the directory is given free when the last one is
// closed.
func (d *DB) Close() error {
	d.write.Lock()
	defer d.write.Unlock()
	d.pruning.Lock()
	defer d.pruning.Unlock()
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	view, gen, staged := d.view, d.gen, d.staged
	d.view = nil
	d.mu.Unlock()

	var err error
	if d.writer != nil {
		err = d.writer.w.Close()
	}
	if view != nil {
		view.Close()
	}
	for _, g := range []*generation{gen, staged} {
		if g != nil {
			err = errors.Join(err, g.release())
		}
	}
	return errors.Join(err, d.leave())
}
