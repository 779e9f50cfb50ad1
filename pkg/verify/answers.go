package verify

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Entry checks the answer to GET /v1/keys/{key}?proof=true: that the operation
// at its location gives exactly its key exactly its value. An entry without a
// value (it was not asked for) has its key and location checked; the value is
// in the result. Every error is an *Error.
//
// Whether it is the key that was asked for is the caller's to compare: with
// the key of the result, not with that of the entry's text.
func Entry(e *document.Entry, trusted Root) (*Proven, error) {
	if err := trusted.trustworthy(); err != nil {
		return nil, err
	}
	if e == nil || e.Proof == nil {
		return nil, missing()
	}
	if err := head(e.Head, e.Proof, trusted); err != nil {
		return nil, err
	}
	proven, err := Proof(e.Proof, trusted)
	if err != nil {
		return nil, err
	}
	if n := len(proven.Operations); n != 1 {
		return nil, differs("the proof is of %d operations, an entry is one", n)
	}
	if e.Location != proven.Location {
		return nil, differs("the entry names location %d, the proof location %d", e.Location, proven.Location)
	}
	form, err := form(e.Bytes)
	if err != nil {
		return nil, err
	}
	op := proven.Operations[0]
	if op.Kind != operation.Update && op.Kind != operation.Set {
		return nil, differs("the operation at location %d is a %s: it gives no key a value", e.Location, op.Kind)
	}
	if err := same(form, "key", &e.Key, op.Key, e.Location); err != nil {
		return nil, err
	}
	if e.Value != nil {
		if err := same(form, "value", e.Value, op.Value, e.Location); err != nil {
			return nil, err
		}
	}
	return proven, nil
}

// Operations checks the answer to GET /v1/operations?proof=true: that its
// operations stand in the log as it lists them, none left out between the
// first and the last. Every error is an *Error. An answer without operations
// proves nothing and is ReasonMissing.
func Operations(o *document.Operations, trusted Root) (*Proven, error) {
	if err := trusted.trustworthy(); err != nil {
		return nil, err
	}
	if o == nil || o.Proof == nil {
		return nil, missing()
	}
	if err := head(&o.Head, o.Proof, trusted); err != nil {
		return nil, err
	}
	proven, err := Proof(o.Proof, trusted)
	if err != nil {
		return nil, err
	}
	if got, want := len(o.Operations), len(proven.Operations); got != want {
		return nil, differs("the answer lists %d operations, the proof is of %d", got, want)
	}
	form, err := form(o.Bytes)
	if err != nil {
		return nil, err
	}
	for i := range o.Operations {
		if err := listed(form, &o.Operations[i], proven.Location+uint64(i), &proven.Operations[i]); err != nil {
			return nil, err
		}
	}
	return proven, nil
}

// listed compares what an answer says of an operation with the operation.
func listed(form document.Bytes, d *document.Operation, location uint64, op *operation.Operation) error {
	if d.Location != location {
		return differs("the answer lists location %d where the proof has %d", d.Location, location)
	}
	if d.Kind != op.Kind.String() {
		return differs("the answer calls operation %d a %.20q, it is a %s", location, d.Kind, op.Kind)
	}
	isCommit := op.Kind == operation.Commit
	if isCommit != (d.Floor != nil) || isCommit && *d.Floor != op.Floor {
		return differs("the answer gives operation %d another floor", location)
	}
	value, metadata := op.Value, []byte(nil)
	if isCommit {
		value, metadata = nil, op.Value
	}
	for _, item := range []struct {
		what string
		text *string
		want []byte // nil: the operation carries none
	}{
		{"key", d.Key, op.Key},
		{"value", d.Value, value},
		{"metadata", d.Metadata, metadata},
	} {
		if err := same(form, item.what, item.text, item.want, location); err != nil {
			return err
		}
	}
	return nil
}

// head says whether the state that an answer names is that of its proof, and
// the proof's the trusted one. An entry taken out of a listing has no head.
func head(h *document.Head, p *document.Proof, trusted Root) error {
	if h == nil {
		return nil
	}
	if err := claims(h.Root, h.Size, trusted, "the answer"); err != nil {
		return err
	}
	// The floor itself is not proven, but one that contradicts the tree is a lie.
	if peaks := uint64(bits.OnesCount64(h.Size)); h.Floor > h.Size || p.InactivePeaks > peaks ||
		mmr.InactivePeaks(h.Size, h.Floor) != p.InactivePeaks {
		return differs("floor %d does not fit the %d inactive peaks of the proof", h.Floor, p.InactivePeaks)
	}
	return nil
}

func form(b document.Bytes) (document.Bytes, error) {
	f, err := document.ParseBytes(string(b))
	if err != nil {
		return "", malformed("%v", err)
	}
	return f, nil
}

// same says whether text stands for exactly these bytes; nil is none of either.
func same(form document.Bytes, what string, text *string, want []byte, location uint64) error {
	if text == nil || want == nil {
		if text == nil && want == nil {
			return nil
		}
		return differs("the answer and operation %d disagree on whether there is a %s", location, what)
	}
	// Hexadecimal is the longest form.
	if len(*text) > 2*operation.MaxOperation {
		return malformed("%s of %d characters, at most %d", what, len(*text), 2*operation.MaxOperation)
	}
	got, err := form.Decode(*text)
	if err != nil {
		return malformed("%s: %v", what, err)
	}
	if !bytes.Equal(got, want) {
		return differs("the answer's %s is %s, operation %d has %s", what, quote(got), location, quote(want))
	}
	return nil
}

// quote is a byte string for people, at most about a line of it.
func quote(b []byte) string {
	const most = 64
	if len(b) == 0 {
		return `""`
	}
	if len(b) <= most {
		if printable(b) {
			return fmt.Sprintf("%q", b)
		}
		return fmt.Sprintf("%x", b)
	}
	if printable(b) {
		return fmt.Sprintf("%.64q… (%d bytes)", b, len(b))
	}
	return fmt.Sprintf("%x… (%d bytes)", b[:most/2], len(b))
}

// printable says whether b is text of one line.
func printable(b []byte) bool {
	for _, x := range string(b) {
		if x < 0x20 || x == 0x7F || x == '\uFFFD' {
			return false
		}
	}
	return true
}
