package verify

import (
	"errors"
	"fmt"
)

// ErrProof is matched by every error that says that an answer was not proven.
var ErrProof = errors.New("not proven")

// Reason says what a caller can do about an answer that was not proven.
type Reason string

// The reasons.
const (
	// ReasonTrust: the trusted Root is incomplete, and the answer was not
	// looked at. That is a mistake of the caller, not of who answered.
	ReasonTrust Reason = "trust"
	// ReasonMissing: the answer carries no proof; ask for one with proof=true.
	ReasonMissing Reason = "missing"
	// ReasonUnsupported: kind, family or encoding of the proof is not known
	// here. It may be sound: a newer version of this package could tell.
	ReasonUnsupported Reason = "unsupported"
	// ReasonRoot: the answer is about another root or size than the trusted
	// one. With another size it is older or newer; with another root of the
	// same size somebody's history is a different one.
	ReasonRoot Reason = "root"
	// ReasonMalformed: something does not parse or has an impossible length.
	ReasonMalformed Reason = "malformed"
	// ReasonDigests: the proof does not lead to the trusted root.
	ReasonDigests Reason = "digests"
	// ReasonAnswer: the proof is sound, but proves something else than the
	// answer says; or it reads its operations in another family or encoding
	// than those of the trusted log.
	ReasonAnswer Reason = "answer"
)

// Error tells why an answer was not proven. It matches ErrProof, and wraps the
// cause where that has a type of its own: *UnsupportedError, mmr.ProofError,
// operation.DecodeError.
type Error struct {
	Reason Reason
	Detail string // for people; may be empty if Err is there
	Err    error
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return "not proven: " + e.Detail
	case e.Detail == "":
		return fmt.Sprintf("not proven: %v", e.Err)
	}
	return fmt.Sprintf("not proven: %s: %v", e.Detail, e.Err)
}

// Is implements errors.Is.
func (e *Error) Is(target error) bool { return target == ErrProof }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// UnsupportedError is a kind of proof that this package does not know.
type UnsupportedError struct{ Kind string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("proofs of the kind %.40q are not known here", e.Kind)
}

func missing() error {
	return &Error{Reason: ReasonMissing, Detail: "the answer carries no proof: ask for it with ?proof=true"}
}

func malformed(format string, args ...any) error {
	return &Error{Reason: ReasonMalformed, Detail: fmt.Sprintf(format, args...)}
}

func differs(format string, args ...any) error {
	return &Error{Reason: ReasonAnswer, Detail: fmt.Sprintf(format, args...)}
}
