package committer

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Batch is a set of writes that take effect together or not at all. Its
// slices must not change until Commit has returned, and if it returned because
// its context ended, never.
type Batch struct {
	Writes []Write // of different keys

	// A batch with one of these has a commit of its own.
	Metadata []byte      // carried by the commit; nil: none
	Floor    *uint64     // immutable only: the new inactivity floor; nil: unchanged
	IfRoot   *mmr.Digest // the root that the batch has to be applied to; nil: any

	// IdempotencyKey names the batch, so that handing it in again within
	// Options.Remember gets the first answer; "": it has no name. At most
	// MaxIdempotencyKey bytes. Only batches that were committed are remembered.
	IdempotencyKey string
	// Fingerprint is what tells two batches with the same name apart.
	Fingerprint [32]byte
}

// MaxIdempotencyKey is the longest idempotency key in bytes.
const MaxIdempotencyKey = 512

// Write sets or deletes one key, if at most one condition on what it was
// before the batch holds. Deleting a key that has no value changes nothing.
type Write struct {
	Key, Value []byte
	Delete     bool

	IfAbsent bool   // the key has no value
	IfValue  []byte // it has this value; nil: no condition
	// IfLocation: its value was written at this location; nil: no condition.
	// In a database of family any the locations of live keys change when the
	// floor is raised, so this condition can fail though the value is the same.
	IfLocation *uint64
}

// Result says where a batch is. All batches of a group share it.
type Result struct {
	database.Commit
	Location uint64 // of the commit operation: Size-1
	Replayed bool   // the idempotency key was known: nothing was written again
}

var (
	// ErrClosed: Run has ended; the batch was not committed.
	ErrClosed = errors.New("no batches are taken any more")
	// ErrImmutable: a key of an immutable database has a value already, or is
	// to be deleted.
	ErrImmutable = errors.New("keys of an immutable database are written once and never deleted")
	// ErrDuplicate: a batch writes a key twice.
	ErrDuplicate = errors.New("key is written twice in one batch")
	// ErrConditions: a write has several conditions, or a delete has a value.
	ErrConditions = errors.New("a write has at most one condition, and a delete no value")
	// ErrIdempotencyKey: the idempotency key is too long.
	ErrIdempotencyKey = fmt.Errorf("idempotency key is longer than %d bytes", MaxIdempotencyKey)
	// ErrPrecondition is matched by every *PreconditionError.
	ErrPrecondition = errors.New("precondition failed")
	// ErrReused is matched by every *ReusedError.
	ErrReused = errors.New("idempotency key was used with another batch")
)

// WriteError says which write of a batch is to blame. Unwrap gives ErrImmutable,
// ErrDuplicate, ErrConditions, or an error of package operation.
type WriteError struct {
	Index int // in Batch.Writes
	Key   []byte
	Err   error
}

func (e *WriteError) Error() string { return fmt.Sprintf("write %d: %v", e.Index, e.Err) }

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// Condition names a kind of precondition, as the API does.
type Condition string

// The conditions.
const (
	IfAbsent   Condition = "if_absent"
	IfValue    Condition = "if_value"
	IfLocation Condition = "if_location"
	IfRoot     Condition = "if_root"
)

// PreconditionError says which precondition did not hold, and what was there.
type PreconditionError struct {
	Condition Condition
	Index     int    // in Batch.Writes; -1 for IfRoot
	Key       []byte // nil for IfRoot
	Got       Got
}

// Got is what a precondition met.
type Got struct {
	Found    bool   // the key had a value
	Location uint64 // of the operation that wrote the value; 0 if InGroup
	// InGroup: a batch did it that became part of the same commit, which is
	// made when the error is returned. State is the one before it.
	InGroup bool
	State   State
}

// State is a published state of the database.
type State struct {
	Root               mmr.Digest
	Size, Floor, Start uint64
}

func (e *PreconditionError) Error() string {
	switch {
	case e.Condition == IfRoot:
		return fmt.Sprintf("%s: the root is %s at size %d", e.Condition, e.Got.State.Root, e.Got.State.Size)
	case !e.Got.Found:
		return fmt.Sprintf("%s of write %d: the key has no value", e.Condition, e.Index)
	case e.Got.InGroup:
		return fmt.Sprintf("%s of write %d: the key has a value, written a moment ago", e.Condition, e.Index)
	case e.Condition == IfValue:
		return fmt.Sprintf("%s of write %d: the key has another value, written at location %d", e.Condition, e.Index, e.Got.Location)
	}
	return fmt.Sprintf("%s of write %d: the key has a value, written at location %d", e.Condition, e.Index, e.Got.Location)
}

// Is implements errors.Is.
func (e *PreconditionError) Is(target error) bool { return target == ErrPrecondition }

// ReusedError: the idempotency key names another batch.
type ReusedError struct{ Key string }

func (e *ReusedError) Error() string { return fmt.Sprintf("%v: %.300q", ErrReused, e.Key) }

// Is implements errors.Is.
func (e *ReusedError) Is(target error) bool { return target == ErrReused }

// alone says whether a batch needs a commit of its own.
func (b *Batch) alone() bool { return b.Metadata != nil || b.Floor != nil || b.IfRoot != nil }

// check says whether a batch could be committed to some state, and how many
// bytes its keys and values have.
func (b *Batch) check(c operation.Codec) (bytes int, err error) {
	if len(b.IdempotencyKey) > MaxIdempotencyKey {
		return 0, ErrIdempotencyKey
	}
	immutable := c.Family() == operation.Immutable
	if b.Floor != nil && !immutable {
		return 0, fmt.Errorf("%w: databases of family any choose their own", database.ErrFloor)
	}
	if b.Metadata != nil {
		if err := c.Check(operation.Operation{Kind: operation.Commit, Value: b.Metadata}); err != nil {
			return 0, err
		}
	}
	for i := range b.Writes {
		w := &b.Writes[i]
		if err := w.check(c, immutable); err != nil {
			return 0, &WriteError{i, w.Key, err}
		}
		bytes += len(w.Key) + len(w.Value)
	}
	if i, ok := firstDuplicate(b.Writes); ok {
		return 0, &WriteError{i, b.Writes[i].Key, ErrDuplicate}
	}
	return bytes + len(b.Metadata), nil
}

func (w *Write) check(c operation.Codec, immutable bool) error {
	conditions := 0
	for _, has := range []bool{w.IfAbsent, w.IfValue != nil, w.IfLocation != nil} {
		if has {
			conditions++
		}
	}
	op := operation.Operation{Kind: operation.Update, Key: w.Key, Value: w.Value}
	switch {
	case conditions > 1, w.Delete && len(w.Value) > 0:
		return ErrConditions
	case w.Delete && immutable:
		return ErrImmutable
	case w.Delete:
		op = operation.Operation{Kind: operation.Delete, Key: w.Key}
	case immutable:
		op.Kind = operation.Set
	}
	return c.Check(op)
}

// firstDuplicate finds a write of a key that an earlier one wrote.
func firstDuplicate(writes []Write) (int, bool) {
	if len(writes) < 2 {
		return 0, false
	}
	seen := make(map[string]struct{}, len(writes))
	for i := range writes {
		if _, ok := seen[string(writes[i].Key)]; ok {
			return i, true
		}
		seen[string(writes[i].Key)] = struct{}{}
	}
	return 0, false
}
