package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/plot"
)

func newBenchPlot() *cobra.Command {
	var (
		out  string
		want plot.Workload
	)
	cmd := &cobra.Command{
		Use:   "plot REPORT...",
		Short: "draw how the cost of a cold sync grows, from JSON reports",
		Long: `Draw seconds, peak memory and disk of cold syncs over the size of the database,
with logarithmic axes, as an SVG picture for light and dark pages.

The reports are those of bench --json; - is standard input. Where two of them
measured the same, the later one counts. Each program is shown in the
configuration that was fastest at its largest size.`,
		Example: `  proofsync bench --scenario cold-sync --sizes 10000,100000,1000000 --json report.json
  proofsync bench plot report.json --out growth.svg`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("argument REPORT is missing (see %s --help)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkWorkload(want); err != nil {
				return &usageError{err}
			}
			var reports []*plot.Report
			for _, name := range args {
				r, err := readReport(cmd, name)
				if err != nil {
					return err
				}
				reports = append(reports, r)
			}
			g, err := plot.Select(reports, want)
			if err != nil {
				return err
			}
			// Drawn before the file is touched: one that is there is not lost.
			var picture bytes.Buffer
			if err := g.SVG(&picture); err != nil {
				return err
			}
			if out == "-" {
				_, err := cmd.OutOrStdout().Write(picture.Bytes())
				return err
			}
			return os.WriteFile(out, picture.Bytes(), 0o644)
		},
	}
	cmd.Flags().StringVar(&out, "out", "-", "file of the picture; - is standard output")
	cmd.Flags().StringVar(&want.Family, "family", "", "family, where the reports hold several: any or immutable")
	cmd.Flags().StringVar(&want.Encoding, "encoding", "", "encoding, where the reports hold several: fixed or variable")
	cmd.Flags().IntVar(&want.ValueBytes, "value-size", 0, "bytes of a value, where the reports hold several sizes; 0: any")
	return cmd
}

// checkWorkload says whether the flags can mean anything.
func checkWorkload(w plot.Workload) error {
	if w.Family != "" {
		if _, err := operation.ParseFamily(w.Family); err != nil {
			return fmt.Errorf("--family: %w", err)
		}
	}
	if w.Encoding != "" {
		if _, err := operation.ParseEncoding(w.Encoding); err != nil {
			return fmt.Errorf("--encoding: %w", err)
		}
	}
	if w.ValueBytes < 0 {
		return fmt.Errorf("--value-size %d: 0 or more expected", w.ValueBytes)
	}
	return nil
}

func readReport(cmd *cobra.Command, name string) (*plot.Report, error) {
	var in io.Reader = cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	r, err := plot.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
