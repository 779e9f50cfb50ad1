package durable

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrLocked: another process remembers something in this file.
	ErrLocked = errors.New("another process holds it")
	// ErrEmpty: a file is no record. What is missing is not the same as never
	// having been there, so it does not count as nothing.
	ErrEmpty = errors.New("it is empty")
	// ErrTooLong: neither is one that is longer than any record.
	ErrTooLong = errors.New("it is too long")
)

// Record is a file that holds the last thing its owner has said. It belongs to
// one process, which holds the file beside it with ".lock" at the end of its name.
// One goroutine at a time may use it.
type Record struct {
	fs   vfs.FS
	path string
	most int
	lock io.Closer
	data []byte // nil: nothing was ever kept
}

// OpenRecord reads a record of at most so many bytes; a missing file is one that
// nothing was kept in. nil is the operating system's file system. Close gives it
// free. Errors: ErrLocked, ErrEmpty, ErrTooLong, or one of the file system.
func OpenRecord(fsys vfs.FS, path string, most int) (*Record, error) {
	if fsys == nil {
		fsys = vfs.Default
	}
	lock, err := fsys.Lock(path + ".lock")
	switch {
	case err != nil && IsLocked(err):
		return nil, fmt.Errorf("%s.lock: %w", path, ErrLocked)
	case err != nil:
		return nil, err
	}
	r := &Record{fs: fsys, path: path, most: most, lock: lock}
	if r.data, err = Read(fsys, path, most); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return r, nil
}

// Data is what was kept last; nil: nothing ever was. The caller must not change it.
func (r *Record) Data() []byte { return r.data }

// Path is the path of the file.
func (r *Record) Path() string { return r.path }

// Keep replaces what was kept, durably: when it returns, data survives a power
// cut. An error says that either may be found after one; Data is the old one then.
// data must not be changed afterwards.
func (r *Record) Keep(data []byte) error {
	if len(data) == 0 || len(data) > r.most {
		return fmt.Errorf("record %s: %d bytes to keep, 1 to %d expected", r.path, len(data), r.most)
	}
	if err := Replace(r.fs, r.path, data); err != nil {
		return err
	}
	r.data = data
	return nil
}

// Close gives the record free.
func (r *Record) Close() error { return r.lock.Close() }
