package targets

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/source"
)

// Error says why there is no target now. Trying again may help, so that it never
// ends a replica (source.Slow). Err is one of the errors of package checkpoint, or
// says why the place was of no use.
type Error struct {
	Place string // URL or path
	Err   error
	// Others is how many other places did not help either; Err says most.
	Others int
}

func (e *Error) Error() string {
	switch e.Others {
	case 0:
		return fmt.Sprintf("%s: %v", e.Place, e.Err)
	case 1:
		return fmt.Sprintf("%s: %v; another place does not help either", e.Place, e.Err)
	}
	return fmt.Sprintf("%s: %v; %d other places do not help either", e.Place, e.Err, e.Others)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Class makes source.Classify know it.
func (e *Error) Class() source.Class { return source.Slow }

// MemoryError says that what was accepted before cannot be read, or is of another
// log. Going on as if nothing had been accepted is for the operator to decide.
type MemoryError struct {
	Path string
	Err  error
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%s, the newest accepted checkpoint, which protects from older ones, cannot be used: %v; put it back from a backup, or remove it to accept any valid checkpoint as the first", e.Path, e.Err)
}

// Unwrap returns what is wrong.
func (e *MemoryError) Unwrap() error { return e.Err }

// The reasons for which a note is not followed: labels of a metric, and how much
// they say about why there is no target, in ascending order.
var reasons = []string{"unreachable", "format", "origin", "codec", "quorum", "signature", "future", "stale", "rollback", "fork"}

// reasonOf is the reason of an error.
func reasonOf(err error) string {
	switch {
	case is[*checkpoint.FormatError](err):
		return "format"
	case is[*checkpoint.OriginError](err):
		return "origin"
	case is[*checkpoint.CodecError](err):
		return "codec"
	case is[*checkpoint.QuorumError](err):
		return "quorum"
	case is[*checkpoint.FutureError](err):
		return "future"
	case is[*checkpoint.StaleError](err):
		return "stale"
	case is[*checkpoint.RollbackError](err):
		return "rollback"
	case is[*source.ContradictionError](err):
		return "fork"
	}
	return "unreachable"
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
