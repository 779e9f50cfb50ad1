package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/internal/durable"
)

// Identity is what a directory was made for. It never changes.
type Identity struct {
	Database string // family and encoding, "any/fixed"
	OpSize   int    // bytes of every operation; 0: operations vary in length
}

// Options configure a directory. The zero value is useful but for Identity.
type Options struct {
	Identity   Identity
	FS         FS    // nil: the operating system's
	Create     bool  // make the directory if it is missing or empty
	ReadOnly   bool  // nothing is written; a missing directory is ErrNotFound
	AnyHead    bool  // for checkers: go on where HEAD is damaged, see HeadError; needs ReadOnly
	CacheBytes int64 // memory for pebble's cache, shared by the generations; 0: DefaultCacheBytes
	// BulkOperations is from how many operations on a commit is written as tables,
	// around pebble's log; 0: 16384.
	BulkOperations int
	// Room is asked before tables are merged, which takes a second copy of some
	// until it is done: an error says that there is no space. nil: there is.
	Room func(bytes uint64) error
	// Damaged is called when the storage engine meets damaged data by itself:
	// while it reads for somebody, who gets the error as well, or in the
	// background. It must not block. nil: nobody wants to know.
	Damaged func(generation uint64, err error)
	Logger  *slog.Logger // nil: discard

	// Fatal is told, once, that the storage cannot go on without risking the
	// data. The goroutine that tells it, and every other that cannot go on,
	// stands still from then on, so the process has to end whatever Fatal
	// does; closing the directory may never return. nil: one line, exit code 1.
	Fatal func(error)
}

// DefaultCacheBytes is the memory given to blocks and memtables together:
// pebble takes its memtables out of the cache.
const DefaultCacheBytes = 64 << 20

// headInterval is how stale HEAD may be: what was acknowledged longer ago is in it.
const headInterval = time.Second

// Dir is a storage directory, held by this process until Close.
type Dir struct {
	path string
	opts Options
	fs   FS
	lock io.Closer

	cache *pebble.Cache

	mu         sync.Mutex
	generation uint64 // in use, named by CURRENT; 0: none yet
	epoch      uint64 // as in CURRENT
	newest     uint64 // largest number that this process has made: none is given twice
	acked      Head   // newest acknowledged state
	written    Head   // newest state in HEAD
	head       *headFile
	headErr    error      // what is wrong with HEAD, if Options.AnyHead lets that pass
	writing    sync.Mutex // held while head is written

	mark        *Mark      // of the generation in use; nil: none
	markWritten bool       // mark is in its file
	marking     sync.Mutex // held while the mark is written or removed

	opened openGenerations
	failed sync.Once // see fatal

	stop chan struct{}
	done sync.WaitGroup
}

// OpenDir locks the directory and reads which generation is in use. It
// returns ErrNotFound, ErrForeign, *LockedError, *MismatchError, *VersionError
// or an error of the file system.
func OpenDir(path string, o Options) (*Dir, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	o.BulkOperations = cmp.Or(o.BulkOperations, bulkOperations)
	d := &Dir{path: path, opts: o, stop: make(chan struct{})}
	d.fs = vfs.OnDiskFull(o.FS, d.full)
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	d.cache = pebble.NewCache(o.CacheBytes)
	if !o.ReadOnly {
		d.done.Go(d.tick)
	}
	return d, nil
}

func (d *Dir) open() error {
	if _, err := d.fs.Stat(d.path); isNotExist(err) {
		if !d.opts.Create || d.opts.ReadOnly {
			return fmt.Errorf("%w: %s does not exist", ErrNotFound, d.path)
		}
		if err := mkdirAll(d.fs, d.path); err != nil {
			return fmt.Errorf("create storage directory: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("open storage directory: %w", err)
	}
	names, err := d.fs.List(d.path)
	if err != nil {
		return fmt.Errorf("read storage directory: %w", err)
	}
	// Look before locking: a directory of others, or of another format, must not get a lock file.
	if slices.Contains(names, currentName) {
		if _, err := readCurrent(d.fs, d.path); err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
	} else {
		if err := d.checkUnused(names); err != nil {
			return err
		}
		if !d.opts.Create || d.opts.ReadOnly {
			return fmt.Errorf("%w: %s", ErrNotFound, d.path)
		}
	}
	if d.lock, err = d.fs.Lock(d.join("LOCK")); err != nil {
		if durable.IsLocked(err) {
			return &LockedError{Dir: d.path, Holder: holder(d.opts.FS, d.join("LOCK"))}
		}
		return fmt.Errorf("lock storage directory: %w", err)
	}
	c, err := readCurrent(d.fs, d.path)
	switch {
	case errors.Is(err, ErrNotFound):
		c = current{database: d.opts.Identity.Database}
		if err := c.write(d.fs, d.path); err != nil {
			return err
		}
	case err != nil:
		return err
	case c.database != d.opts.Identity.Database:
		return &MismatchError{Dir: d.path, Held: c.database, Want: d.opts.Identity.Database}
	}
	d.generation, d.epoch = c.generation, c.epoch
	h, seq, ok, err := readHead(d.fs, d.join("HEAD"))
	if err == nil && h.Generation > d.generation {
		err = corrupt(d.path, "generation %d is in use, generation %d was acknowledged", d.generation, h.Generation)
	}
	if err != nil {
		if !d.opts.AnyHead || !d.opts.ReadOnly {
			return err
		}
		d.headErr = err
	}
	if ok {
		d.acked, d.written = h, h
	}
	if err := d.loadMark(); err != nil {
		return err
	}
	if d.opts.ReadOnly {
		return nil
	}
	if d.head, err = openHead(d.fs, d.join("HEAD"), seq); err != nil {
		return err
	}
	return d.sweep(names)
}

// checkUnused says whether a directory without CURRENT may become a database:
// CURRENT is written before anything else, so what is there without it either
// is not ours, or has lost it.
func (d *Dir) checkUnused(names []string) error {
	for _, name := range names {
		if isForeign(name) {
			return fmt.Errorf("%w: %s has no %s but holds %q", ErrForeign, d.path, currentName, name)
		}
	}
	if err := generationsWithout(d.path, names); err != nil {
		return err
	}
	if h, _, ok, err := readHead(d.fs, d.join("HEAD")); err != nil || ok {
		return errors.Join(err, corrupt(d.path, "%d operations were acknowledged, the file %s is missing", h.Size, currentName))
	}
	return nil
}

// sweep removes what a crash left behind: generations older than the one in
// use and files that were being loaded.
func (d *Dir) sweep(names []string) error {
	for _, name := range names {
		n, ok := parseGeneration(name)
		stale := ok && n < d.generation || isLeftover(name)
		if !stale {
			continue
		}
		if err := d.fs.RemoveAll(d.join(name)); err != nil {
			return fmt.Errorf("remove %s: %w", d.join(name), err)
		}
		d.opts.Logger.Info("removed leftover", "path", d.join(name))
	}
	return nil
}

func (d *Dir) join(name string) string { return d.fs.PathJoin(d.path, name) }

// Path is the directory's path.
func (d *Dir) Path() string { return d.path }

// ReadOnly says whether the directory was opened for reading.
func (d *Dir) ReadOnly() bool { return d.opts.ReadOnly }

// Current is the number of the generation in use; 0: none yet.
func (d *Dir) Current() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}

// Head is the newest acknowledged state; zero if there is none.
func (d *Dir) Head() Head {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acked
}

// HeadError is what is wrong with HEAD where Options.AnyHead lets that pass.
func (d *Dir) HeadError() error { return d.headErr }

// Staged is the number of the newest generation beyond the one in use; 0: none.
func (d *Dir) Staged() (uint64, error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return 0, fmt.Errorf("read storage directory: %w", err)
	}
	var newest uint64
	for _, name := range names {
		if n, ok := parseGeneration(name); ok && n > d.Current() {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// SetCurrent makes a generation the one in use, durably and atomically.
func (d *Dir) SetCurrent(n uint64) error {
	if err := d.replaceCurrent(func(c *current) { c.generation = n }); err != nil {
		return err
	}
	return d.dropMark()
}

// replaceCurrent writes CURRENT anew, durably, and then believes what it says. There
// must be one call at a time.
func (d *Dir) replaceCurrent(change func(*current)) error {
	d.mu.Lock()
	c := current{database: d.opts.Identity.Database, generation: d.generation, epoch: d.epoch}
	d.mu.Unlock()
	change(&c)
	if err := c.write(d.fs, d.path); err != nil {
		return err
	}
	d.mu.Lock()
	d.generation, d.epoch = c.generation, c.epoch
	d.mu.Unlock()
	return nil
}

// Epoch is what RaiseEpoch recorded last; 0: nothing ever.
func (d *Dir) Epoch() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch
}

// RaiseEpoch records a new epoch of the log, durably. It never goes down: a
// smaller one is an *EpochError, and the same one changes nothing. It must not be
// called while SetCurrent is.
func (d *Dir) RaiseEpoch(n uint64) error {
	held := d.Epoch()
	switch {
	case n < held:
		return &EpochError{Dir: d.path, Held: held, Want: n}
	case n == held:
		return nil
	case d.opts.ReadOnly:
		return ErrReadOnly
	}
	return d.replaceCurrent(func(c *current) { c.epoch = n })
}

// Remove deletes a generation that nobody has open.
func (d *Dir) Remove(n uint64) error {
	// Renamed first: what a crash leaves half deleted must not look like a generation.
	path := d.join(generationName(n))
	gone := path + dropSuffix
	err := d.fs.RemoveAll(gone)
	if err == nil {
		err = d.fs.Rename(path, gone)
	}
	if err == nil {
		err = syncDir(d.fs, d.path)
	}
	if err == nil {
		err = d.fs.RemoveAll(gone)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// Acknowledge records that h was shown to somebody: HEAD names it within a
// second and when the directory is closed.
func (d *Dir) Acknowledge(h Head) {
	d.mu.Lock()
	d.acked = h
	d.mu.Unlock()
}

// tick writes HEAD, and tells the open generations that time has passed.
func (d *Dir) tick() {
	t := time.NewTicker(headInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := d.flushHead(); err != nil {
				d.opts.Logger.Error("acknowledged state not recorded", "path", d.join("HEAD"), "error", err)
			}
			if err := d.flushMark(); err != nil {
				d.opts.Logger.Error("damage not recorded", "path", d.join(damageName), "error", err)
			}
			d.opened.tick()
		case <-d.stop:
			return
		}
	}
}

func (d *Dir) flushHead() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	h, old := d.acked, d.written
	d.mu.Unlock()
	if h == old || d.head == nil {
		return nil
	}
	if err := d.head.write(h); err != nil {
		return err
	}
	d.mu.Lock()
	d.written = h
	d.mu.Unlock()
	return nil
}

// WriteFile stores a small file under the directory, durably: evidence that people look at later.
func (d *Dir) WriteFile(folder, name string, data []byte) (string, error) {
	if err := mkdirAll(d.fs, d.join(folder)); err != nil {
		return "", err
	}
	path := d.fs.PathJoin(d.join(folder), name)
	return path, writeFile(d.fs, d.join(folder), name, data)
}

// Close records the newest acknowledged state and gives the directory free.
// Generations have to be closed before.
func (d *Dir) Close() error {
	close(d.stop)
	d.done.Wait()
	err := errors.Join(d.flushHead(), d.flushMark())
	if d.head != nil {
		err = errors.Join(err, d.head.f.Close())
	}
	d.cache.Unref()
	return errors.Join(err, d.unlock())
}

func (d *Dir) unlock() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// ourFiles are the files of a directory, beside its generations and CURRENT.
var ourFiles = []string{
	"HEAD", "LOCK", checkpointName, damageName, lostName, signedName, signedName + ".lock",
	"lost+found", "evidence", quarantineName, "proofsync.sock",
}

// isForeign says whether a name does not belong in a directory of ours.
func isForeign(name string) bool {
	_, generation := parseGeneration(name)
	return !generation && !slices.Contains(ourFiles, name) && !isLeftover(name)
}

// isLeftover says whether only a crash leaves a file or folder of this name.
func isLeftover(name string) bool {
	replaced, temporary := strings.CutSuffix(name, ".tmp")
	return strings.HasSuffix(name, loadSuffix) || strings.HasSuffix(name, dropSuffix) ||
		temporary && slices.Contains([]string{currentName, checkpointName, damageName, lostName, signedName}, replaced)
}

func isNotExist(err error) bool { return err != nil && errors.Is(err, fs.ErrNotExist) }
