package store

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TargetError: a place cannot become a new storage directory. Nothing was
// changed there.
type TargetError struct {
	Path   string
	Reason string
}

func (e *TargetError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

const (
	// A directory in the making has this at the end of its name.
	partialSuffix = ".partial"
	// One that is made within an empty directory that is there has this name.
	unfinishedName = "unfinished" + dropSuffix
	// The lock of whoever makes it.
	makingName = "making" + dropSuffix
)

// target is a storage directory in the making. It lies under another name until
// it is complete: beside its place, or, where the place is an empty directory,
// which may be a mounted volume, within.
type target struct {
	fs     FS
	path   string
	temp   string
	within bool
	lock   io.Closer
}

// newTarget begins a directory at path, which must be missing or empty. What an
// interrupted attempt left there is removed. Errors: *TargetError, *LockedError
// if somebody else is at it, or one of the file system.
func newTarget(fs FS, path string) (*target, error) {
	t := &target{fs: fs, path: path, temp: path + partialSuffix}
	if info, err := fs.Stat(path); err == nil {
		if !info.IsDir() {
			return nil, &TargetError{path, "exists and is no directory"}
		}
		names, err := fs.List(path)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if name != "lost+found" && name != unfinishedName {
				return nil, &TargetError{path, fmt.Sprintf("is not empty: it holds %q; a new or empty directory expected", name)}
			}
		}
		t.within, t.temp = true, fs.PathJoin(path, unfinishedName)
	} else if !isNotExist(err) {
		return nil, err
	} else if parent, err := fs.Stat(fs.PathDir(path)); err != nil || !parent.IsDir() {
		return nil, &TargetError{path, "the directory it is to lie in does not exist"}
	}
	if err := t.clear(); err != nil {
		return nil, err
	}
	if err := fs.MkdirAll(t.temp, 0o755); err != nil {
		return nil, err
	}
	var err error
	if t.lock, err = t.acquire(); err != nil {
		return nil, err
	}
	return t, nil
}

// clear removes what an interrupted attempt has left, which is known by its lock
// file: a complete directory that happens to have the name is nobody's to remove.
func (t *target) clear() error {
	names, err := t.fs.List(t.temp)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return &TargetError{t.temp, "is in the way"}
	}
	if len(names) > 0 && !t.within && !slices.Contains(names, makingName) {
		return &TargetError{t.temp, fmt.Sprintf("is in the way: it holds %q and is not what an interrupted attempt leaves", names[0])}
	}
	lock, err := t.acquire()
	if err != nil {
		return err
	}
	return errors.Join(lock.Close(), t.fs.RemoveAll(t.temp))
}

func (t *target) acquire() (io.Closer, error) {
	name := t.fs.PathJoin(t.temp, makingName)
	lock, err := t.fs.Lock(name)
	if err != nil && isLocked(err) {
		return nil, &LockedError{Dir: t.temp, Holder: holder(t.fs, name)}
	}
	return lock, err
}

func (t *target) join(name string) string { return t.fs.PathJoin(t.temp, name) }

// publish gives the directory its name. Everything in it has to be durable.
func (t *target) publish() error {
	if err := t.unlock(); err != nil {
		return err
	}
	if err := t.fs.Remove(t.join(makingName)); err != nil {
		return err
	}
	if err := syncDir(t.fs, t.temp); err != nil {
		return err
	}
	if !t.within {
		if err := t.fs.Rename(t.temp, t.path); err != nil {
			return err
		}
		return syncDir(t.fs, t.fs.PathDir(t.path))
	}
	names, err := t.fs.List(t.temp)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == currentName {
			continue
		}
		if err := t.fs.Rename(t.join(name), t.fs.PathJoin(t.path, name)); err != nil {
			return err
		}
	}
	// Without CURRENT nothing counts, so it comes last.
	if err := syncDir(t.fs, t.path); err != nil {
		return err
	}
	if err := t.fs.Rename(t.join(currentName), t.fs.PathJoin(t.path, currentName)); err != nil {
		return err
	}
	return errors.Join(t.fs.RemoveAll(t.temp), syncDir(t.fs, t.path))
}

func (t *target) unlock() error {
	lock := t.lock
	if t.lock = nil; lock == nil {
		return nil
	}
	return lock.Close()
}

// discard removes what was made so far.
func (t *target) discard() error { return errors.Join(t.unlock(), t.fs.RemoveAll(t.temp)) }

// outside says whether path lies neither at dir nor below it.
func outside(fs FS, dir, path string) bool {
	if fs == vfs.Default {
		dir, path = resolved(dir), resolved(path)
	}
	for p := path; ; p = fs.PathDir(p) {
		if p == dir {
			return false
		}
		if fs.PathDir(p) == p {
			return true
		}
	}
}

// resolved is path without links, as far as it exists.
func resolved(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for p, rest := abs, ""; ; p, rest = filepath.Dir(p), filepath.Join(filepath.Base(p), rest) {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(r, rest)
		}
		if filepath.Dir(p) == p {
			return abs
		}
	}
}
