// Package operation encodes and decodes the entries of an authenticated log:
// the operations of the families any, immutable and keyless, each in the
// encodings fixed and variable (format.md section 3).
//
// It says what an operation looks like and whether it may be stored, not which
// operations a batch becomes: that is the database's business. It is pure and
// keeps no state; decoding aliases its input and allocates nothing per
// operation.
//
//	Operation --Check, Append--> bytes --Split, NewRun--> Run --At--> bytes --Decode--> Operation
//	                                                       |
//	                                                       +--> mmr.HashSpan
package operation

import "fmt"

// Family is the rule that turns a batch into operations.
type Family uint8

const (
	// Any is the family of keys that are updated and deleted.
	Any Family = iota
	// Immutable is the family of keys that are set and never deleted.
	Immutable
	// Keyless is the family of values without keys. It is decoded and
	// encoded, but no database of this module stores it.
	Keyless
)

var families = [...]string{Any: "any", Immutable: "immutable", Keyless: "keyless"}

func (f Family) String() string {
	if int(f) < len(families) {
		return families[f]
	}
	return fmt.Sprintf("family(%d)", uint8(f))
}

// ParseFamily reads the name of a family that databases can be made of: any
// or immutable.
func ParseFamily(s string) (Family, error) {
	switch s {
	case "any":
		return Any, nil
	case "immutable":
		return Immutable, nil
	}
	return 0, fmt.Errorf("unknown family %.40q: any or immutable expected", s)
}

// Encoding is how the keys and values of a family are written.
type Encoding uint8

const (
	// Fixed has keys and values of 32 bytes and operations of one size.
	Fixed Encoding = iota
	// Variable has byte strings of any length, each behind its length.
	Variable
)

func (e Encoding) String() string {
	switch e {
	case Fixed:
		return "fixed"
	case Variable:
		return "variable"
	}
	return fmt.Sprintf("encoding(%d)", uint8(e))
}

// ParseEncoding reads the name of an encoding: fixed or variable.
func ParseEncoding(s string) (Encoding, error) {
	switch s {
	case "fixed":
		return Fixed, nil
	case "variable":
		return Variable, nil
	}
	return 0, fmt.Errorf("unknown encoding %.40q: fixed or variable expected", s)
}

const (
	// ItemSize is the length in bytes of a key and of a value in Fixed.
	ItemSize = 32
	// MaxKey is the longest key in bytes that Variable takes.
	MaxKey = 64 << 10
	// MaxOperation is the longest encoded operation in bytes: an answer with
	// one operation, its proof and its pinned nodes has to fit into a frame.
	MaxOperation = 4 << 20
)

// Codec encodes and decodes the operations of one family in one encoding. It
// is a small comparable value; the zero Codec is any/fixed.
type Codec struct {
	family   Family
	encoding Encoding
	// Constant widths of keys and values; 0 is what the encoding says.
	keyWidth, valueWidth int
	// Cap of a byte string; 0 is MaxKey for keys, MaxOperation for the rest.
	maxBytes int
}

// NewCodec returns the codec of a family and an encoding.
func NewCodec(f Family, e Encoding) Codec { return Codec{family: f, encoding: e} }

// WithMaxBytes returns a codec that takes byte strings, keys as well as
// values, of up to n bytes in place of the default caps.
func (c Codec) WithMaxBytes(n int) Codec {
	c.maxBytes = n
	return c
}

// WithWidths returns a codec whose keys and values always have this many
// bytes and are therefore written without their length, also in Variable. 0
// leaves an item as it is. Databases never use it: it exists because the
// published conformance hashes are made with items of 8 and 32 bytes.
func (c Codec) WithWidths(key, value int) Codec {
	c.keyWidth, c.valueWidth = key, value
	return c
}

// Family is the family of the codec.
func (c Codec) Family() Family { return c.family }

// Encoding is the encoding of the codec.
func (c Codec) Encoding() Encoding { return c.encoding }

// String is "family/encoding".
func (c Codec) String() string { return c.family.String() + "/" + c.encoding.String() }

// Size is the length in bytes of every operation in Fixed (65; keyless 42),
// and 0 in Variable.
func (c Codec) Size() int {
	if c.encoding != Fixed {
		return 0
	}
	k, v := c.widths()
	commit := 1 + 1 + v + 8
	if c.family == Keyless {
		return commit
	}
	return max(1+k+v, commit)
}

// widths are the constant lengths of keys and values, 0 for byte strings.
func (c Codec) widths() (key, value int) {
	key, value = c.keyWidth, c.valueWidth
	if c.encoding == Fixed {
		if key == 0 {
			key = ItemSize
		}
		if value == 0 {
			value = ItemSize
		}
	}
	return key, value
}

// limits are the largest lengths in bytes of a key, of a value and of an
// encoded operation.
func (c Codec) limits() (key, value, operation int) {
	if c.maxBytes == 0 {
		return MaxKey, MaxOperation, MaxOperation
	}
	return c.maxBytes, c.maxBytes, max(MaxOperation, 2*c.maxBytes+overhead)
}

// overhead bounds the bytes of an operation beside its items: tag, option
// byte, two lengths and a floor.
const overhead = 1 + 1 + 2*5 + 9
