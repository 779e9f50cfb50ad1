package verify_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/verify"
)

// ambiguous returns a view of any/variable in which an operation has the 65
// bytes of one of any/fixed, and what it would be there: a key nobody wrote.
func ambiguous(t *testing.T) (v *database.View, written, never []byte, lie *document.Entry) {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: operation.NewCodec(operation.Any, operation.Variable), FS: store.MemFS(), CreateIfMissing: true})
	ok(t, err)
	written, value := bytes.Repeat([]byte("k"), 31), bytes.Repeat([]byte("v"), 31)
	_, err = db.Apply(context.Background(), database.Batch{Writes: []database.Write{{Key: written, Value: value}}})
	ok(t, err)
	v, err = db.View()
	ok(t, err)
	t.Cleanup(func() {
		v.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	// The lengths, 31, become the first bytes of key and value.
	never = append([]byte{31}, written...)
	lie = entryOf(t, v, written, document.Hex)
	lie.Key, err = document.Hex.Encode(never)
	ok(t, err)
	text, err := document.Hex.Encode(append([]byte{31}, value...))
	ok(t, err)
	lie.Value, lie.Proof.Encoding = &text, "fixed"
	return v, written, never, lie
}

// Who answers chooses how the proof reads its bytes, and may choose so that
// they speak of a key that was never written. The root cannot tell.
func TestAProofThatReadsItsBytesInAnotherEncodingProvesNothing(t *testing.T) {
	v, written, never, lie := ambiguous(t)
	trusted := trustIn(v)
	honest, err := verify.Entry(entryOf(t, v, written, document.Hex), trusted)
	ok(t, err)
	if got := honest.Operations[0].Key; !bytes.Equal(got, written) {
		t.Fatalf("proven is the key %x", got)
	}
	if p, err := verify.Entry(lie, trusted); err == nil {
		t.Errorf("proven: %s", p.Says())
	} else if reason(t, err) != verify.ReasonAnswer {
		t.Error(err)
	}
	if p, err := verify.Proof(lie.Proof, trusted); err == nil {
		t.Errorf("proven: %s", p.Says())
	}
	// The lie is one: where the log is said to be of the encoding fixed, the
	// same bytes do lead to the root. Otherwise this tests nothing.
	trusted.Encoding = "fixed"
	p, err := verify.Entry(lie, trusted)
	ok(t, err)
	if !bytes.Equal(p.Operations[0].Key, never) {
		t.Errorf("read as fixed it is the key %x", p.Operations[0].Key)
	}
}

// A Root that was put together without family and encoding must not pass for
// one of the first of them.
func TestNothingIsProvenUnderAnIncompleteRoot(t *testing.T) {
	for _, codec := range codecs {
		v, key := grown(t, codec, 20, 6)
		for name, spoil := range map[string]func(*verify.Root){
			"no family":          func(r *verify.Root) { r.Family = "" },
			"no encoding":        func(r *verify.Root) { r.Encoding = "" },
			"neither":            func(r *verify.Root) { r.Family, r.Encoding = "", "" },
			"an unknown family":  func(r *verify.Root) { r.Family = "keyless" },
			"another upper case": func(r *verify.Root) { r.Encoding = "Fixed" },
			"no size":            func(r *verify.Root) { r.Size = 0 },
			"nothing":            func(r *verify.Root) { *r = verify.Root{} },
		} {
			trusted := trustIn(v)
			spoil(&trusted)
			_, entry := verify.Entry(entryOf(t, v, key, document.Hex), trusted)
			_, operations := verify.Operations(operationsOf(t, v, 1, 3, document.Hex), trusted)
			_, proof := verify.Proof(proofOf(t, v, 1, 2), trusted)
			for _, err := range []error{entry, operations, proof} {
				if err == nil || reason(t, err) != verify.ReasonTrust {
					t.Errorf("%s, %s: %v", codec, name, err)
				}
			}
			if trusted.Check() == nil {
				t.Errorf("%s, %s: Check finds nothing", codec, name)
			}
		}
	}
}
