package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/remote"
)

func newGet() *cobra.Command {
	var (
		at    access
		out   output
		keys  notation
		asRaw bool
		o     remote.GetOptions
	)
	cmd := &cobra.Command{
		Use:   "get (--url URL | --storage-dir DIR) KEY",
		Short: "read one key",
		Long: `Read the value of a key: from a server or a client by its HTTP API, or from a
storage directory, by way of the process that holds it if there is one.

KEY is found as import stores it: in the encoding fixed it is hashed with SHA-256,
unless it is given by --hex or --base64 and has exactly 32 bytes.

With --proof, --output json prints an answer that "proofsync verify" checks
against a root that was learned elsewhere. The exit code is 1 if the key has no
value; the message names the root that says so.`,
		Example: `  proofsync get -u http://127.0.0.1:8081 alice
  proofsync get -d ./data --at-size 1204 alice
  proofsync get -d ./data --hex 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90
  proofsync get -d ./docs --raw README.md > README.md
  proofsync get -u http://replica:8082 --proof --output json alice > answer.json`,
		Args: exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asRaw && out.json && cmd.Flags().Changed("output") {
				return usagef("--raw and --output json exclude each other")
			}
			key, err := keys.parse("KEY", args[0])
			if err != nil {
				return err
			}
			return at.with(cmd, reading, func(ctx context.Context, s *session) error {
				stored, err := s.stored(ctx, key)
				if err != nil {
					return err
				}
				e, err := s.Get(ctx, stored, o)
				if p, ok := errors.AsType[*document.Problem](err); ok && p.Code == document.CodeKeyNotFound && p.Head != nil {
					return fmt.Errorf("key not found: %.200q at size %d, root %s", args[0], p.Size, p.Root)
				}
				if err != nil {
					return err
				}
				if out.json && !asRaw {
					return printJSON(cmd.OutOrStdout(), e)
				}
				value, err := s.Decode(*e.Value)
				if err != nil {
					return err
				}
				if asRaw {
					_, err = cmd.OutOrStdout().Write(value)
					return err
				}
				t := newTable(cmd.OutOrStdout())
				if s.form != "" {
					t.row("value", line(*e.Value))
				} else {
					t.row("value", readable(value))
				}
				t.row("location", e.Location)
				t.row("size", e.Size)
				t.row("root", e.Root)
				if p := e.Proof; p != nil {
					t.row("proof", fmt.Sprintf("%d digests; to check or keep it: --output json", len(p.Digests)))
				}
				return t.flush()
			})
		},
	}
	at.register(cmd)
	keys.register(cmd, "", "KEY")
	cmd.Flags().BoolVar(&asRaw, "raw", false, "print the bytes of the value and nothing else")
	cmd.Flags().BoolVar(&o.Proof, "proof", false, "ask for a proof that the value stands under the root")
	cmd.Flags().Uint64Var(&o.AtSize, "at-size", 0, "read at the commit of this size instead of the newest state")
	out.register(cmd, "the answer as the API gives it")
	return cmd
}
