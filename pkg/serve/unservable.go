package serve

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/wire"
)

// unservable tells whether err says that what was asked for is not there, and
// puts that in words for the peer. Otherwise the database is at fault: the
// peer learns only that, operators read the rest.
func unservable(r wire.GetOperations, err error) (text string, fault failure, ok bool) {
	switch {
	case errors.Is(err, store.ErrCorrupt): // first: it may wrap any of the others
		return "the database could not be read", corruption, false
	case errors.Is(err, database.ErrEmpty):
		return "the database is not ready: it holds no operations yet", 0, true
	case errors.Is(err, database.ErrClosed):
		return "the database is not ready: it is being closed", 0, true
	case errors.Is(err, database.ErrNotBoundary):
		return fmt.Sprintf("op_count %d is not a size the log had after a commit", r.Size), 0, true
	case errors.Is(err, database.ErrPruned):
		return fmt.Sprintf("operations from %d at op_count %d are not retained", r.Start, r.Size), 0, true
	case errors.Is(err, database.ErrBeyond):
		return fmt.Sprintf("op_count %d is beyond the size of the log", r.Size), 0, true
	}
	return "the database could not be read", otherFailure, false
}
