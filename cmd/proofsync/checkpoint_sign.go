package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/notary"
	"github.com/proofsync/proofsync/pkg/wire"
)

// signing are the flags of checkpoint sign.
type signing struct {
	access
	keyFile, origin, root string
	size, start, epoch    uint64
	log                   codecFlags
}

func newCheckpointSign() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use:   "sign --key-file FILE --origin ORIGIN {--url URL | --storage-dir DIR | --root ROOT --size N}",
		Short: "sign the present state of a log",
		Long: `Sign what a database is now, or a root that is given, as a checkpoint of ORIGIN,
and print the note.

With --root, --size, --start, --epoch, --db and --encoding say the rest. What is
signed cannot be taken back: a second root for the same size and epoch is a proof
against the key.`,
		Example: `  proofsync checkpoint sign --key-file writer.key --origin example.org/orders --url http://127.0.0.1:8081 > note
  proofsync checkpoint sign --key-file writer.key --origin example.org/orders --storage-dir ./data`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	s.access.register(cmd)
	s.log.register(cmd)
	keyFileFlag(cmd, &s.keyFile)
	cmd.Flags().StringVar(&s.origin, "origin", "", "name of the log, such as example.org/orders")
	cmd.Flags().StringVar(&s.root, "root", "", "root to sign instead of asking: 64 hexadecimal digits")
	cmd.Flags().Uint64Var(&s.size, "size", 0, "with --root, operations under it")
	cmd.Flags().Uint64Var(&s.start, "start", 0, "with --root, where replicas may start")
	cmd.Flags().Uint64Var(&s.epoch, "epoch", 0, "with --root, how often the log has lost its end")
	return cmd
}

func (s *signing) run(cmd *cobra.Command) error {
	if s.keyFile == "" {
		return &usageError{errNoKeyFile}
	}
	if err := checkpoint.CheckOrigin(s.origin); err != nil {
		return usagef("--origin: %w", err)
	}
	keys, err := notary.ReadKeys(s.keyFile)
	if err != nil {
		return err
	}
	c, err := s.checkpoint(cmd)
	if err != nil {
		return err
	}
	c.Origin, c.Time = s.origin, time.Now().UTC().Truncate(time.Second)
	note, err := checkpoint.Sign(c, keys.Signers...)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(note)
	return err
}

// checkpoint is what is to be signed, but for origin and time.
func (s *signing) checkpoint(cmd *cobra.Command) (c checkpoint.Checkpoint, err error) {
	if s.root != "" {
		if cmd.Flags().Changed("url") || cmd.Flags().Changed("storage-dir") {
			return c, usagef("--root takes the place of --url and --storage-dir")
		}
		c.Target = wire.Target{Start: s.start, End: s.size}
		if c.Target.Root, err = mmr.ParseDigest(s.root); err != nil {
			return c, usagef("--root: %w", err)
		}
		if err := c.Target.Validate(); err != nil {
			return c, usagef("--size: %w", err)
		}
		c.Epoch = s.epoch
		c.Codec, err = s.log.codec(cmd)
		return c, err
	}
	for _, flag := range []string{"size", "start", "epoch"} {
		if cmd.Flags().Changed(flag) {
			return c, usagef("--%s needs --root", flag)
		}
	}
	err = s.with(cmd, reading, func(ctx context.Context, db *session) error {
		st, err := db.Status(ctx)
		if err != nil {
			return err
		}
		if st.Head == nil {
			return errors.New("nothing is readable there yet, so there is nothing to sign")
		}
		if c.Codec, err = db.database(ctx); err != nil {
			return err
		}
		c.Epoch, c.Target = st.Epoch, wire.Target{Start: max(st.Head.Floor, st.Head.Start), End: st.Head.Size}
		c.Target.Root, err = mmr.ParseDigest(st.Head.Root)
		return err
	})
	return c, err
}

func newCheckpointCosign() *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use:   "cosign --key-file FILE [NOTE]",
		Short: "add a signature to a checkpoint",
		Long: `Add the signatures of the keys in FILE to a note and print it. Nothing is checked
but that it is a checkpoint: verify it first. proofsync witness is the same for
machines, and does check.`,
		Example: "  proofsync checkpoint cosign --key-file auditor.key note > note.cosigned",
		Args:    optionalNote,
		RunE: func(cmd *cobra.Command, args []string) error {
			if keyFile == "" {
				return &usageError{errNoKeyFile}
			}
			keys, err := notary.ReadKeys(keyFile)
			if err != nil {
				return err
			}
			note, err := readNote(cmd, noteName(args))
			if err != nil {
				return err
			}
			if _, err := checkpoint.Peek(note); err != nil {
				return fmt.Errorf("%s: %w", noteName(args), err)
			}
			if note, err = checkpoint.Cosign(note, keys.Signers...); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(note)
			return err
		},
	}
	keyFileFlag(cmd, &keyFile)
	return cmd
}
