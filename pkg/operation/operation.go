package operation

import (
	"encoding/binary"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Kind tells what an operation does.
type Kind uint8

const (
	// Update gives a key of an any log a value.
	Update Kind = iota
	// Delete removes a key of an any log.
	Delete
	// Set gives a key of an immutable log its value.
	Set
	// Append adds a value to a keyless log.
	Append
	// Commit ends a batch in every family.
	Commit
)

var kinds = [...]string{Update: "update", Delete: "delete", Set: "set", Append: "append", Commit: "commit"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Operation is a decoded entry of the log. Fields that its kind does not
// carry are nil and zero.
type Operation struct {
	Kind Kind
	Key  []byte // Update, Delete, Set
	// Value of Update, Set and Append. Of a Commit it is the metadata: nil
	// is none, empty and not nil is metadata of no bytes.
	Value []byte
	// Floor is the inactivity floor a Commit declares, at most 2^62.
	Floor uint64
}

// Tags of the operations (format.md section 3).
const (
	tagAnyDelete = 0xD1
	tagAnyUpdate = 0xD2
	tagAnyCommit = 0xD3

	tagImmutableSet    = 0x00
	tagImmutableCommit = 0x01

	tagKeylessCommit = 0x00
	tagKeylessAppend = 0x01
)

// KindOf reads the kind of an encoded operation from its tag alone. It is
// false for no bytes and for a tag the family does not have.
func (c Codec) KindOf(b []byte) (Kind, bool) {
	if len(b) == 0 {
		return 0, false
	}
	switch c.family {
	case Any:
		switch b[0] {
		case tagAnyUpdate:
			return Update, true
		case tagAnyDelete:
			return Delete, true
		case tagAnyCommit:
			return Commit, true
		}
	case Immutable:
		switch b[0] {
		case tagImmutableSet:
			return Set, true
		case tagImmutableCommit:
			return Commit, true
		}
	case Keyless:
		switch b[0] {
		case tagKeylessAppend:
			return Append, true
		case tagKeylessCommit:
			return Commit, true
		}
	}
	return 0, false
}

// tag is the reverse of KindOf.
func (c Codec) tag(k Kind) (byte, bool) {
	switch c.family {
	case Any:
		switch k {
		case Update:
			return tagAnyUpdate, true
		case Delete:
			return tagAnyDelete, true
		case Commit:
			return tagAnyCommit, true
		}
	case Immutable:
		switch k {
		case Set:
			return tagImmutableSet, true
		case Commit:
			return tagImmutableCommit, true
		}
	case Keyless:
		switch k {
		case Append:
			return tagKeylessAppend, true
		case Commit:
			return tagKeylessCommit, true
		}
	}
	return 0, false
}

// hasKey and hasValue say which items a kind always carries.
func (k Kind) hasKey() bool   { return k == Update || k == Delete || k == Set }
func (k Kind) hasValue() bool { return k == Update || k == Set || k == Append }

// Check tells whether an operation may be stored: nil, or an error that
// matches ErrKind (another family's, or with a field its kind does not
// carry), ErrKeySize, ErrValueSize, ErrTooLarge or ErrFloor.
func (c Codec) Check(op Operation) error {
	if _, ok := c.tag(op.Kind); !ok {
		return fmt.Errorf("%w: no %s operations in %s logs", ErrKind, op.Kind, c.family)
	}
	keyWidth, valueWidth := c.widths()
	maxKey, maxValue, maxOperation := c.limits()
	switch {
	case op.Kind.hasKey():
		if err := checkSize("key", len(op.Key), keyWidth, maxKey); err != nil {
			return err
		}
	case op.Key != nil:
		return fmt.Errorf("%w: a %s operation has no key", ErrKind, op.Kind)
	}
	switch {
	case op.Kind == Commit && op.Value != nil:
		if err := checkSize("metadata", len(op.Value), valueWidth, maxValue); err != nil {
			return err
		}
	case op.Kind.hasValue():
		if err := checkSize("value", len(op.Value), valueWidth, maxValue); err != nil {
			return err
		}
	case op.Value != nil:
		return fmt.Errorf("%w: a %s operation has no value", ErrKind, op.Kind)
	}
	if op.Kind != Commit && op.Floor != 0 {
		return fmt.Errorf("%w: a %s operation has no floor", ErrKind, op.Kind)
	}
	if op.Floor > mmr.MaxLeaves {
		return fmt.Errorf("%w: %d, at most 2^62", ErrFloor, op.Floor)
	}
	if n := c.encodedLen(op); n > maxOperation {
		return &SizeError{Field: "operation", Size: n, Max: maxOperation}
	}
	return nil
}

func checkSize(field string, n, width, most int) error {
	switch {
	case width > 0 && n != width:
		return &SizeError{Field: field, Size: n, Want: width}
	case width == 0 && n > most:
		return &SizeError{Field: field, Size: n, Max: most}
	}
	return nil
}

// encodedLen is the length in bytes of a valid operation.
func (c Codec) encodedLen(op Operation) int {
	if c.encoding == Fixed {
		return c.Size()
	}
	keyWidth, valueWidth := c.widths()
	n := 1
	if op.Kind.hasKey() {
		n += itemLen(op.Key, keyWidth)
	}
	if op.Kind == Commit {
		n += 1 + UvarintLen(op.Floor)
	}
	if op.Kind.hasValue() || op.Value != nil {
		n += itemLen(op.Value, valueWidth)
	}
	return n
}

func itemLen(item []byte, width int) int {
	if width > 0 {
		return width
	}
	return UvarintLen(uint64(len(item))) + len(item)
}

// Append checks an operation and appends its encoding to dst. On an error,
// one of Check, dst is returned as it was.
func (c Codec) Append(dst []byte, op Operation) ([]byte, error) {
	if err := c.Check(op); err != nil {
		return dst, err
	}
	start := len(dst)
	tag, _ := c.tag(op.Kind)
	keyWidth, valueWidth := c.widths()
	dst = append(dst, tag)
	if op.Kind != Commit {
		if op.Kind.hasKey() {
			dst = appendItem(dst, op.Key, keyWidth)
		}
		if op.Kind.hasValue() {
			dst = appendItem(dst, op.Value, valueWidth)
		}
	} else {
		if op.Value != nil {
			dst = appendItem(append(dst, 1), op.Value, valueWidth)
		} else {
			dst = append(dst, 0)
			if c.encoding == Fixed { // the slot is there, but empty
				dst = appendZeros(dst, valueWidth)
			}
		}
		if c.encoding == Fixed {
			dst = binary.BigEndian.AppendUint64(dst, op.Floor)
		} else {
			dst = AppendUvarint(dst, op.Floor)
		}
	}
	if c.encoding == Fixed {
		dst = appendZeros(dst, start+c.Size()-len(dst))
	}
	return dst, nil
}

func appendItem(dst, item []byte, width int) []byte {
	if width == 0 {
		dst = AppendUvarint(dst, uint64(len(item)))
	}
	return append(dst, item...)
}

func appendZeros(dst []byte, n int) []byte {
	var zeros [ItemSize]byte
	for ; n > len(zeros); n -= len(zeros) {
		dst = append(dst, zeros[:]...)
	}
	return append(dst, zeros[:n]...)
}
