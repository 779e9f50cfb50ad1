package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/proofsync/proofsync/pkg/bench"
	"github.com/proofsync/proofsync/pkg/config"
)

func newBench() *cobra.Command {
	var (
		o     bench.Options
		ops   int
		path  string
		cache string
		out   output
		codec codecFlags
		logs  logging
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure syncs, commits, reads and what else users wait for",
		Long: `Measure what proofsync does, on a database of random keys, with server and client
as processes of their own over loopback, everything verified, and durable before
the clock stops. A table is printed, or JSON for programs: medians of several runs.

Scenarios (--scenario; all of them by default, none is left out for its length):
  cold-sync    an empty replica, to the root readable and on disk; for every --batch-size
  catch-up     a replica that follows, one commit of 10,000 changes: from the target
               known to the root readable; for every --batch-size
  follow       the same for 100 commits of 5 writes, one after the other
  reopen       opening a replica in a new process, after a clean stop and after a kill
  import       all keys into a new database, from JSON Lines and from memory
  commit       100,000 random updates in one durable commit
  read         random keys, by 1 goroutine and by 2; read-absent: keys that are not there
  prove        proofs of random ranges of 50 operations
  serve        64 and 256 connections that pipeline requests of 50 operations
  fsck         checking all of the database

--peer measures cold syncs of another client of the same protocol as well:
commonware-sync's, with its defaults and with its best setting, against the same
server. A scenario that fails, such as one there is no space for, is reported, and
the others still run; the exit status is 1 then.`,
		Example: `  proofsync bench
  proofsync bench --scenario cold-sync,follow --sizes 10000,100000,1000000 --json growth.json
  proofsync bench --encoding variable --value-size 1024 --runs 5 --warm-up 1
  proofsync bench --scenario cold-sync --peer ~/.cargo/bin
  proofsync bench --scenario commit --profile ./profiles && go tool pprof -top ./profiles/commit-*.cpu.pprof`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd)
			if err != nil {
				return err
			}
			if o.Codec, err = codec.codec(cmd); err != nil {
				return err
			}
			if len(o.Sizes) == 0 {
				o.Sizes = []int{ops}
			}
			if given(cmd, "value-size") && o.ValueBytes == 0 {
				return usagef("--value-size 0: 1 or more expected")
			}
			var size config.Size
			if err := size.UnmarshalText([]byte(cache)); err != nil || size < 1<<20 {
				return usagef("--cache-size %.40q: %s expected, at least 1MiB", cache, size.Accepts())
			}
			o.CacheBytes = int64(size)
			if err := o.Validate(); err != nil {
				return &usageError{err}
			}
			if out.json && path == "" {
				path = "-"
			}
			write, err := benchOutput(cmd, path)
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Logger = log
			o.Child = func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", "child") }
			report, err := bench.Measure(cmd.Context(), o)
			if report == nil || len(report.Results) == 0 {
				return err
			}
			return errors.Join(write(report), err)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Scenarios, "scenario", nil, "scenarios to measure, of those above (all)")
	flags.IntVar(&ops, "ops", 1_000_000, "random keys written to the database")
	flags.IntSliceVar(&o.Sizes, "sizes", nil, "several numbers of keys, one after the other, instead of --ops")
	flags.IntVar(&o.ValueBytes, "value-size", 0, fmt.Sprintf("length of values in bytes (fixed: 32, variable: %d)", bench.DefaultValueBytes))
	flags.IntSliceVarP(&o.BatchSizes, "batch-size", "b", []int{10_000, 50}, "most operations in a request; several are measured one after the other")
	flags.IntVar(&o.Runs, "runs", 3, "runs of each scenario; the median counts")
	flags.IntVar(&o.WarmUp, "warm-up", 0, "runs of each scenario before them, which do not count")
	flags.StringVar(&cache, "cache-size", "64MiB", "memory for the block cache of every process (the programs' default)")
	flags.StringVar(&path, "json", "", "write the report as JSON to this file, beside the table; -: to standard output, instead of it")
	flags.StringVar(&o.Peer, "peer", "", "folder with the programs of commonware-sync, or its client, to compare cold syncs with")
	flags.StringVar(&o.Profile, "profile", "", "folder for CPU, allocation and block profiles of every process that is measured")
	flags.StringVar(&o.TempDir, "temp-dir", "", "where databases are made and removed again (the system's temporary folder)")
	out.register(cmd, "the report as one document")
	codec.register(cmd)
	flags.Lookup("db").Usage = "family: any or immutable; also --family [" + variable("db") + "]"
	flags.Lookup("encoding").Usage = "encoding: fixed or variable [" + variable("encoding") + "]"
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "family" {
			name = "db"
		}
		return pflag.NormalizedName(name)
	})
	complete(cmd, "scenario", bench.Scenarios()...)
	logs.register(cmd, "info")
	cmd.AddCommand(newBenchChild(), newBenchPlot())
	return cmd
}

// benchOutput opens what the report is written to, before there is one: a
// measurement takes minutes, and must not be lost to a mistake in a path.
func benchOutput(cmd *cobra.Command, path string) (write func(*bench.Report) error, err error) {
	switch path {
	case "":
		return func(r *bench.Report) error { return r.Print(cmd.OutOrStdout()) }, nil
	case "-":
		return func(r *bench.Report) error { return printJSON(cmd.OutOrStdout(), r) }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return func(r *bench.Report) error {
		return errors.Join(r.Print(cmd.OutOrStdout()), printJSON(f, r), f.Close())
	}, nil
}

// newBenchChild is a process that is measured.
func newBenchChild() *cobra.Command {
	return &cobra.Command{
		Use:    "child",
		Short:  "the body of a measured process; what to do comes on standard input",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Child(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}
