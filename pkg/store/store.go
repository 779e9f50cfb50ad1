// Package store keeps an authenticated log on disk: operations, digests, the
// key index and the state that says how much of them counts. It is the only
// package that knows pebble.
//
// It knows neither families nor proofs: operations are opaque bytes, digests
// come from package mmr, and what a key's entry means is for the caller.
//
//	Dir (lock, CURRENT, HEAD) --> Generation (one pebble database)
//	                                |-- Writer: operations, tiles, index, state in one atomic step
//	                                '-- reads: operations by location, tiles, index
//
// docs/format.md describes the files and key spaces byte by byte.
package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// FormatVersion is the version of the storage directory this package writes.
const FormatVersion = 1

// OldestFormatVersion is the oldest one it reads. What older ones need is said
// by docs/COMPATIBILITY.md.
const OldestFormatVersion = 1

// FS is the file system a directory lives on. The zero value of every option
// that takes one is the operating system's.
type FS = vfs.FS

// MemFS is a new, empty file system in memory, for tests.
func MemFS() FS { return vfs.NewMem() }

var (
	// ErrNotFound: the directory does not hold a database.
	ErrNotFound = errors.New("no database in this directory")
	// ErrForeign: the directory holds files that are not a database's.
	ErrForeign = errors.New("not a proofsync directory")
	// ErrCorrupt is matched by every error that says that stored data is not
	// what was written: the data has to be restored, repaired or fetched anew.
	ErrCorrupt = errors.New("corrupt database")
	// ErrReadOnly: the directory was opened for reading.
	ErrReadOnly = errors.New("database is open for reading only")
)

// CorruptError tells what is wrong with stored data and where.
type CorruptError struct {
	Where string
	Err   error
}

func (e *CorruptError) Error() string        { return fmt.Sprintf("corrupt database: %s: %v", e.Where, e.Err) }
func (e *CorruptError) Unwrap() error        { return e.Err }
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

func corrupt(where string, format string, args ...any) error {
	return &CorruptError{Where: where, Err: fmt.Errorf(format, args...)}
}

// classify marks pebble's own corruption errors as corruption of ours.
func classify(where string, err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		return &CorruptError{Where: where, Err: err}
	}
	return fmt.Errorf("%s: %w", where, err)
}

// LockedError: another process, or another handle of this one, holds the directory.
type LockedError struct {
	Dir    string
	Holder string // what is known of the holder, e.g. "process 4711 (server)"
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("directory %s is in use by %s", e.Dir, e.Holder)
}

// MismatchError: the directory holds a database of another family or encoding.
type MismatchError struct {
	Dir        string
	Held, Want string // "any/fixed"
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("directory %s holds a database of %s, not of %s", e.Dir, e.Held, e.Want)
}

// VersionError: the directory is of a format that this version does not read: a
// newer one, or one that is too old. What it says to do works between any formats
// (docs/COMPATIBILITY.md).
type VersionError struct {
	Dir  string
	Held int
}

func (e *VersionError) Error() string {
	if e.Held > FormatVersion {
		return fmt.Sprintf("directory %s has disk format %d, this proofsync reads up to %d: use a newer one, or go back to a backup of before: proofsync restore BACKUP NEWDIR",
			e.Dir, e.Held, FormatVersion)
	}
	return fmt.Sprintf("directory %s has disk format %d, this proofsync reads %d and newer: serve it with an older one and sync from that: client --storage-dir NEWDIR --server HOST:PORT",
		e.Dir, e.Held, OldestFormatVersion)
}

// EpochError: an epoch was asked for that is older than the directory's.
type EpochError struct {
	Dir        string
	Held, Want uint64
}

func (e *EpochError) Error() string {
	return fmt.Sprintf("directory %s is of epoch %d, which never goes back to %d: give %d or more, or none to keep it", e.Dir, e.Held, e.Want, e.Held)
}
