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
	// Part is for batches that go under the name of something larger. The zero
	// value: the batch is all there is.
	Part Part
}

// Part says where a batch stands in a sequence of batches under one
// idempotency key. A caller hands the parts in one after the other, and
// the next one only when the last was answered. The sequence has one record:
// how far it came. So it is forgotten as a whole, Options.Remember after its
// last part was committed.
type Part struct {
	Index uint32 // from 0; MaxPart at most
	More  bool   // this is not the last part
	// Fingerprint of a batch covers everything up to and including its part.
	// Prior is that of the part before; zero for the first, and if the Result
	// of the part before says Skipped.
	Prior [32]byte
	// Earlier is what Result.Earlier will say: the sum of Result.Operations of
	// the parts before.
	Earlier uint64
}

// MaxPart is the largest index of a part.
const MaxPart = 1<<31 - 1

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
	// Skipped: a later part of the sequence is known, so this one was committed,
	// if it is the same: that shows when the last part that is known comes. Of
	// the other fields only Replayed is set.
	Skipped bool
	Earlier uint64 // operations of the commits of earlier parts
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
	// ErrKeysFull: as many idempotency keys are remembered as may be. None is
	// forgotten before its time, so batches with a new one are refused until
	// the time of others is over. Nothing was written.
	ErrKeysFull = errors.New("too many idempotency keys are remembered, no new one is taken at the moment")
	// ErrPart: the index of a part is too large, or a part has no idempotency key.
	ErrPart = fmt.Errorf("parts have an idempotency key and an index up to %d", MaxPart)
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
type ReusedError struct {
	Key    string
	Detail string // what is different, if more is to say; "" else
}

func (e *ReusedError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%v: %.300q", ErrReused, e.Key)
	}
	return fmt.Sprintf("%v: %.300q: %s", ErrReused, e.Key, e.Detail)
}

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
	if b.Part.Index > MaxPart || b.Part != (Part{}) && b.IdempotencyKey == "" {
		return 0, ErrPart
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

// memory is about how many bytes a batch holds while it waits.
func (b *Batch) memory() int64 {
	n := int64(requestBytes + len(b.Metadata) + len(b.IdempotencyKey))
	for i := range b.Writes {
		w := &b.Writes[i]
		n += writeBytes + int64(len(w.Key)+len(w.Value)+len(w.IfValue))
	}
	return n
}

const (
	requestBytes = 512
	writeBytes   = 96
)

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
