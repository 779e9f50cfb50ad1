package wire

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Peek reads tag and request id from the front of a payload. It is false for
// payloads that are too short; the tag may be one that Decode does not know.
func Peek(payload []byte) (tag byte, id uint64, ok bool) {
	if len(payload) < 9 {
		return 0, 0, false
	}
	return payload[0], binary.BigEndian.Uint64(payload[1:]), true
}

// Decode reads the message that is the whole of payload, with the operations
// of one codec. The result aliases payload, which must not change while it is
// in use. Errors are *DecodeError.
func Decode(payload []byte, c operation.Codec) (Message, error) {
	r := reader{b: payload}
	tag, id := r.byte(), r.uint64()
	var m Message
	switch tag {
	case TagGetOperations:
		q := &GetOperations{ID: id, Size: r.location(), Start: r.location(), Max: r.uint64(), Pins: r.byte() != 0}
		if q.Max == 0 {
			r.fail("no operations asked for")
		}
		m = q
	case TagOperations:
		a := &Operations{ID: id, Proof: r.proof()}
		a.Run = r.operations(c, r.count(MaxOperations))
		if a.HasPins = r.byte() != 0; a.HasPins {
			a.Pins = r.digests(MaxPins)
		}
		m = a
	case TagGetTarget:
		m = &GetTarget{ID: id}
	case TagTargetReply:
		m = &TargetReply{ID: id, Target: r.target()}
	case TagGetCompactTarget:
		m = &GetCompactTarget{ID: id}
	case TagCompactTargetReply:
		m = &CompactTargetReply{ID: id, Target: r.compactTarget()}
	case TagGetCompactState:
		m = &GetCompactState{ID: id, Target: r.compactTarget()}
	case TagCompactState:
		m = &CompactState{ID: id, Leaves: r.location(), Pins: r.digests(MaxPins), Commit: r.operations(c, 1), Proof: r.proof()}
	case TagError:
		m = &Error{ID: id, Code: r.code(), Text: r.text()}
	case TagSubscribe:
		m = &Subscribe{ID: id, Features: Features(r.uvarint(64))}
	case TagTargetPush:
		m = &TargetPush{ID: id, Features: Features(r.uvarint(64)), Target: r.target()}
	default:
		r.fail("unknown tag")
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// DecodeProof reads a proof from the front of b and returns the rest. Errors
// are *DecodeError.
func DecodeProof(b []byte) (p mmr.Proof, rest []byte, err error) {
	r := reader{b: b}
	if p = r.proof(); r.err != nil {
		return mmr.Proof{}, nil, r.err
	}
	return p, r.b, nil
}

// DecodeTarget reads a target from the front of b and returns the rest.
// Errors are *DecodeError.
func DecodeTarget(b []byte) (t Target, rest []byte, err error) {
	r := reader{b: b}
	if t = r.target(); r.err != nil {
		return Target{}, nil, r.err
	}
	return t, r.b, nil
}

// DecodeCompactTarget reads a compact target from the front of b and returns
// the rest. Errors are *DecodeError.
func DecodeCompactTarget(b []byte) (t CompactTarget, rest []byte, err error) {
	r := reader{b: b}
	if t = r.compactTarget(); r.err != nil {
		return CompactTarget{}, nil, r.err
	}
	return t, r.b, nil
}

// reader takes values off the front of b. After the first error it returns
// zero values and keeps that error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(reason string) { r.failWith(&DecodeError{Reason: reason}) }

func (r *reader) failWith(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// take is the next n bytes, nil if they are not there.
func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.fail("message cut short")
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint(bits int) uint64 {
	if r.err != nil {
		return 0
	}
	v, n, err := operation.ReadUvarint(r.b, bits)
	if err != nil {
		r.failWith(&DecodeError{Reason: "number", Err: err})
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) location() uint64 {
	v := r.uvarint(64)
	if v > mmr.MaxLeaves {
		r.fail("location above 2^62")
		return 0
	}
	return v
}

// count is the length of a list: at most most, and at most one item for each
// byte that is left, whatever the items are.
func (r *reader) count(most int) int {
	v := r.uvarint(32)
	switch {
	case v > uint64(most):
		r.failWith(decodeErrorf("list of %d items, at most %d", v, most))
		return 0
	case v > uint64(len(r.b)):
		r.fail("list longer than the message")
		return 0
	}
	return int(v)
}

func (r *reader) digest() (d mmr.Digest) {
	copy(d[:], r.take(mmr.DigestSize))
	return d
}

// digests is not nil, unless there was an error: an empty list was sent.
func (r *reader) digests(most int) []mmr.Digest {
	b := r.take(r.count(most) * mmr.DigestSize)
	if b == nil {
		return nil
	}
	ds := make([]mmr.Digest, len(b)/mmr.DigestSize)
	for i := range ds {
		copy(ds[i][:], b[i*mmr.DigestSize:])
	}
	return ds
}

func (r *reader) proof() mmr.Proof {
	return mmr.Proof{Leaves: r.location(), InactivePeaks: r.uvarint(64), Digests: r.digests(MaxDigests)}
}

func (r *reader) target() Target {
	t := Target{Root: r.digest(), Start: r.location(), End: r.location()}
	if r.err == nil {
		if err := t.Validate(); err != nil {
			r.failWith(err)
		}
	}
	return t
}

func (r *reader) compactTarget() CompactTarget {
	t := CompactTarget{Root: r.digest(), Leaves: r.location()}
	if r.err == nil {
		if err := t.Validate(); err != nil {
			r.failWith(err)
		}
	}
	return t
}

func (r *reader) operations(c operation.Codec, count int) operation.Run {
	if r.err != nil {
		return operation.Run{}
	}
	run, rest, err := c.Split(r.b, count)
	if err != nil {
		r.failWith(&DecodeError{Reason: "operations", Err: err})
		return operation.Run{}
	}
	r.b = rest
	return run
}

func (r *reader) code() Code {
	c := Code(r.byte())
	if c > Internal {
		r.failWith(decodeErrorf("unknown error code %d", uint8(c)))
	}
	return c
}

func (r *reader) text() string {
	b := r.take(r.count(MaxFrame))
	if !utf8.Valid(b) {
		r.fail("text is not utf-8")
	}
	return string(b)
}

// end is the first error, or one for bytes left over.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.failWith(decodeErrorf("%d bytes left over", len(r.b)))
	}
	return r.err
}
