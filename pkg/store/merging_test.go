package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// mergeFS lets merges of tables get as far as their first blocks, and no further
// before it is told.
type mergeFS struct {
	FS
	first   sync.Once
	reached chan struct{} // closed at the first block
	resume  chan struct{}
	more    atomic.Bool // a block came after that
}

func (f *mergeFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err == nil && c == mergeCategory {
		return &slowFile{file, f}, nil
	}
	return file, err
}

type slowFile struct {
	vfs.File
	f *mergeFS
}

func (s *slowFile) Write(b []byte) (int, error) {
	select {
	case <-s.f.resume:
		s.f.more.Store(true)
	default:
	}
	s.f.first.Do(func() { close(s.f.reached) })
	<-s.f.resume
	return s.File.Write(b)
}

// layered is a log whose tables lie over each other in so many layers, and would be merged.
func layered(t *testing.T, d *Dir, layers int) *log {
	l := newLog(t, d, fixedIdentity)
	l.g.tidier.closed = true
	l.g.fs.merging.Store(false)
	for range layers {
		l.append(512, bulkOperations)
		l.commit(true)
	}
	if n := l.g.Metrics().ReadAmp(); n < layers/2 {
		t.Fatalf("%d layers: there is nothing to be merged", n)
	}
	return l
}

// flattens waits until merges have left at most so many layers.
func (l *log) flattens(most int) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); l.g.Metrics().ReadAmp() > most; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%d layers stay after %d merges", l.g.Metrics().ReadAmp(), l.g.Metrics().Compact.Count)
		}
	}
}

// reopened is the log that was closed, with every operation as it should be.
func reopened(t *testing.T, d *Dir) *log {
	t.Helper()
	g, err := d.OpenGeneration(1)
	if err != nil {
		t.Fatal(err)
	}
	l := continueLog(t, g, fixedIdentity)
	l.verify()
	return l
}

func TestClosingEndsMergesUnderWay(t *testing.T) {
	fs := &mergeFS{FS: MemFS(), reached: make(chan struct{}), resume: make(chan struct{})}
	d := openDir(t, fs, fixedIdentity)
	defer d.Close()
	l := layered(t, d, 8)
	l.g.fs.merging.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	merged := make(chan error, 1)
	go func() {
		// The first merge may be one the storage engine began by itself. Then this one may
		// come when everything is closed, at which the storage engine panics.
		defer func() {
			if p := recover(); p != nil {
				err, ok := p.(error)
				if !ok || !errors.Is(err, pebble.ErrClosed) {
					panic(p)
				}
				merged <- err
			}
		}()
		merged <- l.g.db.Compact(ctx, []byte{0}, []byte{255}, false)
	}()
	<-fs.reached
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		l.close()
	}()
	for end := time.Now().Add(10 * time.Second); l.g.fs.merging.Load() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	close(fs.resume) // the rest of the table is refused, not written
	<-closed
	cancel()
	if err := <-merged; err == nil || fs.more.Load() {
		t.Errorf("the merge went on: %v", err)
	}
	l = reopened(t, d)
	defer l.close()
}

// A load leaves as many layers as it likes; closing must not wait for what it has ended.
func TestClosingDoesNotWaitForMerges(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := layered(t, d, stopLayers+8)
	if n := l.g.Metrics().Levels[0].Sublevels; n < stopLayers {
		t.Fatalf("%d layers: writing out a memtable would not wait", n)
	}
	l.append(3, 0) // into a memtable that stays
	l.commit(true)
	if err := l.g.PutNote([]byte("key"), []byte("value")); err != nil {
		t.Fatal(err)
	}
	size := l.s.Size
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		l.close()
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("closing waits for merges that are refused")
	}
	l = reopened(t, d)
	defer l.close()
	if notes := notesOf(t, l.g); notes != "key=value" || l.s.Size != size {
		t.Errorf("size %d of %d, notes %q", l.s.Size, size, notes)
	}
}

func TestMergingIsPutOffUntilALoadIsDone(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	defer l.close()
	l.g.tidier.closed = true
	l.g.HoldMerges(true)
	merges := func() int64 { return l.g.Metrics().Compact.Count }
	for range 12 {
		l.append(512, bulkOperations)
		l.later()
	}
	if err := l.w.Settle(); err != nil {
		t.Fatal(err)
	}
	if n, depth := merges(), l.g.Metrics().ReadAmp(); n > 0 || depth < 10 {
		t.Fatalf("%d merges, %d layers while they are put off", n, depth)
	}
	l.g.HoldMerges(false)
	l.append(512, bulkOperations)
	l.commit(true)
	l.flattens(4)
	l.verify()
}

func TestMergingIsNotPutOffForEver(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	defer l.close()
	l.g.tidier.closed = true
	l.g.HoldMerges(true)
	for range 2*heldLayers + 2 {
		l.append(300, bulkOperations)
		l.later()
	}
	if err := l.w.Settle(); err != nil {
		t.Fatal(err)
	}
	l.flattens(2 * heldLayers)
	l.verify()
}

func TestMergingBeginsWhenTheGenerationIsOpen(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	layered(t, d, 8).close()
	g, err := d.OpenGeneration(1)
	if err != nil {
		t.Fatal(err)
	}
	l := continueLog(t, g, fixedIdentity)
	defer l.close()
	l.flattens(3)
	l.verify()
}
