package api

import (
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
)

// codec says which byte strings can be keys of the database.
type codec struct{ operation.Codec }

// decodeKey reads a key as a request writes it.
func (c codec) decodeKey(f document.Bytes, text string) ([]byte, error) {
	key, err := f.Decode(text)
	if err != nil {
		return nil, c.about(document.CodeInvalidKey, text, "key: %s; bytes=%s is how the request says keys are written", err, f)
	}
	switch {
	case c.Encoding() == operation.Fixed && len(key) != operation.ItemSize:
		return nil, c.about(document.CodeInvalidKey, text, "the key has %d bytes, keys of this database have %d; bytes=%s is how the request says keys are written", len(key), operation.ItemSize, f)
	case len(key) > operation.MaxKey:
		return nil, c.about(document.CodeTooLarge, text, "the key has %d bytes, at most %d are possible", len(key), operation.MaxKey)
	}
	return key, nil
}

// about is a problem with a key, which it quotes if it is short.
func (c codec) about(code document.Code, key, format string, args ...any) error {
	p := document.NewProblem(code, format, args...)
	if len(key) <= maxEcho {
		p.Key = key
	}
	return p
}

// checkPart checks a byte string that keys are compared with: a prefix, or a
// key to go on after.
func (c codec) checkPart(name string, part []byte) error {
	most, code := operation.MaxKey, document.CodeTooLarge
	if c.Encoding() == operation.Fixed {
		most, code = operation.ItemSize, document.CodeInvalidKey
	}
	if len(part) > most {
		return document.NewProblem(code, "%s has %d bytes, keys of this database at most %d", name, len(part), most)
	}
	return nil
}
