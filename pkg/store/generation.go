package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Generation is one pebble database: a log from some start on. A replica
// whose target moved past it, or that has to start over, makes a new one.
//
// Reads are safe for concurrent use; there is at most one Writer. Retain and
// PruneStep may be called beside it.
type Generation struct {
	dir    *Dir
	number uint64
	path   string
	opSize int
	db     *pebble.DB
	fs     *pebbleFS
	opts   *pebble.Options

	// commit is held while a batch with the state record is made and applied:
	// by the Writer, and by Retain, which may come at any time.
	commit sync.Mutex
	broken error // set once: Retain failed, and what it left on disk is not known

	mu       sync.Mutex
	state    State        // as committed last
	pins     []mmr.Digest // of state.Start; replaced, never changed
	unpruned uint64       // what lies below state.Start exists from here on at most

	readers readerPool
	tiles   tileCache
	damaged spots
	tidier  tidier
	held    atomic.Bool // merges are put off
}

// pebbleFormat pins pebble's own format: this directory opens with every
// pebble that knows it, and raising it is a decision.
const pebbleFormat = pebble.FormatTableFormatV6

func (d *Dir) pebbleOptions(path string, fs vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		Cache:                       d.cache,
		FormatMajorVersion:          pebbleFormat,
		ReadOnly:                    d.opts.ReadOnly,
		MemTableSize:                8 << 20,
		MemTableStopWritesThreshold: 3,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       stopLayers,
		LBaseMaxBytes:               64 << 20,
		Logger:                      pebbleLogger{d, path},
	}
	o.Experimental.L0CompactionConcurrency = heldLayers
	o.EventListener = (&background{d: d, path: path}).listener()
	// Large tables: a look-up that stays in the table of the one before it is
	// spared opening another.
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 64 << 20
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 8 << 10
		// One block of a table's index holds it all: a look-up reads a block less.
		o.Levels[i].IndexBlockSize = 512 << 10
	}
	// Digests and hashed keys do not compress; byte strings may.
	settings := pebble.DBCompressionNone
	if d.opts.Identity.OpSize == 0 {
		settings = pebble.UniformDBCompressionSettings(block.SnappyCompression)
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return settings })
	return o
}

// CreateGeneration makes an empty generation, numbered after every existing
// one, whose log starts at start with the given pinned nodes. It is durable
// on return, but not in use before SetCurrent.
func (d *Dir) CreateGeneration(start uint64, pins []mmr.Digest) (*Generation, error) {
	n, err := d.Staged()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.newest = max(n, d.generation, d.newest) + 1
	g := d.generationAt(d.newest)
	d.mu.Unlock()
	if err := g.openPebble(); err != nil {
		return nil, err
	}
	g.state = State{Start: start, Size: start, Stored: start}
	g.pins, g.unpruned = pins, start
	b := g.db.NewBatch()
	err = errors.Join(b.Set(stateKey, g.state.encode(), nil), b.Set(pinsKey, encodePins(pins), nil))
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err == nil {
		err = syncDir(d.fs, d.path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create %s: %w", g.path, err), g.Close())
	}
	return g, nil
}

// OpenGeneration opens an existing generation. A generation whose creation
// was cut short is ErrNotFound.
func (d *Dir) OpenGeneration(n uint64) (*Generation, error) {
	return d.openGeneration(n, d.opts.ReadOnly)
}

func (d *Dir) openGeneration(n uint64, readOnly bool) (*Generation, error) {
	g := d.generationAt(n)
	g.opts.ErrorIfNotExists, g.opts.ReadOnly = true, readOnly
	if err := g.openPebble(); err != nil {
		if errors.Is(err, pebble.ErrDBDoesNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, g.path)
		}
		return nil, err
	}
	if err := g.load(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (d *Dir) generationAt(n uint64) *Generation {
	path := d.join(generationName(n))
	fs := &pebbleFS{FS: d.fs, d: d, path: path}
	g := &Generation{
		dir: d, number: n, path: path, fs: fs,
		opSize: d.opts.Identity.OpSize, opts: d.pebbleOptions(path, fs),
		tidier: tidier{least: tidyBytes, busy: quietBytes},
	}
	g.opts.CompactionConcurrencyRange = g.merges
	return g
}

// heldLayers is how many layers of tables may lie over each other while merges
// are put off.
const heldLayers = 32

// stopLayers is how many layers of tables make pebble write no memtable out before some
// are merged. What goes around memtables, such as a load, may leave more.
const stopLayers = 64

// HoldMerges puts off merging tables while nobody reads them: what is loaded
// is then merged once at the end, and not again and again. Beyond heldLayers
// it is done all the same.
func (g *Generation) HoldMerges(hold bool) { g.held.Store(hold) }

// merges is how many merges may run at once: at least and at most. pebble
// allows one more than the least for every heldLayers layers.
func (g *Generation) merges() (least, most int) {
	if g.held.Load() {
		return 0, 2
	}
	return 1, 2
}

func (g *Generation) openPebble() error {
	db, err := pebble.Open(g.path, g.opts)
	if err != nil {
		return g.openError(err)
	}
	g.db = db
	g.fs.merging.Store(true)
	g.dir.opened.add(g)
	return nil
}

// openError tells a generation that lacks files, or parts of them, from a
// failure to read it. pebble has no class for that.
func (g *Generation) openError(err error) error {
	if isNotExist(err) || strings.Contains(err.Error(), "object size mismatch") {
		return corrupt(g.path, "files are missing or cut short, as in a copy that was not completed: %w", err)
	}
	return classify("open "+g.path, err)
}

func (g *Generation) load() error {
	b, closer, err := g.db.Get(stateKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("%w: %s has no state", ErrNotFound, g.path)
	}
	if err != nil {
		return classify("read state of "+g.path, err)
	}
	g.state, err = decodeState(b)
	closer.Close()
	if err != nil {
		return corrupt(g.path, "%w", err)
	}
	b, closer, err = g.db.Get(pinsKey)
	if err != nil {
		return corrupt(g.path, "read pinned nodes: %w", err)
	}
	g.pins, err = decodePins(b, g.state.Start)
	closer.Close()
	if err != nil {
		return corrupt(g.path, "%w", err)
	}
	if err := g.loadUnpruned(); err != nil {
		return err
	}
	g.readers.publish(g.state.Size)
	return nil
}

// Number is the generation's number, from 1.
func (g *Generation) Number() uint64 { return g.number }

// Path is the generation's directory.
func (g *Generation) Path() string { return g.path }

// State is the state as it was committed last, durable or not.
func (g *Generation) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// setState notes what was committed. g.commit is held.
func (g *Generation) setState(s State) {
	g.mu.Lock()
	g.state = s
	g.mu.Unlock()
}

// Metrics are pebble's figures.
func (g *Generation) Metrics() *pebble.Metrics { return g.db.Metrics() }

// Close closes the pebble database; every Reader, Index and Writer has to be given back.
// Memtables are written out, so that the next open has no log to replay, unless that
// would have to wait for merges.
func (g *Generation) Close() error {
	g.dir.opened.remove(g)
	g.fs.merging.Store(false)
	g.tidier.close()
	closeReaders(g.readers.close())
	var err error
	if !g.opts.ReadOnly && g.db.Metrics().Levels[0].Sublevels < stopLayers/2 { // more may come from what was taken in last
		err = g.db.Flush()
	}
	if err = errors.Join(err, g.db.Close()); err != nil {
		return classify("close "+g.path, err)
	}
	return nil
}
