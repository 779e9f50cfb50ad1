package notary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
	"unicode"

	"github.com/proofsync/proofsync/pkg/checkpoint"
)

const (
	// DefaultCommandTime is how long a signer command may take.
	DefaultCommandTime = 10 * time.Second
	// maxStderr is how much of what a failing command says is repeated, in bytes.
	maxStderr = 300
	// commandGrace is how long children of a command that was killed may keep its
	// output open.
	commandGrace = time.Second
)

// Command signs with another program, which has the key or can reach it: it
// reads the text of the checkpoint from standard input and writes the signed
// note, or its signature lines alone, to standard output.
type Command struct {
	args    []string
	timeout time.Duration
}

// NewCommand is a signer that runs a program; the command is split at spaces,
// and no shell sees it. A timeout of 0 is DefaultCommandTime.
func NewCommand(command string, timeout time.Duration) (*Command, error) {
	args := strings.Fields(command)
	if len(args) == 0 {
		return nil, errors.New("signer command is empty")
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return nil, fmt.Errorf("signer command: %w", err)
	}
	if timeout <= 0 {
		timeout = DefaultCommandTime
	}
	return &Command{args, timeout}, nil
}

// Renewed implements Signer: a program's keys are its own business.
func (c *Command) Renewed() bool { return false }

// Sign implements Signer.
func (c *Command) Sign(ctx context.Context, cp checkpoint.Checkpoint) ([]byte, error) {
	if err := cp.Validate(); err != nil {
		return nil, &Error{reasonInvalid, err}
	}
	limit, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	text := cp.Text()
	out, says := &bounded{most: checkpoint.MaxNote}, &bounded{most: maxStderr}
	cmd := exec.CommandContext(limit, c.args[0], c.args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), out, says
	cmd.WaitDelay = commandGrace
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limit.Err() != nil:
		return nil, &Error{reasonTimeout, fmt.Errorf("signer command took more than %s", c.timeout)}
	case err != nil:
		return nil, &Error{reasonSigner, fmt.Errorf("signer command: %w%s", err, says.tail())}
	case out.over:
		return nil, &Error{reasonInvalid, fmt.Errorf("signer command: more than %d bytes of output", checkpoint.MaxNote)}
	}
	signed, err := noteOf(text, out.b.String())
	if err != nil {
		return nil, &Error{reasonInvalid, fmt.Errorf("signer command: %w", err)}
	}
	return signed, nil
}

// signaturePrefix begins a signature line.
const signaturePrefix = "— "

// noteOf makes a note of a text and an answer, which is either the whole note of
// exactly that text or its signature lines.
func noteOf(text, answer string) ([]byte, error) {
	lines := strings.TrimPrefix(answer, text+"\n")
	if lines == "" {
		return nil, errors.New("no signature")
	}
	for line := range strings.Lines(lines) {
		if !strings.HasPrefix(line, signaturePrefix) || !strings.HasSuffix(line, "\n") {
			return nil, fmt.Errorf("line %.80q: the note of the text that it was given, or signature lines expected", line)
		}
	}
	signed := []byte(text + "\n" + lines)
	if _, err := checkpoint.Peek(signed); err != nil {
		return nil, err
	}
	return signed, nil
}

// signatures counts the signature lines of a note.
func signatures(signed []byte) int {
	_, lines, _ := bytes.Cut(signed, []byte("\n\n"))
	return bytes.Count(lines, []byte(signaturePrefix))
}

// bounded keeps the beginning of what is written and swallows the rest.
type bounded struct {
	b    bytes.Buffer
	most int
	over bool
}

func (w *bounded) Write(p []byte) (int, error) {
	room := min(len(p), w.most-w.b.Len())
	w.b.Write(p[:room])
	w.over = w.over || room < len(p)
	return len(p), nil
}

// tail is what was written as part of a line of the log; nothing, if nothing was.
func (w *bounded) tail() string {
	s := strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, w.b.String()))
	if s == "" {
		return ""
	}
	return ": " + s
}
