package wire

import "github.com/proofsync/proofsync/pkg/operation"

// Tags of this module's own messages (docs/format.md section 5). They are far
// from those of the protocol they extend, which may grow. A peer that does not
// know them drops such a frame without an answer, like any it cannot decode.
const (
	TagSubscribe  byte = 0xc0
	TagTargetPush byte = 0xc1
)

// Features are what two peers agreed to use beyond the messages themselves, a
// bit each. None is defined yet. A requester names those it knows, the answer
// those of them that are in use: unknown bits in a request are no error, bits
// in an answer that were not asked for are.
type Features uint64

// Subscribe asks for the targets of the log as they are published. The answer
// is a TargetPush with the newest one, at once; more of them follow for as long
// as the connection lasts. A connection has one subscription: a second one
// takes the place of the first.
type Subscribe struct {
	ID uint64
	// Features are those the subscriber knows.
	Features Features
}

// TargetPush is a target under a subscription. Not every target is pushed: to
// a reader that is slower than the log grows only the newest.
type TargetPush struct {
	// ID is that of the subscription.
	ID uint64
	// Features are those in use, of those that were asked for.
	Features Features
	Target   Target
}

// Tag implements Message.
func (*Subscribe) Tag() byte  { return TagSubscribe }
func (*TargetPush) Tag() byte { return TagTargetPush }

// RequestID implements Message.
func (m *Subscribe) RequestID() uint64  { return m.ID }
func (m *TargetPush) RequestID() uint64 { return m.ID }

// AppendTo implements Message.
func (m *Subscribe) AppendTo(dst []byte) []byte {
	return operation.AppendUvarint(appendHeader(dst, m.Tag(), m.ID), uint64(m.Features))
}

// AppendTo implements Message.
func (m *TargetPush) AppendTo(dst []byte) []byte {
	dst = operation.AppendUvarint(appendHeader(dst, m.Tag(), m.ID), uint64(m.Features))
	return m.Target.AppendTo(dst)
}

// MaxPush is the length in bytes of the longest TargetPush, without its frame.
const MaxPush = 1 + 8 + 10 + 32 + 9 + 9

// Extension says whether a tag is one of this module's own.
func Extension(tag byte) bool { return tag == TagSubscribe || tag == TagTargetPush }
