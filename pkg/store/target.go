package store

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/internal/durable"
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
// which may be a mounted volume, within. There the names in it move up one by one,
// CURRENT last: without it nothing counts.
//
// What is left of an attempt is known by its lock file, which is durable before
// anything else is there, and goes after everything else: so whatever a crash
// leaves can be cleared away by the next attempt.
type target struct {
	fs        FS
	path      string
	temp      string
	within    bool
	lock      io.Closer
	published bool // everything is in its place, durable or not
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
		t.within, t.temp = true, fs.PathJoin(path, unfinishedName)
		if err := t.checkEmpty(); err != nil {
			return nil, err
		}
	} else if !isNotExist(err) {
		return nil, err
	} else if parent, err := fs.Stat(fs.PathDir(path)); isNotExist(err) || err == nil && !parent.IsDir() {
		return nil, &TargetError{path, "the directory it is to lie in does not exist"}
	} else if err != nil {
		return nil, err
	}
	if err := t.clear(); err != nil {
		return nil, err
	}
	if err := fs.MkdirAll(t.temp, dirMode); err != nil {
		return nil, err
	}
	var err error
	if t.lock, err = t.acquire(); err != nil {
		return nil, err
	}
	if err := errors.Join(syncDir(fs, t.temp), syncDir(fs, fs.PathDir(t.temp))); err != nil {
		return nil, errors.Join(err, t.discard())
	}
	return t, nil
}

// checkEmpty says whether the place holds nothing but what an interrupted attempt
// has left.
func (t *target) checkEmpty() error {
	names, err := t.fs.List(t.path)
	if err != nil {
		return err
	}
	moving := slices.Contains(names, unfinishedName) && !slices.Contains(names, currentName)
	if moving {
		switch _, err := t.fs.Stat(t.join(makingName)); {
		case isNotExist(err):
			moving = false
		case err != nil:
			return err
		}
	}
	for _, name := range names {
		switch {
		case name == "lost+found", name == unfinishedName, moving && !isForeign(name):
		default:
			return &TargetError{t.path, fmt.Sprintf("is not empty: it holds %q; a new or empty directory expected", name)}
		}
	}
	return nil
}

// clear removes what an interrupted attempt has left: a complete directory that
// happens to have the name is nobody's to remove.
func (t *target) clear() error {
	info, err := t.fs.Stat(t.temp)
	if isNotExist(err) {
		return nil
	}
	if err == nil && !info.IsDir() {
		return &TargetError{t.temp, "is in the way"}
	}
	var names []string
	if err == nil {
		names, err = t.fs.List(t.temp)
	}
	if err != nil {
		return err
	}
	if len(names) > 0 && !t.within && !slices.Contains(names, makingName) {
		return &TargetError{t.temp, fmt.Sprintf("is in the way: it holds %q and is not what an interrupted attempt leaves", names[0])}
	}
	lock, err := t.acquire()
	if err != nil {
		return err
	}
	return errors.Join(t.remove(), lock.Close())
}

// remove removes everything that was made, its lock file last.
func (t *target) remove() error {
	var folders []string
	if t.within {
		folders = append(folders, t.path)
	}
	for _, folder := range append(folders, t.temp) {
		names, err := t.fs.List(folder)
		if err != nil {
			return err
		}
		for _, name := range names {
			if name == makingName || name == unfinishedName || name == "lost+found" {
				continue
			}
			if err := t.fs.RemoveAll(t.fs.PathJoin(folder, name)); err != nil {
				return err
			}
		}
		if err := syncDir(t.fs, folder); err != nil {
			return err
		}
	}
	return t.fs.RemoveAll(t.temp)
}

func (t *target) acquire() (io.Closer, error) {
	name := t.fs.PathJoin(t.temp, makingName)
	lock, err := t.fs.Lock(name)
	if err != nil && durable.IsLocked(err) {
		return nil, &LockedError{Dir: t.temp, Holder: holder(t.fs, name)}
	}
	return lock, err
}

func (t *target) join(name string) string { return t.fs.PathJoin(t.temp, name) }

// publish gives the directory its name. Everything in it has to be durable.
func (t *target) publish() error {
	err := syncDir(t.fs, t.temp)
	if err == nil && t.within {
		err = t.moveUp()
	}
	if err != nil {
		return err
	}
	from, to, made := t.temp, t.path, makingName
	if t.within {
		from, to, made = t.join(currentName), t.fs.PathJoin(t.path, currentName), unfinishedName
	}
	if err := t.fs.Rename(from, to); err != nil {
		return err
	}
	t.published = true
	if err := errors.Join(syncDir(t.fs, t.fs.PathDir(to)), t.unlock()); err != nil {
		return err
	}
	// From here on it is complete. What opening it would remove as well goes last.
	return errors.Join(t.fs.RemoveAll(t.fs.PathJoin(t.path, made)), syncDir(t.fs, t.path))
}

// moveUp moves everything but CURRENT to its place, durably.
func (t *target) moveUp() error {
	names, err := t.fs.List(t.temp)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == currentName || name == makingName {
			continue
		}
		if err := t.fs.Rename(t.join(name), t.fs.PathJoin(t.path, name)); err != nil {
			return err
		}
	}
	return syncDir(t.fs, t.path)
}

func (t *target) unlock() error {
	lock := t.lock
	if t.lock = nil; lock == nil {
		return nil
	}
	return lock.Close()
}

// discard removes what was made so far, unless it is in its place already.
func (t *target) discard() error {
	if t.published {
		return t.unlock()
	}
	return errors.Join(t.remove(), t.unlock())
}

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
