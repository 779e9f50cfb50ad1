package api

import (
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Documents that are asked for often are written here by hand: a key is read
// in the time that reflection would need for its answer. What comes out is what
// encoding/json makes of the types in pkg/document, which the tests compare.

// appendBytes writes a byte string as a JSON string. Its error is
// document.ErrNotUTF8.
func appendBytes(dst []byte, f document.Bytes, b []byte) ([]byte, error) {
	if f == document.UTF8 {
		if !utf8.Valid(b) {
			return dst, document.ErrNotUTF8
		}
		return appendText(dst, b), nil
	}
	dst = append(dst, '"')
	dst, err := f.Append(dst, b) // digits and letters: nothing to escape
	return append(dst, '"'), err
}

// appendText writes valid UTF-8 as a JSON string.
func appendText[T string | []byte](dst []byte, s T) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// appendNumber writes a member whose value is a number, with the comma before it.
func appendNumber(dst []byte, name string, n uint64) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return strconv.AppendUint(dst, n, 10)
}

// appendWord writes a member whose value is plain ASCII, with the comma before it.
func appendWord(dst []byte, name, word string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, `":"`...)
	dst = append(dst, word...)
	return append(dst, '"')
}

// appendHead writes the members of a document.Head, with the comma before.
func appendHead(dst []byte, h *head) []byte {
	dst = appendWord(dst, "root", h.Root)
	dst = appendNumber(dst, "size", h.Size)
	dst = appendNumber(dst, "floor", h.Floor)
	return appendNumber(dst, "start", h.Start)
}

// appendKeyed writes the members of an entry from key to location, without
// braces. A nil value is left out.
func appendKeyed(dst []byte, f document.Bytes, key, value []byte, location uint64) ([]byte, error) {
	dst = append(dst, `"key":`...)
	dst, err := appendBytes(dst, f, key)
	if err != nil {
		return dst, err
	}
	if value != nil {
		dst = append(dst, `,"value":`...)
		if dst, err = appendBytes(dst, f, value); err != nil {
			return dst, err
		}
	}
	return appendNumber(dst, "location", location), nil
}

// appendOpening begins a document whose byte strings are written as f, with
// its first member.
func appendOpening(dst []byte, f document.Bytes) []byte {
	dst = append(dst, `{"bytes":"`...)
	dst = append(dst, f...)
	return append(dst, '"')
}

// appendNext writes where the next page is, if there is one.
func appendNext(dst []byte, link string) []byte {
	if link == "" {
		return dst
	}
	return appendText(append(dst, `,"next":`...), link)
}

// appendOperation writes a document.Operation.
func appendOperation(dst []byte, f document.Bytes, loc uint64, op operation.Operation) ([]byte, error) {
	dst = append(dst, `{"location":`...)
	dst = strconv.AppendUint(dst, loc, 10)
	dst = appendWord(dst, "kind", op.Kind.String())
	var err error
	text := func(name string, b []byte) {
		if err == nil {
			dst = append(append(append(dst, `,"`...), name...), `":`...)
			dst, err = appendBytes(dst, f, b)
		}
	}
	switch op.Kind {
	case operation.Commit:
		dst = appendNumber(dst, "floor", op.Floor)
		if op.Value != nil {
			text("metadata", op.Value)
		}
	case operation.Delete:
		text("key", op.Key)
	default:
		text("key", op.Key)
		text("value", op.Value)
	}
	return append(dst, '}'), err
}

// proved is what a document.Proof is made of.
type proved struct {
	codec operation.Codec
	head  *head
	start uint64
	run   operation.Run
	proof mmr.Proof
	pins  []mmr.Digest
}

// appendProof writes a document.Proof.
func appendProof(dst []byte, p *proved) []byte {
	dst = append(dst, `{"kind":"`+document.ProofOperation+`"`...)
	dst = appendWord(dst, "family", p.codec.Family().String())
	dst = appendWord(dst, "encoding", p.codec.Encoding().String())
	dst = appendWord(dst, "root", p.head.Root)
	dst = appendNumber(dst, "size", p.head.Size)
	dst = appendNumber(dst, "inactive_peaks", p.proof.InactivePeaks)
	dst = appendNumber(dst, "location", p.start)
	dst = append(dst, `,"operations":[`...)
	for i := range p.run.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, _ = appendBytes(dst, document.Base64URL, p.run.At(i)) // which can write all bytes
	}
	dst = appendDigests(append(dst, `],"digests":`...), p.proof.Digests)
	dst = appendDigests(append(dst, `,"pins":`...), p.pins)
	return append(dst, '}')
}

func appendDigests(dst []byte, digests []mmr.Digest) []byte {
	dst = append(dst, '[')
	for i := range digests {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = hex.AppendEncode(dst, digests[i][:])
		dst = append(dst, '"')
	}
	return append(dst, ']')
}
