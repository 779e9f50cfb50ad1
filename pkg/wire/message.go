package wire

import (
	"encoding/binary"
	"strings"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Tags of the messages (format.md section 5).
const (
	TagGetOperations byte = iota
	TagOperations
	TagGetTarget
	TagTargetReply
	TagGetCompactTarget
	TagCompactTargetReply
	TagGetCompactState
	TagCompactState
	TagError
)

// Message is one message, requests and replies alike. The message types are
// passed by pointer.
type Message interface {
	// Tag is the first byte of the message.
	Tag() byte
	// RequestID is the number the requester chose; replies echo it.
	RequestID() uint64
	// AppendTo appends tag and body, without a frame.
	AppendTo(dst []byte) []byte
}

// GetOperations asks for operations from Start on, with the proof against the
// log of Size operations. Size and Start are at most 2^62.
type GetOperations struct {
	ID   uint64
	Size uint64
	// Start is the location of the first operation wanted.
	Start uint64
	// Max is the most operations wanted, not 0.
	Max uint64
	// Pins asks for the pinned nodes of Start too.
	Pins bool
}

// Operations answers GetOperations.
type Operations struct {
	ID    uint64
	Proof mmr.Proof
	// Run aliases the payload it was decoded from.
	Run operation.Run
	// Pins are the pinned nodes of the requested start, oldest first; there
	// are none at start 0, so HasPins tells whether they came.
	Pins    []mmr.Digest
	HasPins bool
}

// GetTarget asks for the current target.
type GetTarget struct{ ID uint64 }

// TargetReply answers GetTarget.
type TargetReply struct {
	ID     uint64
	Target Target
}

// GetCompactTarget asks for the current target of a compact sync.
type GetCompactTarget struct{ ID uint64 }

// CompactTargetReply answers GetCompactTarget.
type CompactTargetReply struct {
	ID     uint64
	Target CompactTarget
}

// GetCompactState asks for the frontier of the log at a target.
type GetCompactState struct {
	ID     uint64
	Target CompactTarget
}

// CompactState answers GetCompactState: the peaks of the log of Leaves
// operations and its last operation with its proof.
type CompactState struct {
	ID     uint64
	Leaves uint64
	Pins   []mmr.Digest
	// Commit is the last operation; it aliases the payload it was decoded from.
	Commit operation.Run
	Proof  mmr.Proof
}

// Error refuses a request.
type Error struct {
	ID   uint64
	Code Code
	// Text is for people and not part of any contract. Peers refuse text
	// that is not UTF-8, so AppendTo replaces what is not.
	Text string
}

// Tag implements Message.
func (*GetOperations) Tag() byte      { return TagGetOperations }
func (*Operations) Tag() byte         { return TagOperations }
func (*GetTarget) Tag() byte          { return TagGetTarget }
func (*TargetReply) Tag() byte        { return TagTargetReply }
func (*GetCompactTarget) Tag() byte   { return TagGetCompactTarget }
func (*CompactTargetReply) Tag() byte { return TagCompactTargetReply }
func (*GetCompactState) Tag() byte    { return TagGetCompactState }
func (*CompactState) Tag() byte       { return TagCompactState }
func (*Error) Tag() byte              { return TagError }

// RequestID implements Message.
func (m *GetOperations) RequestID() uint64      { return m.ID }
func (m *Operations) RequestID() uint64         { return m.ID }
func (m *GetTarget) RequestID() uint64          { return m.ID }
func (m *TargetReply) RequestID() uint64        { return m.ID }
func (m *GetCompactTarget) RequestID() uint64   { return m.ID }
func (m *CompactTargetReply) RequestID() uint64 { return m.ID }
func (m *GetCompactState) RequestID() uint64    { return m.ID }
func (m *CompactState) RequestID() uint64       { return m.ID }
func (m *Error) RequestID() uint64              { return m.ID }

func appendHeader(dst []byte, tag byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tag), id)
}

// AppendTo implements Message.
func (m *GetOperations) AppendTo(dst []byte) []byte {
	dst = appendHeader(dst, m.Tag(), m.ID)
	dst = operation.AppendUvarint(dst, m.Size)
	dst = operation.AppendUvarint(dst, m.Start)
	dst = binary.BigEndian.AppendUint64(dst, m.Max)
	return append(dst, boolByte(m.Pins))
}

// AppendTo implements Message.
func (m *Operations) AppendTo(dst []byte) []byte {
	return AppendOperationsReply(dst, m.ID, m.Proof, m.Run.Len(), m.Run.Bytes(), m.Pins, m.HasPins)
}

// AppendOperationsReply appends an Operations message made of its parts: ops
// are count encoded operations, one after the other. It lets a server send
// stored bytes without decoding them.
func AppendOperationsReply(dst []byte, id uint64, p mmr.Proof, count int, ops []byte, pins []mmr.Digest, hasPins bool) []byte {
	dst = appendHeader(dst, TagOperations, id)
	dst = AppendProof(dst, p)
	dst = operation.AppendUvarint(dst, uint64(count))
	dst = append(dst, ops...)
	dst = append(dst, boolByte(hasPins))
	if hasPins {
		dst = appendDigests(dst, pins)
	}
	return dst
}

// operationsReplySize is the length of what AppendOperationsReply appends.
func operationsReplySize(p mmr.Proof, count int, ops []byte, pins []mmr.Digest, hasPins bool) int {
	n := 1 + 8 + operation.UvarintLen(p.Leaves) + operation.UvarintLen(p.InactivePeaks) + digestsSize(p.Digests)
	n += operation.UvarintLen(uint64(count)) + len(ops) + 1
	if hasPins {
		n += digestsSize(pins)
	}
	return n
}

func digestsSize(ds []mmr.Digest) int {
	return operation.UvarintLen(uint64(len(ds))) + len(ds)*mmr.DigestSize
}

// AppendTo implements Message.
func (m *GetTarget) AppendTo(dst []byte) []byte { return appendHeader(dst, m.Tag(), m.ID) }

// AppendTo implements Message.
func (m *TargetReply) AppendTo(dst []byte) []byte {
	return m.Target.AppendTo(appendHeader(dst, m.Tag(), m.ID))
}

// AppendTo implements Message.
func (m *GetCompactTarget) AppendTo(dst []byte) []byte { return appendHeader(dst, m.Tag(), m.ID) }

// AppendTo implements Message.
func (m *CompactTargetReply) AppendTo(dst []byte) []byte {
	return m.Target.AppendTo(appendHeader(dst, m.Tag(), m.ID))
}

// AppendTo implements Message.
func (m *GetCompactState) AppendTo(dst []byte) []byte {
	return m.Target.AppendTo(appendHeader(dst, m.Tag(), m.ID))
}

// AppendTo implements Message.
func (m *CompactState) AppendTo(dst []byte) []byte {
	dst = appendHeader(dst, m.Tag(), m.ID)
	dst = operation.AppendUvarint(dst, m.Leaves)
	dst = appendDigests(dst, m.Pins)
	dst = append(dst, m.Commit.Bytes()...)
	return AppendProof(dst, m.Proof)
}

// AppendTo implements Message.
func (m *Error) AppendTo(dst []byte) []byte {
	dst = append(appendHeader(dst, m.Tag(), m.ID), byte(m.Code))
	text := strings.ToValidUTF8(m.Text, "\uFFFD")
	dst = operation.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// AppendTo appends the encoding of the target (format.md section 4).
func (t Target) AppendTo(dst []byte) []byte {
	dst = append(dst, t.Root[:]...)
	dst = operation.AppendUvarint(dst, t.Start)
	return operation.AppendUvarint(dst, t.End)
}

// AppendTo appends the encoding of the target (format.md section 4).
func (t CompactTarget) AppendTo(dst []byte) []byte {
	return operation.AppendUvarint(append(dst, t.Root[:]...), t.Leaves)
}

// AppendProof appends the encoding of a proof (format.md section 2).
func AppendProof(dst []byte, p mmr.Proof) []byte {
	dst = operation.AppendUvarint(dst, p.Leaves)
	dst = operation.AppendUvarint(dst, p.InactivePeaks)
	return appendDigests(dst, p.Digests)
}

func appendDigests(dst []byte, ds []mmr.Digest) []byte {
	dst = operation.AppendUvarint(dst, uint64(len(ds)))
	for i := range ds {
		dst = append(dst, ds[i][:]...)
	}
	return dst
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
