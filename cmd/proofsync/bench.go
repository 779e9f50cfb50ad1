package main

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/bench"
)

func newBench() *cobra.Command {
	var (
		o     bench.Options
		out   output
		codec codecFlags
		logs  logging
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure cold syncs over loopback",
		Long: `Prepare a database of random keys, then sync it from a server process to a
fresh client process over loopback, verified and durable at the end, and report
speed, the client's peak memory, the time to open the result again and its size.

--peer compares with another client of the same protocol, called with
commonware-sync's options and otherwise its defaults. A scenario that fails is
reported, and the others still run.`,
		Example: `  proofsync bench
  proofsync bench --ops 100000 --runs 5 --batch-size 1000,10000 --output json
  proofsync bench --peer ~/.cargo/bin/client`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd)
			if err != nil {
				return err
			}
			if o.Codec, err = codec.codec(cmd); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return &usageError{err}
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Logger = log
			o.Child = func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", "child") }
			report, err := bench.Measure(cmd.Context(), o)
			if report == nil {
				return err
			}
			if out.json {
				return errors.Join(err, printJSON(cmd.OutOrStdout(), report))
			}
			return errors.Join(err, report.Print(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().IntVar(&o.Ops, "ops", 1_000_000, "random keys written to the server's database")
	cmd.Flags().IntSliceVarP(&o.BatchSizes, "batch-size", "b", []int{50, 10_000}, "most operations in a request; several are measured one after the other")
	cmd.Flags().IntVar(&o.Runs, "runs", 3, "runs of each scenario; the median counts")
	cmd.Flags().StringVar(&o.Peer, "peer", "", "program of another client to compare with")
	cmd.Flags().StringVar(&o.TempDir, "temp-dir", "", "where databases are made and removed again (the system's temporary folder)")
	out.register(cmd, "the report as one document")
	codec.register(cmd)
	cmd.Flags().Lookup("db").Usage = "family: any or immutable [" + variable("db") + "]"
	cmd.Flags().Lookup("encoding").Usage = "encoding: fixed or variable [" + variable("encoding") + "]"
	logs.register(cmd, "info")
	cmd.AddCommand(&cobra.Command{
		Use:    "child",
		Short:  "the body of a measured process; its job comes on standard input",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Child(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	})
	return cmd
}
