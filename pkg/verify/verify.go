// Package verify checks what the HTTP API answers against a root that the
// caller trusts, without a database and without the network.
//
//	GET /v1/keys/{key}?proof=true --> document.Entry --Entry(trusted)--> Proven, or why not
//	GET /v1/operations?proof=true --> document.Operations --Operations(trusted)--^
//
// What a proof proves. A proof of the kind "operation", which the families any
// and immutable have, shows that this operation stands at this location of the
// log that the trusted root commits to. A proof of several operations shows
// that they stand one after the other from its location on, with nothing left
// out in between. It does not show that no later operation replaced one of
// them: that a value is still the newest of its key, or that a key has none,
// is known to whoever holds the log and not to a third party. A replica checks
// that itself, because it has every operation. Proven.Says puts all this into
// words, and is what a program should show to people.
//
// Where the trusted root comes from is the caller's business: another replica,
// a record of one's own, a signature. A root taken from the answer that is to
// be checked proves nothing. Of an answer's head only root and size are
// compared; floor and start are what the answering process says of itself.
//
// A root does not say in which family and encoding its operations are written,
// and some bytes are an operation in more than one of them: 65 bytes that give
// one key a value in the encoding variable give another key another value in
// fixed. So both are part of what the caller trusts, and a proof that reads its
// operations in another way is refused.
//
// The package is pure: it takes documents and returns values, caps every
// length before it allocates, and never panics, whatever the document says.
package verify

import (
	"encoding/base64"
	"fmt"
	"math/bits"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// MaxOperations is the largest number of operations one proof may have; it is
// that of an answer of the wire protocol.
const MaxOperations = 10_000

// Root is a root the caller trusts, the number of operations under it, and how
// these are written. All four are required: nothing is proven under a Root that
// lacks one of them, see ReasonTrust.
type Root struct {
	Root     mmr.Digest
	Size     uint64
	Family   string // as documents name it: any or immutable
	Encoding string // fixed or variable
}

// ParseRoot reads a root as documents write it; family and encoding are those
// of the log, as its status names them. Its error is no *Error: what the caller
// trusts is not part of an answer.
func ParseRoot(root string, size uint64, family, encoding string) (Root, error) {
	d, err := mmr.ParseDigest(root)
	if err != nil {
		return Root{}, fmt.Errorf("trusted root: %w", err)
	}
	r := Root{d, size, family, encoding}
	return r, r.Check()
}

// Check says whether everything is there that a proof is compared with.
func (r Root) Check() error {
	if r.Size == 0 || r.Size > mmr.MaxLeaves {
		return fmt.Errorf("trusted size %d: 1 to 2^62 expected", r.Size)
	}
	if _, err := operation.ParseFamily(r.Family); err != nil {
		return fmt.Errorf("trusted family: %w", err)
	}
	if _, err := operation.ParseEncoding(r.Encoding); err != nil {
		return fmt.Errorf("trusted encoding: %w", err)
	}
	return nil
}

// trustworthy is Check for the functions that take a Root, whose errors are
// all of one type.
func (r Root) trustworthy() error {
	if err := r.Check(); err != nil {
		return &Error{Reason: ReasonTrust, Err: err}
	}
	return nil
}

// String is "root ROOT of SIZE operations".
func (r Root) String() string { return fmt.Sprintf("root %s of %d operations", r.Root, r.Size) }

// Proof checks a proof by itself and returns what it proves. Every error is an
// *Error. The proof must be about the trusted root and size: one about an older
// or a newer state is ReasonRoot, however sound it may be. And it must read its
// operations as the trusted log is written.
func Proof(p *document.Proof, trusted Root) (*Proven, error) {
	if err := trusted.trustworthy(); err != nil {
		return nil, err
	}
	if p == nil {
		return nil, missing()
	}
	if p.Kind != document.ProofOperation {
		return nil, &Error{Reason: ReasonUnsupported, Err: &UnsupportedError{Kind: p.Kind}}
	}
	codec, err := codecOf(p)
	if err != nil {
		return nil, err
	}
	if p.Family != trusted.Family || p.Encoding != trusted.Encoding {
		return nil, differs("the proof is of operations of %s, the trusted log is %s/%s", codec, trusted.Family, trusted.Encoding)
	}
	if err := claims(p.Root, p.Size, trusted, "the proof"); err != nil {
		return nil, err
	}
	encoded, ops, err := decode(p, codec)
	if err != nil {
		return nil, err
	}
	if err := check(p, encoded, trusted); err != nil {
		return nil, err
	}
	return &Proven{Codec: codec, Location: p.Location, Operations: ops, Root: trusted}, nil
}

// codecOf reads how the operations of a proof are written.
func codecOf(p *document.Proof) (operation.Codec, error) {
	family, err := operation.ParseFamily(p.Family)
	if err != nil {
		return operation.Codec{}, &Error{Reason: ReasonUnsupported, Err: err}
	}
	encoding, err := operation.ParseEncoding(p.Encoding)
	if err != nil {
		return operation.Codec{}, &Error{Reason: ReasonUnsupported, Err: err}
	}
	return operation.NewCodec(family, encoding), nil
}

// claims says whether a document speaks of the trusted state.
func claims(root string, size uint64, trusted Root, who string) error {
	d, err := mmr.ParseDigest(root)
	if err != nil {
		return malformed("root: %v", err)
	}
	if d != trusted.Root || size != trusted.Size {
		return &Error{Reason: ReasonRoot, Detail: fmt.Sprintf("%s is about %s, trusted is %s", who, Root{Root: d, Size: size}, trusted)}
	}
	return nil
}

// elements are encoded operations; they implement mmr.Elements.
type elements [][]byte

func (e elements) Len() int        { return len(e) }
func (e elements) At(i int) []byte { return e[i] }

// decode reads the operations of a proof, whose location and size it checks.
func decode(p *document.Proof, codec operation.Codec) (elements, []operation.Operation, error) {
	n := uint64(len(p.Operations))
	switch {
	case n == 0:
		return nil, nil, malformed("no operations")
	case n > MaxOperations:
		return nil, nil, malformed("%d operations, at most %d", n, MaxOperations)
	case p.Size > mmr.MaxLeaves:
		return nil, nil, malformed("size %d, at most 2^62", p.Size)
	case p.Location >= p.Size || n > p.Size-p.Location:
		return nil, nil, malformed("%d operations from location %d on do not fit under size %d", n, p.Location, p.Size)
	}
	longest := base64.RawURLEncoding.EncodedLen(operation.MaxOperation)
	encoded := make(elements, n)
	ops := make([]operation.Operation, n)
	for i, text := range p.Operations {
		location := p.Location + uint64(i)
		if len(text) > longest {
			return nil, nil, malformed("operation at location %d: %d characters, at most %d", location, len(text), longest)
		}
		b, err := document.Base64URL.Decode(text)
		if err != nil {
			return nil, nil, malformed("operation at location %d: %v", location, err)
		}
		op, err := codec.Decode(b)
		if err != nil {
			return nil, nil, &Error{Reason: ReasonMalformed, Detail: fmt.Sprintf("operation at location %d", location), Err: err}
		}
		encoded[i], ops[i] = b, op
	}
	return encoded, ops, nil
}

// check recomputes the root.
func check(p *document.Proof, encoded elements, trusted Root) error {
	want, err := mmr.ProofSize(p.Size, p.InactivePeaks, p.Location, p.Location+uint64(len(encoded)))
	if err != nil {
		return &Error{Reason: ReasonDigests, Err: err}
	}
	if len(p.Digests) != want {
		return &Error{Reason: ReasonDigests, Detail: fmt.Sprintf("%d digests, exactly %d expected", len(p.Digests), want)}
	}
	digests, err := parseDigests(p.Digests, "digest")
	if err != nil {
		return err
	}
	proof := mmr.Proof{Leaves: p.Size, InactivePeaks: p.InactivePeaks, Digests: digests}
	span := mmr.HashSpan(p.Location, encoded)
	// Pins say nothing about the operations; they let a replica go on from
	// here. An answer may do without, but may not come with wrong ones.
	if len(p.Pins) == 0 {
		err = proof.Verify(span, trusted.Root)
	} else {
		if want := bits.OnesCount64(p.Location); len(p.Pins) != want {
			return &Error{Reason: ReasonDigests, Detail: fmt.Sprintf("%d pinned nodes, location %d has %d", len(p.Pins), p.Location, want)}
		}
		var pins []mmr.Digest
		if pins, err = parseDigests(p.Pins, "pinned node"); err != nil {
			return err
		}
		err = proof.VerifyPins(span, pins, trusted.Root)
	}
	if err != nil {
		return &Error{Reason: ReasonDigests, Err: err}
	}
	return nil
}

// parseDigests reads digests whose number was checked.
func parseDigests(texts []string, what string) ([]mmr.Digest, error) {
	digests := make([]mmr.Digest, len(texts))
	for i, text := range texts {
		var err error
		if digests[i], err = mmr.ParseDigest(text); err != nil {
			return nil, malformed("%s %d: %v", what, i, err)
		}
	}
	return digests, nil
}
