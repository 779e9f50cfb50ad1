package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/verify"
)

// maxAnswer is the longest saved answer that is read, in bytes.
const maxAnswer = 256 << 20

func newVerify() *cobra.Command {
	var t trust
	var out output
	cmd := &cobra.Command{
		Use:   "verify {--root ROOT --size N --db FAMILY --encoding ENCODING | --trust FILE} [FILE|-]",
		Short: "check a saved answer of the HTTP API",
		Long: `Check the proof of an answer that was saved from the HTTP API against a root you
trust, without a database and without the network, and say what it proves.

FILE, or standard input, is the JSON of GET /v1/keys/{key}?proof=true or of
GET /v1/operations?proof=true. The root has to come from somewhere else than the
answer: from another replica, or from a record of your own. It does not say how
the operations of its log are written, and one who answers could choose that at
will: --db and --encoding are what you know of the log, as server and client have
them.

--trust reads all of this from the JSON of GET /v1/status, or of an answer with a
proof that you do trust. An event of GET /v1/watch names the root alone, so that
--db and --encoding are needed with it.

A proof shows that operations stand at their locations under the root. It does
not show that no later operation replaced them.

Exit code 1 means that the answer was not proven; the message says why.`,
		Example: `  curl -s 'http://replica:8082/v1/keys/YWxpY2U?proof=true' > answer.json
  curl -s http://other:8082/v1/status > status.json
  proofsync verify --trust status.json answer.json
  proofsync verify --root eb41f9eda4c6c8fcc486de7dbdd99cf44b63de14b24f026dbdd6e4ace0e98c0a --size 10 --db any --encoding variable < answer.json
  proofsync verify --trust status.json --output json answer.json | jq .location`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q (see proofsync verify --help)", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(cmd); err != nil {
				return err
			}
			name := "-"
			if len(args) == 1 {
				name = args[0]
			}
			if name == "-" && t.file == "-" {
				return usagef("standard input can be read once only: as the answer, or by --trust")
			}
			trusted, err := t.root(cmd)
			if err != nil {
				return err
			}
			b, err := readAnswer(cmd, name)
			if err != nil {
				return err
			}
			proven, err := checkAnswer(b, trusted)
			if refused, ok := errors.AsType[*verify.Error](err); ok && out.json {
				err = errors.Join(printJSON(cmd.OutOrStdout(), verdict{Reason: refused.Reason, Says: err.Error()}), err)
			}
			if err != nil {
				return err
			}
			v := newVerdict(proven)
			if out.json {
				return printJSON(cmd.OutOrStdout(), v)
			}
			return v.print(newTable(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringVar(&t.hex, "root", "", "the root you trust: 64 hexadecimal digits")
	cmd.Flags().Uint64Var(&t.size, "size", 0, "number of operations under the root you trust")
	cmd.Flags().StringVar(&t.file, "trust", "", "a file with the JSON of a status, event or answer that names the root you trust, in place of --root and --size")
	t.log.register(cmd)
	for flag, usage := range map[string]string{"db": "family of the log you trust: any or immutable", "encoding": "encoding of the log you trust: fixed or variable"} {
		f := cmd.Flags().Lookup(flag)
		f.Usage = usage + "; required unless the file of --trust says it [" + variable(flag) + "]"
		if !given(cmd, flag) {
			f.DefValue = "" // there is none: it would be believed without having been meant
		}
	}
	out.register(cmd, "what was proven in words, and location, operations, root and size; or why not")
	return cmd
}

// trust is what flags say of the trusted root.
type trust struct {
	hex  string
	size uint64
	file string
	log  codecFlags
}

func (t *trust) check(cmd *cobra.Command) error {
	root, size, file := cmd.Flags().Changed("root"), cmd.Flags().Changed("size"), cmd.Flags().Changed("trust")
	switch {
	case file && (root || size):
		return usagef("--trust takes the place of --root and --size")
	case !file && !root && !size:
		return usagef("a root to trust is missing: --root, --size, --db and --encoding, or --trust FILE")
	case !file && !(root && size):
		return usagef("--root and --size go together")
	case !file:
		return t.require(cmd, "")
	}
	_, err := t.log.codec(cmd)
	return err
}

// require wants the flags that say how the log is written, where there is
// nothing else that does; why is the beginning of the message.
func (t *trust) require(cmd *cobra.Command, why string) error {
	for _, flag := range []string{"db", "encoding"} {
		if !given(cmd, flag) {
			return usagef("%s--%s is missing, here or in %s: a root does not say what its log is made of", why, flag, variable(flag))
		}
	}
	_, err := t.log.codec(cmd)
	return err
}

// root returns the trusted root. What flags and the trusted file both say has
// to agree.
func (t *trust) root(cmd *cobra.Command) (r verify.Root, err error) {
	if t.file == "" {
		if r, err = verify.ParseRoot(t.hex, t.size, t.log.family, t.log.encoding); err != nil {
			err = &usageError{err}
		}
		return r, err
	}
	b, err := readAnswer(cmd, t.file)
	if err != nil {
		return r, err
	}
	var d struct {
		document.Head
		Status *document.Head  `json:"head"`
		Proof  *document.Proof `json:"proof"` // of an answer
		Family string          `json:"family"`
		Enc    string          `json:"encoding"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return r, fmt.Errorf("%s: no JSON of a status, event or answer: %w", t.file, err)
	}
	if d.Status != nil {
		d.Head = *d.Status
	}
	if d.Proof != nil {
		d.Family, d.Enc = d.Proof.Family, d.Proof.Encoding
	}
	if d.Root == "" {
		return r, fmt.Errorf("%s: names no root", t.file)
	}
	if d.Family == "" && d.Enc == "" {
		if err := t.require(cmd, t.file+" names a root alone, "); err != nil {
			return r, err
		}
		d.Family, d.Enc = t.log.family, t.log.encoding
	}
	if r, err = verify.ParseRoot(d.Root, d.Size, d.Family, d.Enc); err != nil {
		return r, fmt.Errorf("%s: %w", t.file, err)
	}
	if given(cmd, "db") && t.log.family != r.Family {
		return r, usagef("%s %s: the log of %s is of the family %s", origin(cmd, "db"), t.log.family, t.file, r.Family)
	}
	if given(cmd, "encoding") && t.log.encoding != r.Encoding {
		return r, usagef("%s %s: the log of %s is of the encoding %s", origin(cmd, "encoding"), t.log.encoding, t.file, r.Encoding)
	}
	return r, nil
}

// readAnswer reads a file, or standard input for "-".
func readAnswer(cmd *cobra.Command, name string) ([]byte, error) {
	var in io.Reader
	if name == "-" {
		in = interruptible(cmd.Context(), cmd.InOrStdin())
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("%s: more than %s", name, byteSize(maxAnswer))
	}
	return b, nil
}

// checkAnswer finds out which answer b is, and checks it.
func checkAnswer(b []byte, trusted verify.Root) (*verify.Proven, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, fmt.Errorf("no JSON of an answer: %w", err)
	}
	has := func(name string) bool { _, ok := members[name]; return ok }
	switch {
	case has("code") && has("detail"):
		var p document.Problem
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, fmt.Errorf("no answer: %w", err)
		}
		return nil, fmt.Errorf("the answer is a problem, which nothing can prove: %s: %.500s", p.Code, p.Detail)
	case has("operations"):
		return check(b, trusted, verify.Operations)
	case has("keys"):
		return nil, errors.New("a listing of keys carries no proof: get the keys one by one with ?proof=true")
	case has("key"):
		return check(b, trusted, verify.Entry)
	}
	return nil, errors.New("no answer to GET /v1/keys/{key} or GET /v1/operations")
}

func check[T any](b []byte, trusted verify.Root, by func(*T, verify.Root) (*verify.Proven, error)) (*verify.Proven, error) {
	answer := new(T)
	if err := json.Unmarshal(b, answer); err != nil {
		return nil, fmt.Errorf("no JSON of an answer: %w", err)
	}
	return by(answer, trusted)
}

// verdict is what verify prints.
type verdict struct {
	Proven     bool          `json:"proven"`
	Reason     verify.Reason `json:"reason,omitempty"` // why not
	Says       string        `json:"says"`             // in words
	Family     string        `json:"family,omitempty"`
	Encoding   string        `json:"encoding,omitempty"`
	Location   *uint64       `json:"location,omitempty"` // of the first operation
	Operations int           `json:"operations,omitempty"`
	Root       string        `json:"root,omitempty"`
	Size       uint64        `json:"size,omitempty"`
}

func newVerdict(p *verify.Proven) verdict {
	return verdict{
		Proven: true, Says: p.Says(), Family: p.Codec.Family().String(), Encoding: p.Codec.Encoding().String(),
		Location: &p.Location, Operations: len(p.Operations), Root: p.Root.Root.String(), Size: p.Root.Size,
	}
}

func (v verdict) print(t *table) error {
	t.row("proven", v.Says)
	t.row("location", *v.Location)
	t.row("operations", v.Operations)
	t.row("size", v.Size)
	t.row("root", v.Root)
	return t.flush()
}
