package witness

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/proofsync/proofsync/pkg/checkpoint"
)

// State is the memory of a witness: a file that holds the last note it has
// signed, as it is. It belongs to one process, which holds the file beside it
// with ".lock" at the end of its name.
type State struct {
	path string
	lock *os.File
	note []byte // nil: nothing was ever signed
}

// StateError says that the memory of a witness cannot be used, which is for its
// operator to decide about.
type StateError struct {
	Path string
	Err  error
}

func (e *StateError) Error() string {
	return fmt.Sprintf("state %s: %v; without its memory a witness could sign what contradicts what it has signed: "+
		"restore the file, or replace key and state of the witness together", e.Path, e.Err)
}

// Unwrap returns the reason.
func (e *StateError) Unwrap() error { return e.Err }

// ErrLocked: another process is the witness with this state.
var ErrLocked = errors.New("another process holds it")

// OpenState reads the memory of a witness; a missing file is one that has never
// signed. Close gives it free. Errors: *StateError, ErrLocked, or one of the
// file system.
func OpenState(path string) (*State, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s := &State{path: path, lock: lock}
	if err := lockFile(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s: %w", lock.Name(), err)
	}
	if s.note, err = readNote(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		lock.Close()
		return nil, &StateError{path, err}
	}
	return s, nil
}

func readNote(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, checkpoint.MaxNote+1))
	if err != nil {
		return nil, err
	}
	if _, err := checkpoint.Peek(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Close gives the state free.
func (s *State) Close() error { return s.lock.Close() }

// save replaces the memory, durably: when it returns, the note survives a power
// cut. An error says that either note may be found after one.
func (s *State) save(note []byte) error {
	if err := writeDurably(s.path, note); err != nil {
		return err
	}
	s.note = note
	return nil
}

// writeDurably replaces a file in one step.
func writeDurably(path string, data []byte) (err error) {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
