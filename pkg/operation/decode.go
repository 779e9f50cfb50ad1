package operation

import (
	"encoding/binary"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Decode reads exactly one operation; bytes left over are an error. The
// slices of the result alias b. Errors are *DecodeError.
func (c Codec) Decode(b []byte) (Operation, error) {
	op, n, err := c.parse(b)
	if err != nil {
		return Operation{}, err
	}
	if n != len(b) {
		return Operation{}, &DecodeError{Offset: n, Reason: "bytes left over"}
	}
	return op, nil
}

// Key returns kind and key of a valid operation (one of a Run, or that was
// decoded before), without looking at the rest; the key aliases b and is nil for a commit.
func (c Codec) Key(b []byte) (Kind, []byte) {
	kind, _ := c.KindOf(b)
	if !kind.hasKey() {
		return kind, nil
	}
	width, _ := c.widths()
	if width > 0 {
		return kind, b[1 : 1+width : 1+width]
	}
	key, _, _ := readItem(b, 1, "key", 0, len(b))
	return kind, key
}

// Next is the length in bytes of the first operation of b, which it checks in
// full. Errors are *DecodeError.
func (c Codec) Next(b []byte) (int, error) {
	_, n, err := c.parse(b)
	return n, err
}

// parse reads the first operation of b and returns the number of its bytes.
func (c Codec) parse(b []byte) (Operation, int, error) {
	if c.encoding == Fixed {
		n := c.Size()
		if len(b) < n {
			return Operation{}, 0, &DecodeError{Offset: len(b), Reason: "operation cut short"}
		}
		op, err := c.parseFixed(b[:n:n])
		return op, n, err
	}
	return c.parseVariable(b)
}

// parseFixed reads the operation that is the whole of b.
func (c Codec) parseFixed(b []byte) (Operation, error) {
	kind, ok := c.KindOf(b)
	if !ok {
		return Operation{}, &DecodeError{Reason: "unknown operation tag"}
	}
	k, v := c.widths()
	op := Operation{Kind: kind}
	end := 1
	if kind == Commit {
		slot := b[2 : 2+v : 2+v]
		switch b[1] {
		case 0:
			if !allZero(slot) {
				return Operation{}, &DecodeError{Offset: 2, Reason: "bytes in the slot of absent metadata"}
			}
		case 1:
			op.Value = slot
		default:
			return Operation{}, &DecodeError{Offset: 1, Reason: "option byte neither 0 nor 1"}
		}
		op.Floor = binary.BigEndian.Uint64(b[2+v:])
		if op.Floor > mmr.MaxLeaves {
			return Operation{}, &DecodeError{Offset: 2 + v, Reason: "floor above 2^62"}
		}
		end = 2 + v + 8
	} else {
		if kind.hasKey() {
			op.Key = b[end : end+k : end+k]
			end += k
		}
		if kind.hasValue() {
			op.Value = b[end : end+v : end+v]
			end += v
		}
	}
	if !allZero(b[end:]) {
		return Operation{}, &DecodeError{Offset: end, Reason: "padding is not zero"}
	}
	return op, nil
}

// parseVariable reads the first operation of b and returns its length.
func (c Codec) parseVariable(b []byte) (Operation, int, error) {
	if len(b) == 0 {
		return Operation{}, 0, &DecodeError{Reason: "operation cut short"}
	}
	kind, ok := c.KindOf(b)
	if !ok {
		return Operation{}, 0, &DecodeError{Reason: "unknown operation tag"}
	}
	keyWidth, valueWidth := c.widths()
	maxKey, maxValue, maxOperation := c.limits()
	op := Operation{Kind: kind}
	n := 1
	var err error
	if kind.hasKey() {
		if op.Key, n, err = readItem(b, n, "key", keyWidth, maxKey); err != nil {
			return Operation{}, 0, err
		}
	}
	hasValue, field := kind.hasValue(), "value"
	if kind == Commit {
		if n == len(b) {
			return Operation{}, 0, &DecodeError{Offset: n, Reason: "operation cut short"}
		}
		if b[n] > 1 {
			return Operation{}, 0, &DecodeError{Offset: n, Reason: "option byte neither 0 nor 1"}
		}
		hasValue, field = b[n] == 1, "metadata"
		n++
	}
	if hasValue {
		if op.Value, n, err = readItem(b, n, field, valueWidth, maxValue); err != nil {
			return Operation{}, 0, err
		}
	}
	if kind == Commit {
		floor, m, err := ReadUvarint(b[n:], 64)
		if err != nil {
			return Operation{}, 0, at(n, err)
		}
		if floor > mmr.MaxLeaves {
			return Operation{}, 0, &DecodeError{Offset: n, Reason: "floor above 2^62"}
		}
		op.Floor = floor
		n += m
	}
	if n > maxOperation {
		return Operation{}, 0, &DecodeError{Err: &SizeError{Field: "operation", Size: n, Max: maxOperation}}
	}
	return op, n, nil
}

// readItem reads the key or value at b[n:] and returns where it ends. width 0
// is a byte string behind its length, of at most most bytes.
func readItem(b []byte, n int, field string, width, most int) ([]byte, int, error) {
	size := width
	if width == 0 {
		v, m, err := ReadUvarint(b[n:], 32)
		if err != nil {
			return nil, 0, at(n, err)
		}
		if v > uint64(most) {
			return nil, 0, &DecodeError{Offset: n, Err: &SizeError{Field: field, Size: int(v), Max: most}}
		}
		size = int(v)
		n += m
	}
	if size > len(b)-n {
		return nil, 0, &DecodeError{Offset: len(b), Reason: field + " cut short"}
	}
	end := n + size
	return b[n:end:end], end, nil
}

func allZero(b []byte) bool {
	var or byte
	for _, x := range b {
		or |= x
	}
	return or == 0
}
