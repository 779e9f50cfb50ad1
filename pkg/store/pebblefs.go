package store

import (
	"errors"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleFS is the file system that pebble gets for a generation. It makes up for
// what pebble assumes of file systems, and ends the process in good order where
// pebble would panic.
//
// From the moment on that pebble makes its log, it works in the background,
// also while it is being opened. What is not a table cannot fail then: pebble
// panics where it cannot write its log, and where it gives up opening while
// tables are merged. Tables it writes again.
type pebbleFS struct {
	FS
	d       *Dir
	path    string // of the generation; what is written elsewhere may fail
	running atomic.Bool
	merging atomic.Bool // tables may be merged; see errNotNow
}

// errNotNow ends a merge of tables while a generation is opened or closed. pebble
// waits for every merge then, which takes seconds where much was loaded; what
// it does not get done it takes up again.
var errNotNow = errors.New("no tables are merged while a generation is opened or closed")

// mergeCategory is how pebble calls what it writes while it merges tables.
const mergeCategory = "pebble-compaction"

// fatalIf ends the process if what pebble cannot do without has failed.
func (f *pebbleFS) fatalIf(name string, err error) error {
	if err != nil && f.running.Load() && f.vital(name) {
		f.d.fatal(name, err)
	}
	return err
}

func (f *pebbleFS) vital(name string) bool {
	return f.PathDir(name) == f.path && !strings.HasSuffix(name, ".sst")
}

// Create makes everything in the directory durable before a marker: a marker
// names a file that was created before it, and file systems need not
// keep that order, so that a power cut could leave the marker alone.
func (f *pebbleFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(f.PathBase(name), "marker.") {
		if err := syncDir(f.FS, f.PathDir(name)); err != nil {
			return nil, f.fatalIf(name, err)
		}
	}
	if c != mergeCategory {
		file, err := f.FS.Create(name, c)
		return f.made(name, file, err)
	}
	if !f.merging.Load() {
		return nil, errNotNow
	}
	file, err := f.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return mergedFile{file, f}, nil
}

// ReuseForWrite takes an old log for a new one.
func (f *pebbleFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(old, name, c)
	return f.made(name, file, err)
}

func (f *pebbleFS) made(name string, file vfs.File, err error) (vfs.File, error) {
	if !f.vital(name) {
		return file, err
	}
	if strings.HasSuffix(name, ".log") {
		f.running.Store(true)
	}
	if f.fatalIf(name, err) != nil {
		return nil, err
	}
	return pebbleFile{file, f, name}, nil
}

// Rename ends the process if it fails, while pebble is opened.
func (f *pebbleFS) Rename(old, name string) error {
	return f.fatalIf(name, f.FS.Rename(old, name))
}

// List does so as well.
func (f *pebbleFS) List(name string) ([]string, error) {
	names, err := f.FS.List(name)
	if err != nil && f.running.Load() && name == f.path {
		f.d.fatal(name, err)
	}
	return names, err
}

// OpenDir returns a directory that cannot fail to be synced. What was to become
// durable may be lost then, and trying again would not bring it back.
func (f *pebbleFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return pebbleDir{file, f, name}, nil
}

// Remove tells of a file that stays behind; pebble tries again some day.
func (f *pebbleFS) Remove(name string) error {
	err := f.FS.Remove(name)
	if err != nil && !isNotExist(err) {
		f.d.opts.Logger.Warn("file that is no longer needed not removed", "path", name, "error", err.Error())
	}
	return err
}

// Unwrap returns the file system below.
func (f *pebbleFS) Unwrap() vfs.FS { return f.FS }

// mergedFile is a table that others are merged into.
type mergedFile struct {
	vfs.File
	f *pebbleFS
}

func (m mergedFile) Write(b []byte) (int, error) {
	if !m.f.merging.Load() {
		return 0, errNotNow
	}
	return m.File.Write(b)
}

// pebbleDir is a directory of pebble's.
type pebbleDir struct {
	vfs.File
	f    *pebbleFS
	path string
}

func (p pebbleDir) Sync() error {
	if err := p.File.Sync(); err != nil {
		p.f.d.fatal(p.path, err)
	}
	return nil
}

// pebbleFile is a file that pebble cannot do without. After a failed sync nobody
// knows what is in it.
type pebbleFile struct {
	vfs.File
	f    *pebbleFS
	path string
}

func (p pebbleFile) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	return n, p.f.fatalIf(p.path, err)
}

func (p pebbleFile) Sync() error     { return p.f.fatalIf(p.path, p.File.Sync()) }
func (p pebbleFile) SyncData() error { return p.f.fatalIf(p.path, p.File.SyncData()) }

func (p pebbleFile) SyncTo(length int64) (full bool, err error) {
	full, err = p.File.SyncTo(length)
	return full, p.f.fatalIf(p.path, err)
}
