package store

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// heldFS lets no table of a large commit be made while it is shut, or fails them.
type heldFS struct {
	FS
	gate atomic.Pointer[chan error] // nil: open
}

func (f *heldFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if gate := f.gate.Load(); gate != nil && strings.Contains(name, loadSuffix) && strings.HasSuffix(name, ".sst") {
		if err := <-*gate; err != nil {
			return nil, err
		}
	}
	return f.FS.Create(name, c)
}

func (f *heldFS) shut() chan error {
	gate := make(chan error)
	f.gate.Store(&gate)
	return gate
}

func TestALargeCommitGoesOnBesideTheWriter(t *testing.T) {
	fs := &heldFS{FS: MemFS()}
	d := openDir(t, fs, fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	l.append(700, bulkOperations)
	gate := fs.shut()
	l.later()
	if s := l.g.State(); s.Stored != 0 {
		t.Errorf("stored up to %d while the commit is held", s.Stored)
	}
	fs.gate.Store(nil)
	l.append(900, bulkOperations) // does not wait
	close(gate)
	if err := l.w.Settle(); err != nil || l.g.State().Stored != 700 {
		t.Errorf("stored up to %d of 700: %v", l.g.State().Stored, err)
	}
	l.commit(true)
	l.verify()
	l.close()
}

func TestAWriterEndsWithALargeCommitThatFailed(t *testing.T) {
	broken := errors.New("no more ink")
	for what, next := range map[string]func(l *log) error{
		"settle":       func(l *log) error { return l.w.Settle() },
		"commit":       func(l *log) error { return l.w.Commit(l.s) },
		"commit later": func(l *log) error { return l.w.CommitLater(l.s) },
		"close":        func(l *log) error { return l.w.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			fs := &heldFS{FS: MemFS()}
			d := openDir(t, fs, fixedIdentity)
			defer d.Close()
			l := newLog(t, d, fixedIdentity)
			l.append(700, bulkOperations)
			l.commit(true)
			l.append(700, bulkOperations)
			gate := fs.shut()
			l.later()
			gate <- broken
			fs.gate.Store(nil)
			close(gate)
			if err := next(l); !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			if err := l.w.Append(list{testOp(l.id, l.w.Next())}, 0); err == nil {
				t.Error("the writer goes on")
			}
			if err := l.w.Close(); err != nil {
				t.Errorf("told twice: %v", err)
			}
			if s := l.g.State(); s.Stored != 700 {
				t.Errorf("stored up to %d", s.Stored)
			}
			if err := l.g.Close(); err != nil {
				t.Fatal(err)
			}
			if names, _ := fs.List("db"); len(names) > 4 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}
