package main

import (
	"fmt"
	"io"
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
