package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/demo"
)

func newDemo() *cobra.Command {
	var (
		o    demo.Options
		out  output
		logs logging
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "show a server and two verified replicas on real input",
		Long: `Import sources of the Go standard library and this program's module checksums,
serve them, let two clients follow while they change, and tamper with one answer.
It needs no network but loopback, ends by itself and removes what it made. The
exit code is 0 only if all roots came out the same and the tampering was refused.`,
		Example: `  proofsync demo
  proofsync demo --rounds 30 --interval 1s
  proofsync demo --output json | jq .root`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Rounds < 1 || o.Rounds > 10_000 {
				return usagef("--rounds %d: 1 to 10000 expected", o.Rounds)
			}
			if o.Interval < 0 || o.Interval > time.Hour {
				return usagef("--interval %s: 0s to 1h expected", o.Interval)
			}
			log, err := logs.logger(cmd)
			if err != nil {
				return err
			}
			o.Logger = log
			std := cmd.OutOrStdout()
			if out.json {
				o.Out = cmd.ErrOrStderr() // standard output is for the summary
			} else {
				o.Out = std
			}
			o.Live = isTerminal(o.Out)
			s, err := demo.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(std, s)
			}
			_, err = fmt.Fprintf(std, "%-10s %d records, %d operations, %d edits, 1 tampered answer refused, three equal roots, in %.1fs\n",
				"summary", s.Records, s.Size, s.Rounds, s.Seconds)
			if s.Directory != "" && err == nil {
				_, err = fmt.Fprintf(std, "%-10s %s (try: proofsync inspect %s/client-a)\n", "kept", s.Directory, s.Directory)
			}
			return err
		},
	}
	cmd.Flags().IntVar(&o.Rounds, "rounds", demo.DefaultRounds, "edits shown")
	cmd.Flags().DurationVar(&o.Interval, "interval", 400*time.Millisecond, "time between edits")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave the storage directories behind")
	out.register(cmd, "a summary as one document, the narration to standard error")
	logs.register(cmd, "error")
	return cmd
}
