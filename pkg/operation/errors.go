package operation

import (
	"errors"
	"fmt"
)

var (
	// ErrDecode is matched by every error about bytes that do not decode.
	ErrDecode = errors.New("invalid operation bytes")
	// ErrKind: the family has no such operation, or the operation has a
	// field that its kind does not carry.
	ErrKind = errors.New("invalid kind of operation")
	// ErrKeySize: the key has a length the codec does not take.
	ErrKeySize = errors.New("invalid key size")
	// ErrValueSize: the value, or the metadata, has a length the codec does
	// not take.
	ErrValueSize = errors.New("invalid value size")
	// ErrTooLarge: a byte string or the whole operation is above its cap.
	ErrTooLarge = errors.New("too large")
	// ErrFloor: the floor is above 2^62.
	ErrFloor = errors.New("invalid floor")
)

// SizeError is a key, value, metadata or operation of a length that the codec
// does not take. It matches ErrKeySize or ErrValueSize according to Field, and
// ErrTooLarge when a cap was passed.
type SizeError struct {
	Field string // "key", "value", "metadata", "operation"
	Size  int    // its length in bytes
	Want  int    // the only length allowed, 0 if there is none
	Max   int    // the cap that was passed, 0 if Want is given
}

func (e *SizeError) Error() string {
	if e.Want > 0 {
		return fmt.Sprintf("%s of %d bytes, exactly %d expected", e.Field, e.Size, e.Want)
	}
	return fmt.Sprintf("%s of %d bytes, at most %d", e.Field, e.Size, e.Max)
}

// Is implements errors.Is.
func (e *SizeError) Is(target error) bool {
	switch target {
	case ErrTooLarge:
		return e.Max > 0
	case ErrKeySize:
		return e.Field == "key"
	case ErrValueSize:
		return e.Field == "value" || e.Field == "metadata"
	}
	return false
}

// DecodeError tells why bytes were rejected. It matches ErrDecode.
type DecodeError struct {
	Offset int    // where in the input, in bytes, the rejected part begins
	Reason string // lower case
	Err    error  // the cause, if it has a type of its own (a *SizeError)
}

func (e *DecodeError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("invalid operation bytes at %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("invalid operation bytes at %d: %s", e.Offset, e.Reason)
}

// Is implements errors.Is.
func (e *DecodeError) Is(target error) bool { return target == ErrDecode }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// at moves the offset of a decoding error by n bytes.
func at(n int, err error) error {
	var d *DecodeError
	if n != 0 && errors.As(err, &d) {
		d.Offset += n
	}
	return err
}
