package store

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleFS is the file system that pebble gets for a generation. It makes up for
// what pebble assumes of file systems, and ends the process in good order where
// pebble would panic.
type pebbleFS struct {
	FS
	d *Dir
	// running: pebble is open. Until then it returns all errors but those of
	// directories.
	running atomic.Bool
}

// fatalIf ends the process if what pebble cannot do without has failed.
func (f *pebbleFS) fatalIf(path string, err error) error {
	if err != nil && f.running.Load() {
		f.d.fatal(path, err)
	}
	return err
}

// Create makes everything in the directory durable before a marker: a marker
// names a file that was created before it, and file systems need not
// keep that order, so that a power cut could leave the marker alone.
func (f *pebbleFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(f.PathBase(name), "marker.") {
		if err := syncDir(f.FS, f.PathDir(name)); err != nil {
			return nil, err
		}
	}
	file, err := f.FS.Create(name, c)
	return f.log(name, file, err)
}

// ReuseForWrite takes an old log for a new one.
func (f *pebbleFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(old, name, c)
	return f.log(name, file, err)
}

// log returns a file that was made. If it is a log it cannot fail: without a
// log there is nothing to be done, and after a failed sync nobody knows what is
// in it.
func (f *pebbleFS) log(name string, file vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") {
		return file, err
	}
	if f.fatalIf(name, err) != nil {
		return nil, err
	}
	return pebbleLog{file, f, name}, nil
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

// pebbleLog is a write-ahead log.
type pebbleLog struct {
	vfs.File
	f    *pebbleFS
	path string
}

func (p pebbleLog) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	return n, p.f.fatalIf(p.path, err)
}

func (p pebbleLog) Sync() error     { return p.f.fatalIf(p.path, p.File.Sync()) }
func (p pebbleLog) SyncData() error { return p.f.fatalIf(p.path, p.File.SyncData()) }

func (p pebbleLog) SyncTo(length int64) (full bool, err error) {
	full, err = p.File.SyncTo(length)
	return full, p.f.fatalIf(p.path, err)
}
