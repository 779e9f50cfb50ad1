package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table prints names and values in two columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) *table {
	return &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
}

func (t *table) row(name string, value any) { fmt.Fprintf(t.w, "%s\t%v\n", name, value) }

func (t *table) rowIf(show bool, name string, value any) {
	if show {
		t.row(name, value)
	}
}

// flush writes the table and returns the first error there was.
func (t *table) flush() error { return t.w.Flush() }

// rows prints many rows under a heading, which is left out if there are none.
// They are written a few hundred at a time, so that neither memory nor patience
// is needed for all of them.
type rows struct {
	w       *tabwriter.Writer
	heading []string
	n       int
}

// flushRows is how many rows are aligned with each other.
const flushRows = 500

func newRows(w io.Writer, heading ...string) *rows {
	return &rows{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), heading: heading}
}

func (r *rows) row(cells ...any) error {
	if r.n == 0 {
		fmt.Fprintln(r.w, strings.Join(r.heading, "\t"))
	}
	for len(cells) > 1 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1] // no blanks at the end of a line
	}
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(r.w, "\t")
		}
		fmt.Fprint(r.w, c)
	}
	fmt.Fprintln(r.w)
	if r.n++; r.n%flushRows == 0 {
		return r.w.Flush()
	}
	return nil
}

func (r *rows) flush() error { return r.w.Flush() }

// errorAfter is err, after the rows that came before it.
func errorAfter(r *rows, err error) error { return errors.Join(err, r.flush()) }

// byteSize is a number of bytes for people.
func byteSize(n uint64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}
