package checkpoint

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// Sign makes the note of a checkpoint, with a signature of each signer.
func Sign(c Checkpoint, signers ...Signer) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(signers) == 0 {
		return nil, errors.New("a checkpoint nobody signs is worth nothing")
	}
	return note.Sign(&note.Note{Text: c.Text()}, signers...)
}

// Cosign adds a signature of each signer to a note, which it does not check. A
// signature that the same key has made before is replaced.
func Cosign(signed []byte, signers ...Signer) ([]byte, error) {
	n, err := open(signed)
	if err != nil {
		return nil, err
	}
	return note.Sign(n, signers...)
}

// Merge puts the signatures of all notes, which have to say the same, into one.
// Signatures are not checked; there are no more of them than MaxNote has room for.
func Merge(signed ...[]byte) ([]byte, error) {
	if len(signed) == 0 {
		return nil, errors.New("no note to merge")
	}
	first, err := open(signed[0])
	if err != nil {
		return nil, err
	}
	out := bytes.Clone(signed[0])
	have := make(map[note.Signature]bool)
	for _, s := range first.UnverifiedSigs {
		have[s] = true
	}
	for _, other := range signed[1:] {
		n, err := open(other)
		if err != nil {
			return nil, err
		}
		if n.Text != first.Text {
			return nil, errors.New("the notes are of different checkpoints")
		}
		for _, s := range n.UnverifiedSigs {
			if !have[s] {
				have[s] = true
				out = fmt.Appendf(out, "— %s %s\n", s.Name, s.Base64)
			}
		}
	}
	if len(out) > MaxNote {
		return nil, &FormatError{Reason: "too many signatures"}
	}
	return out, nil
}

// Peek reads a note without checking any signature: for showing it to people, and
// for asking whether it is worth being checked.
func Peek(signed []byte) (Checkpoint, error) {
	n, err := open(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	return Parse(n.Text)
}

// open takes a note apart. Every signature is unverified.
func open(signed []byte) (*note.Note, error) {
	if len(signed) > MaxNote {
		return nil, &FormatError{Reason: fmt.Sprintf("%d bytes: at most %d expected", len(signed), MaxNote)}
	}
	_, err := note.Open(signed, note.VerifierList())
	if unverified, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		return unverified.Note, nil
	}
	return nil, &FormatError{Reason: "the form of a signed note is a text, an empty line and signature lines"}
}
