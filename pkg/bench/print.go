package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the report as tables in Markdown's form, one for each number of
// operations, so that they can be put into a document as they are.
func (r *Report) Print(w io.Writer) error {
	load := ""
	if r.Machine.Load != nil {
		load = fmt.Sprintf(", load average %.2f at the beginning", *r.Machine.Load)
	}
	fmt.Fprintf(w, "proofsync %s, %s, %s/%s, %d processors%s. Medians; spread is from the fastest to the slowest run, relative to the median.\n",
		r.Proofsync, r.Machine.Go, r.Machine.GOOS, r.Machine.GOARCH, r.Machine.CPUs, load)
	for _, part := range parts(r.Results) {
		if err := printPart(w, part); err != nil {
			return err
		}
	}
	return nil
}

// parts groups results that belong into one table.
func parts(results []Result) (all [][]Result) {
	for len(results) > 0 {
		n := slices.IndexFunc(results, func(x Result) bool { return x.Ops != results[0].Ops })
		if n < 0 {
			n = len(results)
		}
		all, results = append(all, results[:n]), results[n:]
	}
	return all
}

// column is a figure as a table shows it.
type column struct {
	title  string
	figure string
	show   func(v float64) string
}

var columns = []column{
	{"seconds", seconds, span}, {"operations/s", operationsRate, number}, {"values", valueBytesRate, func(v float64) string { return size(v) + "/s" }},
	{"p50", latencyP50, span}, {"p99", latencyP99, span}, {"CPU", cpuSeconds, span},
	{"memory", clientMemory, size}, {"server's", serverMemory, size}, {"disk/operation", diskPerOp, func(v float64) string { return fmt.Sprintf("%.0f B", v) }},
	{"reopen", reopenSeconds, span},
}

func printPart(w io.Writer, results []Result) error {
	first := results[0]
	fmt.Fprintf(w, "\n%d random keys, %s/%s, values of %d bytes\n\n", first.Ops, first.Family, first.Encoding, first.ValueBytes)
	var peers []Result
	shown := make([]column, 0, len(columns))
	for _, c := range columns {
		if slices.ContainsFunc(results, func(x Result) bool { return x.median(c.figure) > 0 }) {
			shown = append(shown, c)
		}
	}
	for _, x := range results {
		if x.Program != ours && x.median(operationsRate) > 0 {
			peers = append(peers, x)
		}
	}
	t := tabwriter.NewWriter(w, 0, 8, 1, ' ', 0)
	row := func(cells []string) { fmt.Fprintf(t, "| %s\t|\n", strings.Join(cells, "\t| ")) }
	head := []string{"scenario", "runs"}
	for _, c := range shown {
		head = append(head, c.title)
	}
	head = append(head, "spread")
	for _, p := range peers {
		head = append(head, "times peer's "+p.Variant)
	}
	row(head)
	row(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, x := range results {
		row(cells(x, shown, peers))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, x := range results {
		if x.Error != "" {
			fmt.Fprintf(w, "\n%s: %s\n", x.title(), x.Error)
		}
	}
	return nil
}

// cells are those of a row. The ratios are of operations a second, of one scenario.
func cells(x Result, shown []column, peers []Result) []string {
	row := []string{x.title(), fmt.Sprint(x.Runs)}
	for i, c := range shown {
		switch v := x.median(c.figure); {
		case v > 0:
			row = append(row, c.show(v))
		case i == 0:
			row = append(row, "failed")
		default:
			row = append(row, "")
		}
	}
	spread := ""
	if f, ok := x.Figures[seconds]; ok && x.Runs > 1 {
		spread = fmt.Sprintf("%.0f%%", 100*(f.Max-f.Min)/f.Median)
	}
	row = append(row, spread)
	for _, p := range peers {
		ratio := ""
		if v := x.median(operationsRate); v > 0 && x.Scenario == p.Scenario {
			ratio = fmt.Sprintf("%.1f", v/p.median(operationsRate))
		}
		row = append(row, ratio)
	}
	return row
}

func (r *Result) title() string {
	v := variant{scenario: r.Scenario, name: r.Variant, batch: r.Batch, program: r.Program}
	return v.title()
}

// span writes seconds with three digits or so.
func span(v float64) string {
	d := time.Duration(v * float64(time.Second))
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", v)
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.3f s", v)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", v*1e3)
	}
	return fmt.Sprintf("%.1f us", v*1e6)
}

func number(v float64) string { return fmt.Sprintf("%.0f", v) }

// size writes bytes; MB are a million, as disks and networks count.
func size(v float64) string { return fmt.Sprintf("%.1f MB", v/1e6) }
