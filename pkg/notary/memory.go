package notary

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/internal/durable"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/database"
)

// Memory is what the key has promised: a file that holds the last checkpoint that
// was signed, of a size or epoch that was not signed before, as it came from the
// signer. A writer that has lost commits is told by it from one that goes on. It belongs
// to one process.
type Memory struct {
	record *durable.Record
	last   *checkpoint.Checkpoint // nil: nothing was ever signed
	proven bool                   // the database has what last says
}

// MemoryError says that the memory cannot be used. Going on without it is for the
// operator to decide.
type MemoryError struct {
	Path string
	Err  error
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%s, the last checkpoint that was signed here, which keeps this key from signing two histories, cannot be used: %v; "+
		"put it back, or remove it if nobody follows what it was about", e.Path, e.Err)
}

// Unwrap returns what is wrong.
func (e *MemoryError) Unwrap() error { return e.Err }

// OpenMemory reads what was signed last of the log of that origin; a missing file is
// a key that has signed nothing. Close gives it free. Errors: *MemoryError,
// durable.ErrLocked, or one of the file system.
func OpenMemory(path, origin string) (*Memory, error) {
	r, err := durable.OpenRecord(nil, path, checkpoint.MaxNote)
	if errors.Is(err, durable.ErrEmpty) || errors.Is(err, durable.ErrTooLong) {
		return nil, &MemoryError{path, err}
	}
	if err != nil {
		return nil, fmt.Errorf("last signed checkpoint: %w", err)
	}
	m := &Memory{record: r}
	if r.Data() == nil {
		return m, nil
	}
	c, err := checkpoint.Peek(r.Data())
	if err == nil && c.Origin != origin {
		err = &checkpoint.OriginError{Origin: c.Origin, Want: origin}
	}
	if err != nil {
		return nil, &MemoryError{path, errors.Join(err, r.Close())}
	}
	m.last = &c
	return m, nil
}

// Close gives the memory free. No Notary may use it any more.
func (m *Memory) Close() error { return m.record.Close() }

// allows says whether c may be signed after what was signed last: it has to be of
// the same history, as far as db can tell, or of a declared epoch. Its error is an *Error.
func (m *Memory) allows(c checkpoint.Checkpoint, db *database.DB) error {
	if m.last == nil {
		return nil
	}
	err := c.Follows(*m.last)
	if err == nil && c.Codec != m.last.Codec {
		err = &checkpoint.CodecError{Codec: c.Codec, Want: m.last.Codec}
	}
	if err == nil && !m.proven && c.Epoch == m.last.Epoch {
		err = m.prove(c, db)
	}
	if err == nil {
		m.proven = true
		return nil
	}
	reason := reasonFork
	if _, back := errors.AsType[*checkpoint.RollbackError](err); back {
		reason = reasonRollback
	} else if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{reason, fmt.Errorf("%w; this key has signed more of another history, or this database has lost commits: put back the newest one, "+
		"or declare what is lost with --epoch %d", err, max(m.last.Epoch, c.Epoch)+1)}
}

// prove looks whether the log of c, which is not shorter, has what was signed last.
// Where that part was pruned nothing can be said.
func (m *Memory) prove(c checkpoint.Checkpoint, db *database.DB) error {
	v, err := db.View()
	if err != nil {
		return &Error{reasonDatabase, err}
	}
	defer v.Close()
	if m.last.Target.End <= v.Start() {
		return nil
	}
	root, err := v.RootAt(m.last.Target.End)
	switch {
	case errors.Is(err, database.ErrNotBoundary), err == nil && root != m.last.Target.Root:
		return &checkpoint.ForkError{Checkpoint: c, Last: *m.last}
	case err != nil:
		return &Error{reasonDatabase, err}
	}
	return nil
}

// keep remembers a signed note, before anybody sees it. One that only says again what
// was said before promises nothing new, and is not written.
func (m *Memory) keep(c checkpoint.Checkpoint, note []byte) error {
	if m.last != nil && m.last.Epoch == c.Epoch && m.last.Target == c.Target {
		return nil
	}
	if err := m.record.Keep(note); err != nil {
		return &Error{reasonMemory, fmt.Errorf("what is signed cannot be remembered, so it is not shown: %w", err)}
	}
	m.last, m.proven = &c, true
	return nil
}
