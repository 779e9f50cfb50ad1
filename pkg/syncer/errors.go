package syncer

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

// LocalError is a failure of our own storage. It is the only kind that ends a
// continuous Run: no source could help.
type LocalError struct {
	Op  string // what was being done
	Err error
}

func (e *LocalError) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap returns the storage's error.
func (e *LocalError) Unwrap() error { return e.Err }

func local(op string, err error) error { return &LocalError{op, err} }

// ForkError says that the source's history is not a continuation of ours, and
// proves it.
type ForkError struct {
	Peer   string
	Target wire.Target // the source's, proven by it
	// Location is the number of operations at which both histories were
	// compared; Root is our root there, zero when only peaks were compared.
	Location uint64
	Root     mmr.Digest
	// Evidence is the path of the file with the proof: of this fork, or of
	// another one of the peer found within the same minute. Empty if it could
	// not be kept.
	Evidence string
	// Signed says that the target is a signed one, of Epoch; the database is of
	// LocalEpoch. Only a higher epoch is followed, and only with Rebuild.
	Signed            bool
	Epoch, LocalEpoch uint64
	// Contradiction says that two signed targets of the peer prove the fork.
	Contradiction bool
}

func (e *ForkError) Error() string {
	switch {
	case e.Contradiction:
		return fmt.Sprintf("fork: two signed targets of %s contradict each other at size %d (one is %s): nothing is followed, show the evidence to whoever holds the key", e.Peer, e.Location, e.Target)
	case e.Signed && e.Location == e.Target.End && e.Root == e.Target.Root:
		return fmt.Sprintf("fork: in epoch %d the log of %s ends at %d, this replica of epoch %d holds more (the target is %s)", e.Epoch, e.Peer, e.Location, e.LocalEpoch, e.Target)
	case e.Signed && e.Epoch > e.LocalEpoch:
		return fmt.Sprintf("fork: the history of epoch %d of %s up to %d is not that of epoch %d, which is held here (the target is %s)", e.Epoch, e.Peer, e.Location, e.LocalEpoch, e.Target)
	case e.Signed:
		return fmt.Sprintf("fork: the signed history that %s serves is not ours up to %d, and no new epoch was declared (the target is %s): it is not followed", e.Peer, e.Location, e.Target)
	}
	return fmt.Sprintf("fork: the history of %s up to %d is not ours (its target is %s)", e.Peer, e.Location, e.Target)
}

// MismatchError says that the source's log is of another family or encoding.
type MismatchError struct {
	Peer          string
	Local, Remote operation.Codec
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("mismatch: this replica is %s, the log of %s is %s", e.Local, e.Peer, e.Remote)
}

// IncomparableError says that the source's target ends where, or before, what
// is retained here begins: whether it is of our history cannot be told. A
// source that was reset looks like this.
type IncomparableError struct {
	Peer   string
	Target wire.Target
	Start  uint64 // first location retained here
	Size   uint64 // ours
}

func (e *IncomparableError) Error() string {
	return fmt.Sprintf("incomparable: the target of %s ends at %d, this replica retains [%d, %d)", e.Peer, e.Target.End, e.Start, e.Size)
}

// VerificationError says that an answer of a peer was refuted.
type VerificationError struct {
	Peer    string
	Request source.Request
	Err     error
}

func (e *VerificationError) Error() string {
	return fmt.Sprintf("answer of %s to [%d, %d) of %d refuted: %v",
		e.Peer, e.Request.Start, e.Request.Start+e.Request.Max, e.Request.Size, e.Err)
}

// Unwrap returns what was wrong.
func (e *VerificationError) Unwrap() error { return e.Err }

// TargetError says that a target contradicts the log it names: everything
// verified, and yet its last operation cannot end it.
type TargetError struct {
	Target source.Target
	Reason string
}

func (e *TargetError) Error() string {
	return fmt.Sprintf("target %s of %s is impossible: %s", e.Target, e.Target.Peer, e.Reason)
}

// refusesSize says whether err is the refusal of an operation or of a size that
// the source does not have, or not any more: asking again is of no use.
func refusesSize(err error) bool {
	refused, ok := errors.AsType[*source.RefusedError](err)
	return ok && (refused.Code == wire.Database || refused.Code == wire.StaleTarget || refused.Code == wire.InvalidRequest)
}

// classify extends source.Classify by the errors of verification.
func classify(err error) source.Class {
	var (
		verification *VerificationError
		target       *TargetError
		localErr     *LocalError
	)
	switch {
	case errors.As(err, &localErr):
		return source.Local
	case errors.As(err, &verification), errors.As(err, &target):
		return source.Wrong
	}
	return source.Classify(err)
}
