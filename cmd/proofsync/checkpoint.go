package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/remote"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

func newCheckpoint() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "make, check and compare signed checkpoints",
		Long: `A checkpoint says in a few lines which root a log had at a size, and carries the
signatures of its writer and of witnesses (the C2SP formats signed-note and
tlog-checkpoint). Servers with --checkpoint-key-file make one of every commit.

NOTE is a file, - for standard input, or the address of a server, client or
witness whose newest one is asked for.`,
		Example: `  proofsync checkpoint show http://127.0.0.1:8081
  proofsync checkpoint verify --trusted-key "$(cat writer.pub)" note
  proofsync checkpoint compare --trusted-key "$(cat writer.pub)" accepted.note other.note`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newCheckpointSign(), newCheckpointCosign(), newCheckpointVerify(), newCheckpointShow(), newCheckpointCompare()} {
		c.DisableFlagsInUseLine = true
		cmd.AddCommand(c)
	}
	return cmd
}

// noteTime bounds asking for a note.
const noteTime = 10 * time.Second

// readNote reads a note from a file, standard input or an address.
func readNote(cmd *cobra.Command, name string) ([]byte, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "unix://") {
		return fetchNote(cmd.Context(), name)
	}
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
	b, err := io.ReadAll(io.LimitReader(in, checkpoint.MaxNote+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(b) > checkpoint.MaxNote {
		return nil, fmt.Errorf("%s: a note has at most %d bytes", name, checkpoint.MaxNote)
	}
	return b, nil
}

func fetchNote(ctx context.Context, address string) ([]byte, error) {
	c, err := remote.New(strings.TrimSuffix(address, "/v1/checkpoint"), remote.Options{
		Timeout: noteTime, UserAgent: "proofsync/" + telemetry.Build().Version,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	defer c.Close()
	return c.Checkpoint(ctx, 1)
}

// optionalNote is the argument NOTE, standard input without one.
func optionalNote(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("unexpected argument %q: one note expected", args[1])
	}
	return nil
}

func noteName(args []string) string {
	if len(args) == 0 {
		return "-"
	}
	return args[0]
}

// trustedKeys is the flag --trusted-key.
type trustedKeys struct{ given []string }

func (k *trustedKeys) register(cmd *cobra.Command, usage string) {
	cmd.Flags().StringArrayVar(&k.given, "trusted-key", nil, usage+": NAME+HASH+BASE64, as keys checkpoint prints it; repeat for several")
}

// keys are those that were given; one that is given twice counts once.
func (k *trustedKeys) keys() ([]checkpoint.Key, error) {
	var out []checkpoint.Key
	have := make(map[string]bool)
	for _, text := range k.given {
		key, err := checkpoint.ParseKey(strings.TrimSpace(text))
		if err != nil {
			return nil, usagef("--trusted-key: %w", err)
		}
		if !have[key.String()] {
			have[key.String()] = true
			out = append(out, key)
		}
	}
	return out, nil
}

// trustFlags say which notes are believed.
type trustFlags struct {
	trustedKeys
	origin string
	quorum int
	maxAge time.Duration
}

func (t *trustFlags) register(cmd *cobra.Command) {
	t.trustedKeys.register(cmd, "public key whose signature counts")
	cmd.Flags().StringVar(&t.origin, "origin", "", "the log it has to be of; empty: whichever it names")
	cmd.Flags().IntVar(&t.quorum, "quorum", 1, "how many of the trusted keys have to have signed")
	cmd.Flags().DurationVar(&t.maxAge, "max-target-age", 0, "how old it may be; 0: as old as it likes")
}

// verify checks a note. The error has one line that says why not.
func (t *trustFlags) verify(note []byte, now time.Time) (*checkpoint.Signed, error) {
	keys, err := t.keys()
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, usagef("--trusted-key is missing: without one every signature is as good as any")
	}
	c, err := checkpoint.Peek(note)
	if err != nil {
		return nil, err
	}
	trust := checkpoint.Trust{Origin: t.origin, Codec: c.Codec, Keys: keys, Quorum: t.quorum, MaxAge: t.maxAge}
	if trust.Origin == "" {
		trust.Origin = c.Origin
	}
	if err := trust.Check(); err != nil {
		return nil, &usageError{err}
	}
	s, err := trust.Verify(note, now)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// keyFiles is the flag --key-file.
func keyFileFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "key-file", "", "file with the private keys to sign with, one in a line, all of which sign")
	_ = cmd.MarkFlagFilename("key-file") // it fails for a flag that does not exist only
}

var errNoKeyFile = errors.New("--key-file is missing: proofsync keys checkpoint makes one")
