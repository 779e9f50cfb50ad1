package importer

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// InputError is an input that cannot be imported: a record that breaks the
// rules of its format or of the database, or a file that cannot be read as one.
type InputError struct {
	File   string // as given; for a directory the file below it
	Line   int64  // from 1; 0 when the reason concerns the whole file
	Reason string
}

func (e *InputError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
	}
	return e.File + ": " + e.Reason
}

// record is one record of an input as it was written there. The slices belong
// to the input and are valid until its next record.
type record struct {
	file   string
	line   int64
	key    field
	value  field
	delete bool
}

// field is a key or a value. raw says that it came as bytes (base64, or a
// digest), not as text.
type field struct {
	bytes []byte
	raw   bool
}

// converter turns records into writes of a codec.
type converter struct {
	codec      operation.Codec
	set        operation.Kind
	key, value [sha256.Size]byte
}

func newConverter(c operation.Codec) (*converter, error) {
	switch c.Family() {
	case operation.Any:
		return &converter{codec: c, set: operation.Update}, nil
	case operation.Immutable:
		return &converter{codec: c, set: operation.Set}, nil
	}
	return nil, fmt.Errorf("import into a database of the family %s is not supported: any or immutable expected", c.Family())
}

var errImmutableDelete = errors.New("delete: keys of an immutable database cannot be deleted")

// write converts and checks a record. The slices of the write alias the
// record or the converter: they are valid until the next call.
func (c *converter) write(r *record) (database.Write, error) {
	w := database.Write{Key: c.stored(r.key, &c.key), Delete: r.delete}
	op := operation.Operation{Kind: operation.Delete, Key: w.Key}
	if r.delete {
		if c.codec.Family() == operation.Immutable {
			return w, errImmutableDelete
		}
	} else {
		w.Value = c.stored(r.value, &c.value)
		op.Kind, op.Value = c.set, w.Value
	}
	return w, c.codec.Check(op)
}

// stored is what the database keeps of a field.
func (c *converter) stored(f field, digest *[sha256.Size]byte) []byte {
	if c.codec.Encoding() == operation.Variable || f.raw && len(f.bytes) == len(digest) {
		return f.bytes
	}
	*digest = sha256.Sum256(f.bytes)
	return digest[:]
}

// StoredKey returns what a database of the codec keeps of a key. raw says that
// the key was given as bytes, as a base64 field is, and not as text.
func StoredKey(c operation.Codec, key []byte, raw bool) []byte {
	conv := converter{codec: c}
	return append([]byte(nil), conv.stored(field{bytes: key, raw: raw}, &conv.key)...)
}
