package document

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bytes says how a document or a request writes byte strings.
type Bytes string

// The ways to write byte strings. Base64URL has no padding (RFC 4648 section
// 5) and is what is used unless something else was asked for. UTF8 writes text
// as it is and cannot write anything else.
const (
	Base64URL Bytes = "base64url"
	Hex       Bytes = "hex"
	UTF8      Bytes = "utf8"
)

// ErrNotUTF8: a byte string that is no UTF-8 cannot be written as text.
var ErrNotUTF8 = errors.New("not valid UTF-8: ask for bytes=base64url or bytes=hex")

// ParseBytes reads the name of a form; the empty name is Base64URL.
func ParseBytes(s string) (Bytes, error) {
	switch b := Bytes(s); b {
	case "":
		return Base64URL, nil
	case Base64URL, Hex, UTF8:
		return b, nil
	}
	return "", fmt.Errorf("bytes %.40q: base64url, hex or utf8 expected", s)
}

// Check says whether b can be written. Its only error is ErrNotUTF8.
func (f Bytes) Check(b []byte) error {
	if f == UTF8 && !utf8.Valid(b) {
		return ErrNotUTF8
	}
	return nil
}

// Append appends b as text, not quoted.
func (f Bytes) Append(dst, b []byte) ([]byte, error) {
	switch f {
	case Hex:
		return hex.AppendEncode(dst, b), nil
	case UTF8:
		if !utf8.Valid(b) {
			return dst, ErrNotUTF8
		}
		return append(dst, b...), nil
	}
	return base64.RawURLEncoding.AppendEncode(dst, b), nil
}

// Encode writes b as text.
func (f Bytes) Encode(b []byte) (string, error) {
	s, err := f.Append(nil, b)
	return string(s), err
}

// strict refuses trailing bits that are not zero: a byte string has one text.
var strict = base64.RawURLEncoding.Strict()

// Decode reads text. The result is the caller's; it is never nil without an error.
func (f Bytes) Decode(s string) ([]byte, error) {
	switch f {
	case Hex:
		b, err := hex.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("%.80q is not hexadecimal", s)
		}
		return b, nil
	case UTF8:
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("%.80q is not valid UTF-8", s)
		}
		return []byte(s), nil
	}
	for i := range len(s) { // the decoder would skip line breaks
		if s[i] == '\n' || s[i] == '\r' {
			return nil, fmt.Errorf("%.80q is not base64url without padding", s)
		}
	}
	b, err := strict.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%.80q is not base64url without padding", s)
	}
	return b, nil
}
