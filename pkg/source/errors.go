package source

import (
	"errors"
	"fmt"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// ErrClosed is returned by a source that has been closed.
var ErrClosed = errors.New("source is closed")

// ErrTimeout is matched by errors.Is when a peer did not answer in time.
var ErrTimeout = errors.New("no answer in time")

// TimeoutError says which peer did not answer, and for how long it was waited for.
type TimeoutError struct {
	Peer  string
	After time.Duration
	// Frame is the declared length of a frame that began and did not arrive
	// in time, in bytes; 0 if none began.
	Frame int
}

func (e *TimeoutError) Error() string {
	if e.Frame > 0 {
		return fmt.Sprintf("peer %s: frame of %d bytes not complete after %s", e.Peer, e.Frame, e.After)
	}
	return fmt.Sprintf("peer %s: no answer within %s", e.Peer, e.After)
}

// Is makes every TimeoutError an ErrTimeout.
func (e *TimeoutError) Is(target error) bool { return target == ErrTimeout }

// UnreachableError says that there is no connection to a peer: it could not be
// dialed, or went away with the request unanswered.
type UnreachableError struct {
	Peer string
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("peer %s unreachable: %v", e.Peer, e.Err)
}

// Unwrap returns the error of the connection.
func (e *UnreachableError) Unwrap() error { return e.Err }

// RefusedError is a peer's error reply.
type RefusedError struct {
	Peer string
	Code wire.Code
	Text string // at most some hundred bytes, as the peer wrote it
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("peer %s refused: %s: %q", e.Peer, e.Code, e.Text)
}

// ProtocolError says that a peer broke the protocol. The connection it
// happened on is gone.
type ProtocolError struct {
	Peer   string
	Reason string // a constant phrase: it labels a metric
	Err    error  // details, may be nil
}

func (e *ProtocolError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("peer %s broke the protocol: %s", e.Peer, e.Reason)
	}
	return fmt.Sprintf("peer %s broke the protocol: %s: %v", e.Peer, e.Reason, e.Err)
}

// Unwrap returns the details.
func (e *ProtocolError) Unwrap() error { return e.Err }

// DecodeError says that an answer does not decode with the codec the request
// named, which was a guess: the connection goes on.
type DecodeError struct {
	Peer string
	Err  error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("peer %s: answer does not decode: %v", e.Peer, e.Err)
}

// Unwrap returns what did not decode.
func (e *DecodeError) Unwrap() error { return e.Err }

// The reasons of a ProtocolError.
const (
	reasonFrame       = "bad frame length"
	reasonShort       = "frame without a request id"
	reasonTag         = "unknown tag"
	reasonID          = "unknown request id"
	reasonType        = "wrong type of answer"
	reasonUndecodable = "undecodable answer"
	reasonUnfit       = "answer does not fit its request"
	reasonPush        = "push that nobody asked for"
)

// TooLargeError says that an answer was longer than the request had room for.
// It was skipped; the connection goes on.
type TooLargeError struct {
	Peer    string
	Bytes   int // length of the answer
	Allowed int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("peer %s: answer of %d bytes, room for %d", e.Peer, e.Bytes, e.Allowed)
}

// PeerOf is the peer an error of this package is about, or otherwise.
func PeerOf(err error, otherwise string) string {
	var (
		protocol    *ProtocolError
		unreachable *UnreachableError
		refused     *RefusedError
		large       *TooLargeError
		guess       *DecodeError
		timeout     *TimeoutError
	)
	switch {
	case errors.As(err, &protocol):
		return protocol.Peer
	case errors.As(err, &refused):
		return refused.Peer
	case errors.As(err, &large):
		return large.Peer
	case errors.As(err, &guess):
		return guess.Peer
	case errors.As(err, &unreachable):
		return unreachable.Peer
	case errors.As(err, &timeout):
		return timeout.Peer
	}
	return otherwise
}

// Class is what a caller can do about an error.
type Class uint8

const (
	// Local is the caller's own: an ended context, a closed source, a store.
	Local Class = iota
	// Wrong is a peer that broke the protocol.
	Wrong
	// Slow is a peer that is slow or gone: back off, try another.
	Slow
	// Refused is a peer that answers, but not this request: ask for something else.
	Refused
)

func (c Class) String() string {
	switch c {
	case Wrong:
		return "wrong"
	case Slow:
		return "slow"
	case Refused:
		return "refused"
	}
	return "local"
}

// ContradictionError says that two signed targets contradict each other: they are of
// one epoch and give one size different roots. Their notes prove it to anybody.
type ContradictionError struct{ Target, Last Target }

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("two signed targets of %s contradict each other: at size %d one has the root %s, the other %s", e.Target.Peer, e.Target.End, e.Target.Root, e.Last.Root)
}

// Class is that of errors that trying again may end.
func (e *ContradictionError) Class() Class { return Slow }

// Classify sorts the errors of this package, and those that say by a method Class
// what they are; whatever it does not know is Local.
func Classify(err error) Class {
	var (
		classed interface {
			error
			Class() Class
		}
		protocol    *ProtocolError
		unreachable *UnreachableError
		refused     *RefusedError
		large       *TooLargeError
		guess       *DecodeError
	)
	switch {
	case errors.As(err, &classed):
		return classed.Class()
	case errors.As(err, &protocol), errors.As(err, &guess):
		return Wrong
	case errors.Is(err, ErrTimeout), errors.As(err, &unreachable):
		return Slow
	case errors.As(err, &refused), errors.As(err, &large):
		return Refused
	}
	return Local
}
