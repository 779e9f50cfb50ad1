package checkpoint

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/proofsync/proofsync/pkg/operation"
)

// Trust is whom a replica believes, and what about.
type Trust struct {
	// Origin is the log that is followed.
	Origin string
	// Codec is how its operations are expected to be written.
	Codec operation.Codec
	// Keys are those whose signatures count, at least Quorum different ones.
	Keys []Key
	// Quorum is how many of them have to have signed, at least one.
	Quorum int
	// MaxAge is how old a checkpoint may be; 0: as old as it likes.
	MaxAge time.Duration
	// MaxSkew is how far in the future it may be, as clocks differ; 0: five minutes.
	MaxSkew time.Duration
}

// Signed is a checkpoint whose signatures were checked.
type Signed struct {
	Checkpoint
	// Note is all of it, as it was checked. The caller owns it.
	Note []byte
	// Signers are the names of the keys whose signatures counted.
	Signers []string
}

// OriginError says that a checkpoint is of another log.
type OriginError struct{ Origin, Want string }

func (e *OriginError) Error() string {
	return fmt.Sprintf("checkpoint of the log %q, not of %q", e.Origin, e.Want)
}

// CodecError says that the log is of another family or encoding.
type CodecError struct{ Codec, Want operation.Codec }

func (e *CodecError) Error() string {
	return fmt.Sprintf("checkpoint of a log with operations of %s, not of %s", e.Codec, e.Want)
}

// QuorumError says that too few of the trusted keys have signed.
type QuorumError struct {
	Have, Want int
	Signers    []string // whose signatures counted
	Unknown    []string // names in signatures of keys that are not trusted, some of them
	Invalid    []string // trusted names in signatures that are not of these keys, some of them
}

func (e *QuorumError) Error() string {
	msg := fmt.Sprintf("checkpoint signed by %d of the trusted keys, %d required", e.Have, e.Want)
	if len(e.Signers) > 0 {
		msg += "; counted: " + strings.Join(e.Signers, ", ")
	}
	if len(e.Unknown) > 0 {
		msg += "; not trusted: " + strings.Join(e.Unknown, ", ")
	}
	if len(e.Invalid) > 0 {
		msg += "; signed in the name, but not by the key, of: " + strings.Join(e.Invalid, ", ")
	}
	return msg
}

// StaleError says that a checkpoint is too old to be followed.
type StaleError struct {
	Time   time.Time
	Age    time.Duration
	MaxAge time.Duration
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("newest checkpoint is stale: signed %s ago, at most %s expected; is the writer alive, and are the clocks right?", e.Age.Round(time.Second), e.MaxAge)
}

// FutureError says that a checkpoint is of a time that has not come yet.
type FutureError struct {
	Time  time.Time
	Ahead time.Duration
}

func (e *FutureError) Error() string {
	return fmt.Sprintf("checkpoint is of %s, which is %s in the future: one of the clocks is wrong", e.Time.Format(time.RFC3339), e.Ahead.Round(time.Second))
}

// Check says whether a policy can be used at all.
func (t *Trust) Check() error {
	if err := CheckOrigin(t.Origin); err != nil {
		return err
	}
	different := make(map[[32]byte]bool)
	for _, k := range t.Keys {
		different[k.public] = true
	}
	switch {
	case len(t.Keys) == 0:
		return errors.New("no trusted key: at least one expected")
	case t.Quorum < 1:
		return fmt.Errorf("quorum %d: at least 1 expected, or anybody's word would do", t.Quorum)
	case t.Quorum > len(different):
		return fmt.Errorf("quorum %d: there are %d different trusted keys", t.Quorum, len(different))
	case t.MaxAge < 0 || t.MaxSkew < 0:
		return errors.New("ages have to be positive")
	}
	return nil
}

// Verify checks a note at a time: form, signatures, origin, family and encoding,
// age. A *StaleError comes with everything else being right, and with the
// checkpoint. Other errors: *FormatError, *QuorumError, *OriginError, *CodecError,
// *FutureError, and those of Check. Signatures that are wrong do not count, and
// spoil nothing: anybody on the way can add some.
func (t *Trust) Verify(signed []byte, now time.Time) (*Signed, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	n, err := open(signed)
	if err != nil {
		return nil, err
	}
	s, err := t.count(n)
	if err != nil {
		return nil, err
	}
	if s.Checkpoint, err = Parse(n.Text); err != nil {
		return nil, err
	}
	s.Note = append([]byte(nil), signed...)
	if s.Origin != t.Origin {
		return nil, &OriginError{s.Origin, t.Origin}
	}
	if s.Codec != t.Codec {
		return nil, &CodecError{s.Codec, t.Codec}
	}
	return s, t.age(s, now)
}

// count counts the keys that have signed. One that is trusted under several
// names counts once.
func (t *Trust) count(n *note.Note) (*Signed, error) {
	s := new(Signed)
	e := &QuorumError{Want: t.Quorum}
	counted := make(map[[32]byte]bool)
	for _, line := range n.UnverifiedSigs {
		known := false
		for _, k := range t.Keys {
			if k.Name() != line.Name || k.verifier.KeyHash() != line.Hash {
				continue
			}
			known = true
			if counted[k.public] {
				continue
			}
			if !k.verified(n.Text, line) {
				e.Invalid = few(e.Invalid, line.Name)
				continue
			}
			counted[k.public] = true
			s.Signers = append(s.Signers, line.Name)
		}
		if !known {
			e.Unknown = few(e.Unknown, line.Name)
		}
	}
	if len(counted) >= t.Quorum {
		return s, nil
	}
	e.Have, e.Signers = len(counted), s.Signers
	return nil, e
}

// few adds a name to a list for people, if it is not long yet.
func few(names []string, name string) []string {
	if len(names) < 8 {
		names = append(names, fmt.Sprintf("%.60s", name))
	}
	return names
}

func (t *Trust) age(s *Signed, now time.Time) error {
	skew := t.MaxSkew
	if skew == 0 {
		skew = 5 * time.Minute
	}
	age := now.Sub(s.Time)
	switch {
	case -age > skew:
		return &FutureError{s.Time, -age}
	case t.MaxAge > 0 && age > t.MaxAge:
		return &StaleError{s.Time, age, t.MaxAge}
	}
	return nil
}
