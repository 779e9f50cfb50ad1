package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/checkpoint"
)

func newCheckpointVerify() *cobra.Command {
	var t trustFlags
	var out output
	cmd := &cobra.Command{
		Use:   "verify --trusted-key KEY... [--quorum N] [--origin ORIGIN] [--max-target-age TIME] [NOTE]",
		Short: "check a checkpoint as a replica does",
		Long: `Check that enough of the trusted keys have signed a checkpoint, and that it is of
the right log and young enough. Exit codes: 0 it is good, 1 it is not, and one line
says why, 2 for mistakes in arguments.`,
		Example: `  proofsync checkpoint verify --trusted-key "$(cat writer.pub)" --max-target-age 1h http://127.0.0.1:8081
  proofsync checkpoint verify --trusted-key "$(cat writer.pub)" --trusted-key "$(cat witness.pub)" --quorum 2 note`,
		Args: optionalNote,
		RunE: func(cmd *cobra.Command, args []string) error {
			if keys, err := t.keys(); err != nil || len(keys) == 0 {
				_, err = t.verify(nil, time.Now())
				return err
			}
			note, err := readNote(cmd, noteName(args))
			if err != nil {
				return err
			}
			s, err := t.verify(note, time.Now())
			if err != nil {
				return err
			}
			v := newShown(s.Checkpoint, time.Now())
			for _, name := range s.Signers {
				v.Signatures = append(v.Signatures, signature{Name: name, Verified: true})
			}
			return v.write(cmd, out)
		},
	}
	t.register(cmd)
	out.register(cmd, "what the checkpoint says, and who has signed")
	return cmd
}

func newCheckpointShow() *cobra.Command {
	var k trustedKeys
	var out output
	cmd := &cobra.Command{
		Use:   "show [--trusted-key KEY...] [NOTE]",
		Short: "print what a checkpoint says",
		Long: `Print everything in a checkpoint. Signatures of keys that are given are checked;
others are unknown, and prove nothing: anybody can write a name.`,
		Example: "  proofsync checkpoint show http://127.0.0.1:8081",
		Args:    optionalNote,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := k.keys()
			if err != nil {
				return err
			}
			note, err := readNote(cmd, noteName(args))
			if err != nil {
				return err
			}
			c, err := checkpoint.Peek(note)
			if err != nil {
				return err
			}
			v := newShown(c, time.Now())
			v.Signatures = signatures(note, keys)
			return v.write(cmd, out)
		},
	}
	k.register(cmd, "public key whose signature is checked")
	out.register(cmd, "everything in it")
	return cmd
}

// signature is one of a note.
type signature struct {
	Name     string `json:"name"`
	Verified bool   `json:"verified"`
	State    string `json:"state,omitempty"` // verified, unknown: of no key that was given, or wrong
}

// signatures says of each signature line whether one of the keys has made it.
func signatures(note []byte, keys []checkpoint.Key) []signature {
	var out []signature
	text, lines, _ := strings.Cut(string(note), "\n\n")
	for line := range strings.Lines(lines) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "— "), " ")
		s := signature{Name: name, State: "unknown"}
		// A note with this signature alone says what each key says about it.
		alone := []byte(text + "\n\n" + line)
		for _, k := range keys {
			c, err := checkpoint.Peek(alone)
			if err != nil || k.Name() != name {
				continue
			}
			t := checkpoint.Trust{Origin: c.Origin, Codec: c.Codec, Keys: []checkpoint.Key{k}, Quorum: 1, MaxSkew: 1 << 62}
			_, err = t.Verify(alone, c.Time)
			if q, ok := errors.AsType[*checkpoint.QuorumError](err); ok && len(q.Invalid) > 0 {
				s.State = "wrong"
			} else if err == nil {
				s.Verified, s.State = true, "verified"
			}
			if s.State != "unknown" {
				break
			}
		}
		out = append(out, s)
	}
	return out
}

// shown is a checkpoint as it is printed.
type shown struct {
	Origin     string      `json:"origin"`
	Size       uint64      `json:"size"`
	Root       string      `json:"root"`
	Start      uint64      `json:"start"`
	Epoch      uint64      `json:"epoch"`
	Family     string      `json:"family"`
	Encoding   string      `json:"encoding"`
	Time       time.Time   `json:"time"`
	AgeSeconds int64       `json:"age_seconds"`
	Signatures []signature `json:"signatures"`
}

func newShown(c checkpoint.Checkpoint, now time.Time) *shown {
	return &shown{
		Origin: c.Origin, Size: c.Target.End, Root: c.Target.Root.String(), Start: c.Target.Start, Epoch: c.Epoch,
		Family: c.Codec.Family().String(), Encoding: c.Codec.Encoding().String(),
		Time: c.Time, AgeSeconds: int64(now.Sub(c.Time) / time.Second),
	}
}

func (s *shown) write(cmd *cobra.Command, out output) error {
	if out.json {
		return printJSON(cmd.OutOrStdout(), s)
	}
	t := newTable(cmd.OutOrStdout())
	t.row("origin", line(s.Origin))
	t.row("size", s.Size)
	t.row("root", s.Root)
	t.row("start", s.Start)
	t.row("epoch", s.Epoch)
	t.row("log", s.Family+"/"+s.Encoding)
	t.row("time", fmt.Sprintf("%s, %s ago", s.Time.Format(time.RFC3339), time.Duration(s.AgeSeconds)*time.Second))
	for _, sig := range s.Signatures {
		state := sig.State
		if sig.Verified {
			state = "verified"
		}
		t.row("signature", line(sig.Name)+", "+state)
	}
	return t.flush()
}
