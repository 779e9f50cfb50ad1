package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// bulk is a commit on its way around pebble's log and memtables: one table a
// key space, taken in together. Bundles go to disk as they come; tiles and
// index entries wait in memory, because they come out of order.
type bulk struct {
	g       *Generation
	dir     string
	bundles *table

	mu    sync.Mutex // tables are written side by side when the commit ends
	made  int        // tables so far
	paths []string

	*bulkBuffers
}

// bulkBuffers is the memory of a bulk commit; the next one uses it again.
type bulkBuffers struct {
	tiles   []tileRef
	tileBuf []byte

	entries []entryRef
	keys    []byte // index keys, one after the other
	kinds   []byte // kinds[i] belongs to entries[...].n == i

	notes     []noteRecord
	noteBytes int

	tailKey, tail []byte // the fragment at the end; no key: none
}

func (b *bulkBuffers) reset() {
	b.tiles, b.tileBuf = b.tiles[:0], b.tileBuf[:0]
	b.entries, b.keys, b.kinds = b.entries[:0], b.keys[:0], b.kinds[:0]
	b.notes, b.noteBytes = nil, 0
	b.tailKey, b.tail = b.tailKey[:0], b.tail[:0]
}

type tileRef struct {
	id mmr.TileID
	at int // offset in tileBuf
}

// entryRef is an index entry while it is sorted: the first bytes of its key
// decide nearly every comparison.
type entryRef struct {
	prefix uint64
	at     uint32 // offset in keys
	n      uint32 // number of the entry, and so of its kind
	length uint32
}

// indexTableEntries is how many index entries a goroutine writes to a table.
const indexTableEntries = 64 << 10

// mostKeyBytes is how much memory the keys of index entries get in advance.
const mostKeyBytes = 16 << 20

// tableSyncBytes of a table are handed to the disk at a time.
const tableSyncBytes = 2 << 20

// newBulk begins a commit of about so many operations. Two of different numbers may be under way.
func newBulk(g *Generation, number int, buffers *bulkBuffers, expect int) (*bulk, error) {
	buffers.reset()
	expect = min(expect, 16*indexTableEntries) // it is a hint
	buffers.entries, buffers.kinds = withRoom(buffers.entries, expect), withRoom(buffers.kinds, expect)
	b := &bulk{g: g, dir: fmt.Sprintf("%s-%d%s", g.path, number, loadSuffix), bulkBuffers: buffers}
	if err := g.dir.fs.RemoveAll(b.dir); err != nil {
		return nil, fmt.Errorf("clear %s: %w", b.dir, err)
	}
	if err := g.dir.fs.MkdirAll(b.dir, dirMode); err != nil {
		return nil, fmt.Errorf("make %s: %w", b.dir, err)
	}
	var err error
	b.bundles, err = b.newTable()
	return b, err
}

// withRoom is s with room for n elements in all. slices.Grow would clear the new room, and so touch
// all of its memory, in one go that cannot be interrupted: collections of garbage wait for that.
func withRoom[E any](s []E, n int) []E {
	if cap(s) >= n {
		return s
	}
	return append(make([]E, 0, n), s...)
}

func (b *bulk) memory() int {
	return len(b.tileBuf) + len(b.keys) + 24*len(b.entries) + b.noteBytes
}

func (b *bulk) tile(t *mmr.Tile) {
	b.tiles = append(b.tiles, tileRef{t.TileID, len(b.tileBuf)})
	b.tileBuf = t.AppendTo(b.tileBuf)
}

func (b *bulk) index(g *Generation, key []byte, loc uint64, kind byte) {
	at := len(b.keys)
	b.keys = appendIndexLocation(g.indexPrefix(b.keys, key), loc)
	b.addEntry(at, kind)
}

func (b *bulk) addEntry(at int, kind byte) {
	if at == 0 { // the other keys are about as long
		b.keys = withRoom(b.keys, min(cap(b.entries)*len(b.keys), mostKeyBytes))
	}
	k := b.keys[at+1:]
	var prefix uint64
	if len(k) >= 8 {
		prefix = binary.BigEndian.Uint64(k)
	}
	b.entries = append(b.entries, entryRef{prefix, uint32(at), uint32(len(b.kinds)), uint32(len(b.keys) - at)})
	b.kinds = append(b.kinds, kind)
}

// replay takes over a record of a batch.
func (b *bulk) replay(kind pebble.InternalKeyKind, key, value []byte) error {
	switch {
	case kind == pebble.InternalKeyKindDelete && key[0] == spaceBundle:
		return b.bundles.delete(key)
	case kind == pebble.InternalKeyKindDelete && key[0] == spaceNote:
		b.note(key, nil, true)
	case kind != pebble.InternalKeyKindSet:
		return fmt.Errorf("batch holds a record of kind %v", kind)
	case key[0] == spaceBundle:
		return b.bundles.set(key, value)
	case key[0] == spaceTile:
		id := mmr.TileID{Level: key[1], Index: binary.BigEndian.Uint64(key[2:])}
		b.tiles = append(b.tiles, tileRef{id, len(b.tileBuf)})
		b.tileBuf = append(b.tileBuf, value...)
	case key[0] == spaceIndex:
		at := len(b.keys)
		b.keys = append(b.keys, key...)
		b.addEntry(at, value[0])
	case key[0] == spaceNote:
		b.note(key, value, false)
	}
	return nil
}

// fragment keeps the start of a bundle that the next commit goes on with. It
// gets a table of its own: were it in the table of the bundles, that table would
// overlap the next commit's, that one the one after, and every read would
// have to look at a staircase of them.
func (b *bulk) fragment(key, value []byte) {
	b.tailKey, b.tail = append(b.tailKey[:0], key...), append(b.tail[:0], value...)
}

// write writes everything but the state as tables, side by side.
func (b *bulk) write() error {
	var group errgroup.Group
	group.SetLimit(4) // much of it is waiting for the disk
	b.writeIndex(&group)
	group.Go(b.bundles.close)
	group.Go(b.writeTiles)
	group.Go(b.writeNotes)
	group.Go(func() error { return b.writeRecord(b.tailKey, b.tail) })
	return group.Wait()
}

// writeRecord writes a table of one record, or none without a key.
func (b *bulk) writeRecord(key, value []byte) error {
	if len(key) == 0 {
		return nil
	}
	t, err := b.newTable()
	if err != nil {
		return err
	}
	return errors.Join(t.set(key, value), t.close())
}

// ingest lets pebble take in what was written, with state, atomically and durably.
func (b *bulk) ingest(state State) error {
	if err := b.writeRecord(stateKey, state.encode()); err != nil {
		return err
	}
	if err := syncDir(b.g.dir.fs, b.dir); err != nil {
		return err
	}
	s, err := b.g.db.IngestWithStats(context.Background(), b.paths)
	b.g.tidier.written.Add(int64(s.Bytes))
	return classify("take in "+b.dir, err)
}

func (b *bulk) writeTiles() error {
	if len(b.tiles) == 0 {
		return nil
	}
	slices.SortFunc(b.tiles, func(x, y tileRef) int {
		return cmp.Or(cmp.Compare(x.id.Level, y.id.Level), cmp.Compare(x.id.Index, y.id.Index))
	})
	t, err := b.newTable()
	if err != nil {
		return err
	}
	var key [tileKeyLen]byte
	for _, r := range b.tiles {
		n := mmr.TileDigests(r.id.Level) * mmr.DigestSize
		if err := t.set(tileKey(key[:0], r.id), b.tileBuf[r.at:r.at+n]); err != nil {
			return err
		}
	}
	return t.close()
}

// writeIndex sorts the entries and writes them as tables that do not overlap,
// two at a time. Splitting around a key before sorting lets both halves be
// sorted in parallel as well.
func (b *bulk) writeIndex(group *errgroup.Group) {
	parts := [][]entryRef{b.entries}
	if len(b.entries) >= indexTableEntries {
		parts = b.partition()
	}
	for _, p := range parts {
		group.Go(func() error { return b.writePart(p) })
	}
}

// partition splits the entries in two around the middle of the key space
// they use: around the median of a sample.
func (b *bulk) partition() [][]entryRef {
	sample := make([]uint64, 0, 129)
	for i := 0; i < len(b.entries); i += len(b.entries)/128 + 1 {
		sample = append(sample, b.entries[i].prefix)
	}
	slices.Sort(sample)
	pivot := sample[len(sample)/2]
	i, j := 0, len(b.entries)
	for i < j {
		if b.entries[i].prefix < pivot {
			i++
			continue
		}
		j--
		b.entries[i], b.entries[j] = b.entries[j], b.entries[i]
	}
	return [][]entryRef{b.entries[:i], b.entries[i:]}
}

func (b *bulk) key(e entryRef) []byte { return b.keys[e.at : e.at+e.length] }

// sort sorts entries by their keys: first into 256 heaps by the first eight bits
// in which they differ, which are then small enough for the cache.
func (b *bulk) sort(entries []entryRef) {
	least, most := entries[0].prefix, entries[0].prefix
	for _, e := range entries {
		least, most = min(least, e.prefix), max(most, e.prefix)
	}
	common := bits.LeadingZeros64(least ^ most)
	heap := func(e entryRef) int { return int(e.prefix << common >> 56) }
	var next, ends [257]int // of each heap
	for _, e := range entries {
		ends[heap(e)+1]++
	}
	for i := range 256 {
		ends[i+1] += ends[i]
	}
	next = ends
	for i := range 256 {
		for next[i] < ends[i+1] {
			e := entries[next[i]]
			for h := heap(e); h != i; h = heap(e) {
				e, entries[next[h]] = entries[next[h]], e
				next[h]++
			}
			entries[next[i]] = e
			next[i]++
		}
	}
	for i := range 256 {
		slices.SortFunc(entries[ends[i]:ends[i+1]], func(x, y entryRef) int {
			if x.prefix != y.prefix {
				return cmp.Compare(x.prefix, y.prefix)
			}
			return bytes.Compare(b.key(x), b.key(y))
		})
	}
}

func (b *bulk) writePart(entries []entryRef) error {
	if len(entries) == 0 {
		return nil
	}
	t, err := b.newTable()
	if err != nil {
		return err
	}
	b.sort(entries)
	for _, e := range entries {
		if err := t.set(b.key(e), b.kinds[e.n:e.n+1]); err != nil {
			return err
		}
	}
	return t.close()
}

// end removes what is left of the commit, taken in or not.
func (b *bulk) end() error {
	return errors.Join(b.bundles.close(), b.g.dir.fs.RemoveAll(b.dir))
}

// table is one sorted table being written.
type table struct {
	w      *sstable.Writer
	closed bool
	n      int
	b      *bulk
	path   string
}

func (b *bulk) newTable() (*table, error) {
	fs := b.g.dir.fs
	b.mu.Lock()
	b.made++
	path := fs.PathJoin(b.dir, fmt.Sprintf("%06d.sst", b.made))
	b.paths = append(b.paths, path)
	b.mu.Unlock()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	// The disk begins to write long before the table is complete.
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: tableSyncBytes})
	o := b.g.opts.MakeWriterOptions(0, b.g.db.TableFormat())
	return &table{w: sstable.NewWriter(objstorageprovider.NewFileWritable(f), o), b: b, path: path}, nil
}

func (t *table) set(key, value []byte) error {
	t.n++
	if err := t.w.Set(key, value); err != nil {
		return fmt.Errorf("write %s: %w", t.path, err)
	}
	return nil
}

func (t *table) delete(key []byte) error {
	t.n++
	if err := t.w.Delete(key); err != nil {
		return fmt.Errorf("write %s: %w", t.path, err)
	}
	return nil
}

// close ends the table; an empty one is left out of what is taken in.
func (t *table) close() error {
	if t.closed {
		return nil
	}
	t.closed = true
	if t.n == 0 {
		t.b.mu.Lock()
		t.b.paths = slices.DeleteFunc(t.b.paths, func(p string) bool { return p == t.path })
		t.b.mu.Unlock()
	}
	if err := t.w.Close(); err != nil {
		return fmt.Errorf("write %s: %w", t.path, err)
	}
	return nil
}
