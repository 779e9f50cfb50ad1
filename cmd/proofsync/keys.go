package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/checkpoint"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "make keys",
		Long:  "Make the keys that servers, witnesses and replicas need.",
		Example: `  proofsync keys checkpoint --name example.org/orders --out writer.key > writer.pub
  proofsync keys tls --out ./tls`,

		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeysCheckpoint(), newKeysTLS())
	return cmd
}

// noCommand refuses arguments of a command that has nothing but commands.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q%s (see %s --help)", args[0], similar(cmd, args[0]), cmd.CommandPath())
	}
	return nil
}

func newKeysCheckpoint() *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use:   "checkpoint --name NAME [--out FILE]",
		Short: "make a key that signs checkpoints",
		Long: `Make an Ed25519 key in the form of signed notes, for a writer
(server --checkpoint-key-file) or a witness (witness --key-file).

The private key goes to FILE, which only this user may read and which must not be
there yet; the public one is printed, for --trusted-key of replicas and witnesses.
Without --out both are printed, the private one first.

NAME stands in every signature, such as example.org/orders-2026. It must be
without spaces and plus signs. A key that takes the place of another is another
key: give it another name, so that people can tell them apart.`,
		Example: `  proofsync keys checkpoint --name example.org/orders --out writer.key > writer.pub
  server --checkpoint-key-file writer.key --checkpoint-origin example.org/orders
  client --target-source checkpoint --trusted-key "$(cat writer.pub)"`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return usagef("--name is missing: what the key is called in signatures, such as example.org/orders")
			}
			private, public, err := checkpoint.GenerateKey(name)
			if err != nil {
				return usagef("--%w", err)
			}
			if out == "" {
				fmt.Fprintln(cmd.OutOrStdout(), private)
			} else if err := writeSecret(out, private+"\n"); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), public)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the key in signatures")
	cmd.Flags().StringVar(&out, "out", "", "new file for the private key")
	return cmd
}

// writeSecret writes a new file that only this user may read, durably.
func writeSecret(path, text string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: a key is never overwritten; choose another file, or move that one away", path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(path)
		}
	}()
	if _, err := io.WriteString(f, text); err != nil {
		return err
	}
	return f.Sync()
}
