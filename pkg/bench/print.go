package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the report as a table in Markdown's form, so that it can be put
// into a document as it is.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "Cold sync of %d operations (%s/%s, %d random keys), server and client over loopback, durable at the end.\n\n",
		r.Fetched(), r.Family, r.Encoding, r.Writes)
	t := tabwriter.NewWriter(w, 0, 8, 1, ' ', 0)
	row := func(cells ...string) {
		for _, c := range cells {
			fmt.Fprintf(t, "| %s\t", c)
		}
		fmt.Fprintln(t, "|")
	}
	row("client", "runs", "median", "operations/s", "MB/s", "peak memory", "reopen", "disk/operation", "times peer")
	row("---", "---", "---", "---", "---", "---", "---", "---", "---")
	for _, s := range r.Scenarios {
		if len(s.Runs) == 0 {
			row(s.Name, "0", "failed", "", "", "", "", "", "")
			continue
		}
		row(s.Name, fmt.Sprint(len(s.Runs)), fmt.Sprintf("%.3f s", s.Seconds), fmt.Sprintf("%.0f", s.OpsPerSecond),
			known(s.BytesPerSec/1e6, "%.1f"), known(float64(s.PeakBytes)/1e6, "%.0f MB"), known(s.Reopen*1e3, "%.1f ms"),
			known(s.DiskPerOp, "%.0f B"), known(s.Ratio, "%.1f"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range r.Scenarios {
		if s.Error != "" {
			fmt.Fprintf(w, "\n%s: %s\n", s.Name, s.Error)
		}
	}
	return nil
}

// known leaves out what was not measured.
func known(v float64, format string) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}
