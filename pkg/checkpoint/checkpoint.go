package checkpoint

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// MaxNote is the longest note that is looked at, in bytes: a checkpoint of
	// ours has about 300, and each signature about 100.
	MaxNote = 64 << 10
	// MaxOrigin is the longest origin in bytes.
	MaxOrigin = 255
	// maxLines is how many lines a text may have, those of later versions included.
	maxLines = 64
)

// Checkpoint is what is signed: that the log called Origin had, at Time, Target.End
// operations under Target.Root, and that a replica may start at Target.Start.
type Checkpoint struct {
	// Origin names the log, such as example.org/orders: 1 to MaxOrigin bytes of
	// UTF-8 without spaces, control characters and plus signs.
	Origin string
	// Target is the root and the range of operations (format.md section 4).
	Target wire.Target
	// Codec is the family and encoding of the operations.
	Codec operation.Codec
	// Epoch is how often the writer declared that its log lost its end. Only a
	// higher one may contradict what was signed before.
	Epoch uint64
	// Time is when the statement was true, in whole seconds. Signing the same
	// commit again moves it.
	Time time.Time
}

// FormatError says what is wrong with the text of a checkpoint or with a note.
type FormatError struct {
	Line   int // from 1; 0: the note as a whole
	Reason string
}

func (e *FormatError) Error() string {
	if e.Line == 0 {
		return "not a checkpoint: " + e.Reason
	}
	return fmt.Sprintf("not a checkpoint: line %d: %s", e.Line, e.Reason)
}

// Validate says what a checkpoint that is to be signed lacks.
func (c Checkpoint) Validate() error {
	if err := CheckOrigin(c.Origin); err != nil {
		return err
	}
	if err := c.Target.Validate(); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if c.Time.Unix() <= 0 || c.Time.Year() > 9999 {
		return fmt.Errorf("time %s: not between 1970 and 9999", c.Time)
	}
	return nil
}

// CheckOrigin says what is wrong with the name of a log.
func CheckOrigin(s string) error {
	switch {
	case s == "":
		return errors.New("origin is empty")
	case len(s) > MaxOrigin:
		return fmt.Errorf("origin of %d bytes: at most %d expected", len(s), MaxOrigin)
	case !isName(s):
		return fmt.Errorf("origin %q: text without spaces, control characters and plus signs expected", s)
	}
	return nil
}

// Text is what is signed. It ends with a newline.
//
//	origin
//	number of operations, decimal
//	root, base64
//	start LOCATION
//	epoch NUMBER
//	family NAME
//	encoding NAME
//	time YYYY-MM-DDTHH:MM:SSZ
func (c Checkpoint) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%d\n%s\n", c.Origin, c.Target.End, base64.StdEncoding.EncodeToString(c.Target.Root[:]))
	fmt.Fprintf(&b, "start %d\nepoch %d\n", c.Target.Start, c.Epoch)
	fmt.Fprintf(&b, "family %s\nencoding %s\n", c.Codec.Family(), c.Codec.Encoding())
	fmt.Fprintf(&b, "time %s\n", c.Time.UTC().Format(time.RFC3339))
	return b.String()
}

// Parse reads a text in its one valid form. Lines after those of Text are left
// to later versions. Its error is a *FormatError.
func Parse(text string) (Checkpoint, error) {
	if len(text) > MaxNote {
		return Checkpoint{}, &FormatError{Reason: fmt.Sprintf("%d bytes: at most %d expected", len(text), MaxNote)}
	}
	body, ok := strings.CutSuffix(text, "\n")
	if !ok {
		return Checkpoint{}, &FormatError{Reason: "its last line does not end"}
	}
	lines := strings.SplitN(body, "\n", maxLines+1)
	if len(lines) > maxLines {
		return Checkpoint{}, &FormatError{Reason: fmt.Sprintf("more than %d lines", maxLines)}
	}
	p := parser{lines: lines}
	var c Checkpoint
	p.line(func(s string) error { c.Origin = s; return CheckOrigin(s) })
	p.line(func(s string) (err error) { c.Target.End, err = number(s); return err })
	p.line(func(s string) (err error) { c.Target.Root, err = root(s); return err })
	p.extension("start", func(s string) (err error) { c.Target.Start, err = number(s); return err })
	p.extension("epoch", func(s string) (err error) { c.Epoch, err = number(s); return err })
	var family operation.Family
	p.extension("family", func(s string) (err error) { family, err = operation.ParseFamily(s); return err })
	p.extension("encoding", func(s string) error {
		encoding, err := operation.ParseEncoding(s)
		c.Codec = operation.NewCodec(family, encoding)
		return err
	})
	p.extension("time", func(s string) (err error) { c.Time, err = instant(s); return err })
	if p.err != nil {
		return Checkpoint{}, p.err
	}
	if err := c.Target.Validate(); err != nil {
		return Checkpoint{}, &FormatError{Reason: err.Error()}
	}
	return c, nil
}

// parser takes lines one after the other until one is wrong.
type parser struct {
	lines []string
	next  int
	err   error // a *FormatError
}

func (p *parser) line(read func(string) error) {
	if p.err != nil {
		return
	}
	if p.next == len(p.lines) {
		p.err = &FormatError{Reason: fmt.Sprintf("%d lines are too few", len(p.lines))}
		return
	}
	p.next++
	if err := read(p.lines[p.next-1]); err != nil {
		p.err = &FormatError{p.next, err.Error()}
	}
}

func (p *parser) extension(name string, read func(string) error) {
	p.line(func(s string) error {
		value, ok := strings.CutPrefix(s, name+" ")
		if !ok {
			return fmt.Errorf("%.40q: %q and a value expected", s, name)
		}
		if err := read(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// number reads a decimal in its shortest form.
func number(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%.40q: a decimal number expected", s)
	}
	return n, nil
}

func root(s string) (d mmr.Digest, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return d, fmt.Errorf("root %.60q: base64 expected", s)
	}
	if len(b) != mmr.DigestSize {
		return d, fmt.Errorf("root of %d bytes: %d expected", len(b), mmr.DigestSize)
	}
	return mmr.Digest(b), nil
}

func instant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.UTC().Format(time.RFC3339) != s {
		return time.Time{}, fmt.Errorf("%.40q: a time such as 2026-01-02T15:04:05Z expected", s)
	}
	return t.UTC(), nil
}
