// Package durable keeps small files that have to be right after a power cut: one
// file is replaced by another in one step, so that what is found afterwards is the
// old content or the new, and the new one from the moment on that Replace has
// returned.
//
//	data ─► PATH.tmp ─► sync ─► rename to PATH ─► sync of the directory
//
// A Record is such a file that one process remembers something in. What it says
// is for others: this package knows no formats, and large or many files are not
// what it is for.
package durable

import (
	"errors"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Temporary ends the name of a file that is to replace another one. A crash may
// leave it behind; the next Replace writes it anew.
const Temporary = ".tmp"

// Replace makes data the content of a file, which need not exist. An error says
// that either content may be found after a power cut. It must not be called for one
// path by two at a time; data is the caller's again when it returns. A nil file
// system is the operating system's.
func Replace(fsys vfs.FS, path string, data []byte) error {
	if fsys == nil {
		fsys = vfs.Default
	}
	f, err := fsys.Create(path+Temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// A copy: a file system may use what it is given for its own purposes.
	_, err = f.Write(append([]byte(nil), data...))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(path+Temporary, path); err != nil {
		return err
	}
	return SyncDir(fsys, fsys.PathDir(path))
}

// SyncDir makes names durable that were created, renamed or removed in a directory.
func SyncDir(fsys vfs.FS, dir string) error {
	if dir == "" {
		dir = "."
	}
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read returns the content of a file of at most so many bytes; nil: there is none.
// Errors: ErrEmpty, ErrTooLong, or one of the file system.
func Read(fsys vfs.FS, path string, most int) ([]byte, error) {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, ErrEmpty
	case len(data) > most:
		return nil, ErrTooLong
	}
	return data, nil
}
