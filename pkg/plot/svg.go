package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Sizes in pixels. Every panel has its axis on the left, and the names of its
// lines in a gutter on the right.
const (
	panelWidth  = 396
	left        = 62
	plotWidth   = 176
	top         = 96
	plotHeight  = 230
	height      = 420
	labelHeight = 36 // of the two lines of a label, with air
	margin      = 16
)

// style is the whole look: what is in front of each scheme is chosen for contrast
// with its background (at least 4.5 for text). Lines differ in dash and marker as well.
const style = `
    text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #59636e }
    .page { fill: #ffffff }
    .head, .panel { font-weight: 600; fill: #1f2328 }
    .head { font-size: 17px }
    .panel { font-size: 13.5px }
    .grid, .slope, .line { fill: none }
    .grid { stroke: #d9dee3 }
    .slope { stroke: #59636e; stroke-dasharray: 2 4 }
    .line { stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round }
    .range { stroke: currentColor; stroke-width: 1.4 }
    .mark { fill: currentColor }
    .name { fill: currentColor; font-weight: 600 }
    .s0 { color: #0a5bb5 } .s1 { color: #a8480a } .s2 { color: #1a7037 } .s3 { color: #7a35b8 }
    .s1.line { stroke-dasharray: 7 3 } .s2.line { stroke-dasharray: 3 3 } .s3.line { stroke-dasharray: 9 3 2 3 }
    @media (prefers-color-scheme: dark) {
      text { fill: #9aa4af }
      .page { fill: #0d1117 }
      .head, .panel { fill: #e6edf3 }
      .name { fill: currentColor }
      .grid { stroke: #30363d }
      .slope { stroke: #9aa4af }
      .s0 { color: #6cb6ff } .s1 { color: #ffa657 } .s2 { color: #57c878 } .s3 { color: #cf9bff }
    }
  `

// looks is how many series can be told apart.
const looks = 4

// SVG draws the picture.
func (g *Growth) SVG(w io.Writer) error {
	if len(g.Series) > looks {
		return fmt.Errorf("%d programs: at most %d can be told apart", len(g.Series), looks)
	}
	d := new(drawing)
	width := panelWidth * len(panels)
	title := "How the cost of a cold sync grows"
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`+"\n",
		width, height, width, height)
	d.printf("  <title id=\"title\">%s</title>\n  <desc id=\"desc\">%s</desc>\n", escape(title), escape(g.description()))
	d.printf("  <style>%s</style>\n", style)
	d.printf("  <rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", width, height)
	d.text(margin, 28, "head", title)
	d.text(margin, 49, "", g.subtitle())
	for i, p := range panels {
		g.drawPanel(d, p, float64(i*panelWidth))
	}
	d.text(margin, height-14, "", "Both axes are logarithmic. Bars: least and most of the runs. Dotted: in proportion to the operations, from the largest size of "+g.Series[0].Program+".")
	d.printf("</svg>\n")
	_, err := w.Write(d.Bytes())
	return err
}

// subtitle says what was measured.
func (g *Growth) subtitle() string {
	var parts []string
	for _, s := range g.Series {
		parts = append(parts, named(s))
	}
	return g.Workload.String() + ". " + strings.Join(parts, "; ") + "."
}

func named(s Series) string {
	if s.Setting == "" {
		return s.Program
	}
	return s.Program + " (" + s.Setting + ")"
}

// description tells every figure of the picture in words.
func (g *Growth) description() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Three panels with logarithmic axes, each over the number of operations, for %s.", g.Workload)
	for _, p := range panels {
		fmt.Fprintf(&b, " %s:", p.title)
		for i, s := range g.Series {
			if i > 0 {
				b.WriteByte(';')
			}
			fmt.Fprintf(&b, " %s", named(s))
			known := 0
			for _, pt := range s.Points {
				if f := p.of(pt); f.Median > 0 {
					fmt.Fprintf(&b, ", %s at %s", p.text(f.Median), opsText(float64(pt.Ops)))
					known++
				}
			}
			if known == 0 {
				b.WriteString(", not measured")
			}
		}
		b.WriteByte('.')
	}
	return b.String()
}

func (g *Growth) drawPanel(d *drawing, p panel, x0 float64) {
	d.printf("  <g id=\"%s\">\n", p.name)
	defer d.printf("  </g>\n")
	d.text(x0+margin, top-20, "panel", p.title)
	x := newScale(float64(g.Sizes[0]), float64(g.Sizes[len(g.Sizes)-1]), x0+left, x0+left+plotWidth)
	low, high := math.Inf(1), 0.0
	for _, s := range g.Series {
		for _, pt := range s.Points {
			if f := p.of(pt); f.Median > 0 {
				low, high = min(low, f.Min), max(high, f.Max)
			}
		}
	}
	if high == 0 {
		d.text(x0+left, top+plotHeight/2, "", "not measured")
		return
	}
	y := newScale(low, high, top+plotHeight, top)
	for _, v := range y.ticks {
		d.line("grid", x.from, y.at(v), x.to, y.at(v))
		d.textAt(x.from-8, y.at(v)+4, "", "end", p.text(v))
	}
	for _, v := range x.ticks {
		d.line("grid", x.at(v), y.from, x.at(v), y.to)
		d.textAt(x.at(v), y.from+20, "", "middle", opsText(v))
	}
	d.textAt((x.from+x.to)/2, y.from+40, "", "middle", "operations")
	g.drawSlope(d, p, x, y)
	var labels []label
	for i, s := range g.Series {
		if l, ok := drawSeries(d, p, s, i, x, y); ok {
			labels = append(labels, l)
		}
	}
	spread(labels, top, top+plotHeight)
	for _, l := range labels {
		l.draw(d, x.to+14)
	}
}

// drawSlope draws what is in proportion to the operations, through the last point
// of the first series, as far as it lies in the panel.
func (g *Growth) drawSlope(d *drawing, p panel, x, y scale) {
	for _, pt := range slices.Backward(g.Series[0].Points) {
		f := p.of(pt)
		if f.Median == 0 {
			continue
		}
		// log y = log x + c
		c := math.Log10(f.Median) - math.Log10(float64(pt.Ops))
		from, to := max(x.low, y.low-c), min(x.high, y.high-c)
		if from < to {
			d.line("slope", x.at(math.Pow(10, from)), y.at(math.Pow(10, from+c)), x.at(math.Pow(10, to)), y.at(math.Pow(10, to+c)))
		}
		return
	}
}

// drawSeries draws one line, and returns its label.
func drawSeries(d *drawing, p panel, s Series, look int, x, y scale) (label, bool) {
	var path strings.Builder
	var last Point
	for _, pt := range s.Points {
		f := p.of(pt)
		if f.Median == 0 {
			continue
		}
		verb := "L"
		if path.Len() == 0 {
			verb = "M"
		}
		at := x.at(float64(pt.Ops))
		path.WriteString(verb + number(at) + " " + number(y.at(f.Median)))
		if f.Max > f.Min {
			d.line(fmt.Sprintf("range s%d", look), at, y.at(f.Min), at, y.at(f.Max))
		}
		last = pt
	}
	if path.Len() == 0 {
		return label{}, false
	}
	d.printf("    <path class=\"line s%d\" d=\"%s\"/>\n", look, path.String())
	for _, pt := range s.Points {
		if f := p.of(pt); f.Median > 0 {
			d.mark(look, x.at(float64(pt.Ops)), y.at(f.Median))
		}
	}
	f := p.of(last)
	return label{look, y.at(f.Median), s.Program, p.text(f.Median) + " at " + opsText(float64(last.Ops))}, true
}

// label names a line, in the gutter beside its end.
type label struct {
	look        int
	y           float64
	name, value string
}

// spread moves labels apart that would cover each other, and keeps them between
// low and high.
func spread(labels []label, low, high float64) {
	slices.SortStableFunc(labels, func(a, b label) int {
		switch {
		case a.y < b.y:
			return -1
		case a.y > b.y:
			return 1
		}
		return 0
	})
	next := low
	for i := range labels {
		labels[i].y = max(labels[i].y, next)
		next = labels[i].y + labelHeight
	}
	next = high
	for i := range slices.Backward(labels) {
		labels[i].y = min(labels[i].y, next)
		next = labels[i].y - labelHeight
	}
}

func (l label) draw(d *drawing, x float64) {
	d.mark(l.look, x, l.y-4)
	d.text(x+9, l.y, fmt.Sprintf("name s%d", l.look), l.name)
	d.text(x+9, l.y+15, "", l.value)
}

// drawing collects elements. Numbers have one decimal: enough for a pixel, and the
// same on every machine.
type drawing struct{ bytes.Buffer }

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d, format, args...) }

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	d.printf("    <path class=\"%s\" d=\"M%s %sL%s %s\"/>\n", class, number(x1), number(y1), number(x2), number(y2))
}

func (d *drawing) text(x, y float64, class, s string) { d.textAt(x, y, class, "", s) }

func (d *drawing) textAt(x, y float64, class, anchor, s string) {
	attributes := ""
	if class != "" {
		attributes += ` class="` + class + `"`
	}
	if anchor != "" {
		attributes += ` text-anchor="` + anchor + `"`
	}
	d.printf("    <text x=\"%s\" y=\"%s\"%s>%s</text>\n", number(x), number(y), attributes, escape(s))
}

// mark is the sign of a series: a circle, a square, a triangle or a diamond.
func (d *drawing) mark(look int, x, y float64) {
	shapes := [looks][]float64{nil, {-3.6, -3.6, 3.6, -3.6, 3.6, 3.6, -3.6, 3.6}, {0, -5, 4.6, 3.6, -4.6, 3.6}, {0, -5, 5, 0, 0, 5, -5, 0}}
	if look == 0 {
		d.printf("    <circle class=\"mark s0\" cx=\"%s\" cy=\"%s\" r=\"4\"/>\n", number(x), number(y))
		return
	}
	var path strings.Builder
	verb := "M"
	for c := range slices.Chunk(shapes[look], 2) {
		path.WriteString(verb + number(x+c[0]) + " " + number(y+c[1]))
		verb = "L"
	}
	d.printf("    <path class=\"mark s%d\" d=\"%sZ\"/>\n", look, path.String())
}

func number(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(math.Round(v*10)/10, 'f', 1, 64), ".0")
}

// escape makes text of a report harmless in a document.
func escape(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "" // a Builder takes everything
	}
	return b.String()
}
