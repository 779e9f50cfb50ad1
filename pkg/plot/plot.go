// Package plot draws how the cost of a cold sync grows with the size of the
// database: from the JSON reports of `proofsync bench` to one SVG picture of three
// panels, seconds, peak memory and disk, with logarithmic axes.
//
// It is for this one picture, not a library of charts: it measures nothing, reads
// no files and knows no clock. The same reports in the same order give the same
// bytes.
//
//	JSON --Read--> one or more Reports --Select--> Growth --SVG--> picture
//
// The picture brings its own colours for light and dark pages, has no scripts and
// names nothing outside of itself, so that it can be shown as an image anywhere.
// Whoever cannot see it finds all of its figures in its description.
package plot

import "fmt"

// Workload is what was synced. The zero value of a field matches everything.
type Workload struct {
	Family     string // any or immutable
	Encoding   string // fixed or variable
	ValueBytes int    // of each value
}

func (w Workload) String() string {
	return fmt.Sprintf("%s/%s, values of %d bytes", w.Family, w.Encoding, w.ValueBytes)
}

// Growth is what the picture shows.
type Growth struct {
	Workload Workload
	Sizes    []int    // ascending, at least two
	Series   []Series // one for each program, proofsync first
}

// Series is a program in the configuration that was fastest at its largest size.
type Series struct {
	Program string
	Setting string  // what told its configurations apart; may be empty
	Points  []Point // by ascending size, one or more
}

// Point is a program's figures at one size. A figure that was not taken has the
// median 0.
type Point struct {
	Ops     int // writes of random keys, at least 1
	Seconds Figure
	Memory  Figure // peak resident bytes of the client
	Disk    Figure // bytes of the client's directory
}

// Figure is the median of several runs, and what it lies between. All are
// above zero, or the figure was not taken.
type Figure struct{ Median, Min, Max float64 }

// panel is one quantity over the sizes.
type panel struct {
	name, title string
	of          func(Point) Figure
	text        func(float64) string // a value for people
}

var panels = []panel{
	{"seconds", "Time to a verified, durable replica", func(p Point) Figure { return p.Seconds }, secondsText},
	{"memory", "Peak memory of the client", func(p Point) Figure { return p.Memory }, bytesText},
	{"disk", "Disk of the replica", func(p Point) Figure { return p.Disk }, bytesText},
}
