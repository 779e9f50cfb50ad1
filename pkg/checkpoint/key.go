package checkpoint

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// isName says whether the name of a key or log can stand in a note.
func isName(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+'
	})
}

// Key is a public Ed25519 key that signatures are checked with, and its name.
type Key struct {
	verifier note.Verifier
	text     string
	public   [ed25519.PublicKeySize]byte
}

// ParseKey reads a key in the form of signed notes, NAME+HASH+BASE64, as
// GenerateKey makes it.
func ParseKey(s string) (Key, error) {
	v, err := note.NewVerifier(s)
	if err != nil {
		if strings.HasPrefix(s, "PRIVATE+") {
			return Key{}, errors.New("key: a public one expected; this one is private and has to stay secret")
		}
		return Key{}, fmt.Errorf("key %.100q: NAME+HASH+BASE64 of an Ed25519 key expected", s)
	}
	k := Key{verifier: v, text: s}
	_, rest, _ := strings.Cut(s, "+")
	_, b64, _ := strings.Cut(rest, "+")
	b, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(b) != 1+len(k.public) {
		return Key{}, fmt.Errorf("key %.100q: an Ed25519 key expected", s)
	}
	copy(k.public[:], b[1:])
	return k, nil
}

// Name is the name in the signature lines of the key. Anybody can call a key so:
// keys are told apart by what they are.
func (k Key) Name() string { return k.verifier.Name() }

// String is the form that ParseKey reads.
func (k Key) String() string { return k.text }

// verified says whether a signature line of a text is this key's. The line begins
// with four bytes that are the key's hash.
func (k Key) verified(text string, line note.Signature) bool {
	sig, err := base64.StdEncoding.DecodeString(line.Base64)
	return err == nil && len(sig) > 4 && k.verifier.Verify([]byte(text), sig[4:])
}

// Signer signs notes: one of ParseSigner's has the private key, others ask
// something that has it.
type Signer = note.Signer

var errPrivate = errors.New("private key: PRIVATE+KEY+NAME+HASH+BASE64 of an Ed25519 key expected")

// ParseSigner reads a private key, PRIVATE+KEY+NAME+HASH+BASE64. Spaces around it
// do not count. The key is not in the error.
func ParseSigner(s string) (Signer, error) {
	signer, err := note.NewSigner(strings.TrimSpace(s))
	if err != nil {
		return nil, errPrivate
	}
	return signer, nil
}

// PublicKey is the public key of a private one in the form that ParseSigner reads.
// The private key is not in the error.
func PublicKey(private string) (Key, error) {
	signer, err := ParseSigner(private)
	if err != nil {
		return Key{}, err
	}
	parts := strings.SplitN(strings.TrimSpace(private), "+", 5)
	// One byte for the algorithm, which ParseSigner has found to be Ed25519, and the seed.
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return Key{}, errPrivate
	}
	public := ed25519.NewKeyFromSeed(seed[1:])[ed25519.SeedSize:]
	text, err := note.NewEd25519VerifierKey(signer.Name(), ed25519.PublicKey(public))
	if err != nil {
		return Key{}, errPrivate
	}
	return ParseKey(text)
}

// GenerateKey makes a pair of keys in the forms that ParseSigner and ParseKey read.
func GenerateKey(name string) (private, public string, err error) {
	if !isName(name) {
		return "", "", fmt.Errorf("name %q: text without spaces, control characters and plus signs expected", name)
	}
	return note.GenerateKey(rand.Reader, name)
}
