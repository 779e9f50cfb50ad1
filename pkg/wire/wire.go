// Package wire is the TCP protocol of the log: frames, the messages in them,
// targets and proofs as bytes (format.md sections 2, 4 and 5).
//
// It turns bytes into values and back, and tells whether an answer belongs to
// its request. It opens no connections, keeps no state and verifies no digests.
//
//	stream --ReadFrame--> payload --Decode--> Message --Answers--> mmr.Proof, operation.Run
//	Message --AppendFrame--> stream
//
// Everything read comes from a peer that may lie: counts are compared with
// their cap and with the bytes that are there before memory is allocated.
package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/proofsync/proofsync/pkg/mmr"
)

const (
	// MaxFrame is the largest length of a frame's message in bytes, inclusive.
	MaxFrame = 10 << 20
	// MaxOperations is the most operations a decoder accepts in an answer.
	MaxOperations = 10_000
	// MaxDigests is the most digests a decoder accepts in a proof.
	MaxDigests = 10_000
	// MaxPins is the most pinned nodes a decoder accepts.
	MaxPins = 64
)

var (
	// ErrDecode is matched by every error about a message, proof or target
	// that does not decode. The frame around it was whole: the stream can go on.
	ErrDecode = errors.New("invalid message")
	// ErrFrame is matched by every error about a length prefix that a stream
	// cannot be continued after.
	ErrFrame = errors.New("invalid frame")
	// ErrFrameTooLarge is matched by the errors about frames above their cap.
	ErrFrameTooLarge = errors.New("frame too large")
	// ErrAnswer is matched by every error about an answer that does not
	// belong to its request.
	ErrAnswer = errors.New("not an answer to the request")
)

// DecodeError tells why bytes were rejected. It matches ErrDecode.
type DecodeError struct {
	Reason string // lower case
	Err    error  // the cause, if it has a type of its own (*operation.DecodeError)
}

func (e *DecodeError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("invalid message: %s: %v", e.Reason, e.Err)
	}
	return "invalid message: " + e.Reason
}

// Is implements errors.Is.
func (e *DecodeError) Is(target error) bool { return target == ErrDecode }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

func decodeErrorf(format string, args ...any) error {
	return &DecodeError{Reason: fmt.Sprintf(format, args...)}
}

// FrameError is a frame that must not be read, or written. It matches
// ErrFrame, and ErrFrameTooLarge if Max is set.
type FrameError struct {
	Reason string
	Length uint64 // the declared length, 0 if there is none
	Max    int    // the cap it passed, 0 if something else is wrong
}

func (e *FrameError) Error() string {
	if e.Max > 0 {
		return fmt.Sprintf("frame too large: %d bytes, at most %d", e.Length, e.Max)
	}
	return "invalid frame: " + e.Reason
}

// Is implements errors.Is.
func (e *FrameError) Is(target error) bool {
	return target == ErrFrame || target == ErrFrameTooLarge && e.Max > 0
}

// AnswerError tells why an answer does not belong to its request. It matches
// ErrAnswer.
type AnswerError struct{ Reason string }

func (e *AnswerError) Error() string { return "not an answer to the request: " + e.Reason }

// Is implements errors.Is.
func (e *AnswerError) Is(target error) bool { return target == ErrAnswer }

func answerErrorf(format string, args ...any) error {
	return &AnswerError{fmt.Sprintf(format, args...)}
}

// Code says what an Error message is about.
type Code uint8

// The codes of format.md section 5.
const (
	InvalidRequest Code = iota // the request makes no sense, here or at all
	Database                   // the server's database does not hold what was asked for
	Network
	StaleTarget // the target asked about is no longer the current one
	Timeout
	Internal
)

var codes = [...]string{
	InvalidRequest: "invalid request", Database: "database", Network: "network",
	StaleTarget: "stale target", Timeout: "timeout", Internal: "internal",
}

func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// Target is what a full sync aims at: the root of the log of End operations,
// of which [Start, End) are to be fetched. Start < End <= 2^62.
type Target struct {
	Root       mmr.Digest
	Start, End uint64
}

// String is "root:start:end".
func (t Target) String() string { return fmt.Sprintf("%s:%d:%d", t.Root, t.Start, t.End) }

// ParseTarget reads what String writes. Its errors match ErrDecode.
func ParseTarget(s string) (t Target, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return t, decodeErrorf("%.200q: ROOT:START:END expected", s)
	}
	if t.Root, err = mmr.ParseDigest(parts[0]); err != nil {
		return Target{}, decodeErrorf("root %.80q: %d hexadecimal digits expected", parts[0], 2*mmr.DigestSize)
	}
	for i, n := range []*uint64{&t.Start, &t.End} {
		if *n, err = strconv.ParseUint(parts[i+1], 10, 64); err != nil {
			return Target{}, decodeErrorf("%.40q: a location expected", parts[i+1])
		}
	}
	return t, t.Validate()
}

// MarshalText is String, so that logs have the same word in every format.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Validate checks the range; its errors match ErrDecode.
func (t Target) Validate() error {
	switch {
	case t.End > mmr.MaxLeaves:
		return decodeErrorf("target ends at %d, at most 2^62", t.End)
	case t.Start >= t.End:
		return decodeErrorf("empty target range [%d, %d)", t.Start, t.End)
	}
	return nil
}

// CompactTarget is what a compact sync aims at: the root of the log of Leaves
// operations, 1 <= Leaves <= 2^62.
type CompactTarget struct {
	Root   mmr.Digest
	Leaves uint64
}

// String is "root:leaves".
func (t CompactTarget) String() string { return fmt.Sprintf("%s:%d", t.Root, t.Leaves) }

// MarshalText is String, so that logs have the same word in every format.
func (t CompactTarget) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Validate checks the size; its errors match ErrDecode.
func (t CompactTarget) Validate() error {
	if t.Leaves == 0 || t.Leaves > mmr.MaxLeaves {
		return decodeErrorf("compact target of %d leaves, 1 to 2^62 expected", t.Leaves)
	}
	return nil
}
