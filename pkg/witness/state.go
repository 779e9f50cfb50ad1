package witness

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/internal/durable"
	"github.com/proofsync/proofsync/pkg/checkpoint"
)

// State is the memory of a witness: a file that holds the last note it has
// signed, as it is. It belongs to one process, which holds the file beside it
// with ".lock" at the end of its name.
type State struct{ *durable.Record }

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
var ErrLocked = durable.ErrLocked

// OpenState reads the memory of a witness; a missing file is one that has never
// signed. Close gives it free. Errors: *StateError, ErrLocked, or one of the
// file system.
func OpenState(path string) (*State, error) {
	r, err := durable.OpenRecord(nil, path, checkpoint.MaxNote)
	if errors.Is(err, durable.ErrEmpty) || errors.Is(err, durable.ErrTooLong) {
		return nil, &StateError{path, err}
	}
	if err != nil {
		return nil, err
	}
	if r.Data() != nil {
		if _, err := checkpoint.Peek(r.Data()); err != nil {
			return nil, errors.Join(&StateError{path, err}, r.Close())
		}
	}
	return &State{r}, nil
}
