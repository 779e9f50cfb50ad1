package serve

import (
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Database is what a Server answers from. FromDatabase makes one of a
// *database.DB.
type Database interface {
	// Codec is the codec of the operations; it never changes.
	Codec() operation.Codec
	// View returns the newest published state. The caller closes it.
	View() (View, error)
	// Changed returns a channel that is closed when View would return a newer
	// state than at the time of the call.
	Changed() <-chan struct{}
}

// View is one published state of a database, unchanging until it is closed. It
// belongs to one goroutine. Its errors are those of package database: ErrPruned, ErrNotBoundary and
// ErrBeyond say that a request cannot be served, others that the database is
// at fault.
type View interface {
	// Root is the root of the log of Size operations.
	Root() mmr.Digest
	// Size is the number of operations of the log.
	Size() uint64
	// Start is the first location that is still retained.
	Start() uint64
	// Floor is the inactivity floor.
	Floor() uint64
	// AppendOperations appends the encoded operations [start, start+n) to
	// dst, n as large as end and maxBytes allow, but at least 1.
	AppendOperations(dst []byte, start, end uint64, maxBytes int) (out []byte, n int, err error)
	// Prove proves the operations [start, end) in the log of size operations. The
	// digests are valid until the next call.
	Prove(size, start, end uint64) (mmr.Proof, error)
	// Pins returns the pinned nodes of loc, oldest first.
	Pins(loc uint64) ([]mmr.Digest, error)
	Close()
}

// FromDatabase serves a database of this module.
func FromDatabase(db *database.DB) Database { return opened{db} }

type opened struct{ *database.DB }

func (o opened) View() (View, error) {
	v, err := o.DB.View()
	if err != nil {
		return nil, err
	}
	return &ranges{View: v}, nil
}

// ranges is a view that reads whatever it is asked for in one go.
type ranges struct {
	*database.View
	reader *database.Ranges // nil: nothing was asked for yet
}

func (r *ranges) AppendOperations(dst []byte, start, end uint64, maxBytes int) (out []byte, n int, err error) {
	return r.open().AppendOperations(dst, start, end, maxBytes)
}

func (r *ranges) Prove(size, start, end uint64) (mmr.Proof, error) {
	return r.open().Prove(size, start, end)
}

func (r *ranges) Pins(loc uint64) ([]mmr.Digest, error) { return r.open().Pins(loc) }

func (r *ranges) open() *database.Ranges {
	if r.reader == nil {
		r.reader = r.View.Ranges()
	}
	return r.reader
}

func (r *ranges) Close() {
	if r.reader != nil {
		r.reader.Close()
	}
	r.View.Close()
}
