package plot

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// MaxReport is the largest report that is read, in bytes.
const MaxReport = 8 << 20

// Version is the version of reports that is understood.
const Version = 1

// Errors of reports that have nothing to show.
var (
	// ErrReport: the text is no report of `proofsync bench`.
	ErrReport = errors.New("no JSON report of proofsync bench")
	// ErrNoColdSync: no cold sync was measured, or none of the workload asked for.
	ErrNoColdSync = errors.New("no cold sync to plot")
	// ErrOneSize: growth needs two sizes at least.
	ErrOneSize = errors.New("cold syncs of one size only")
	// ErrWorkloads: more than one workload was measured, and none was chosen.
	ErrWorkloads = errors.New("cold syncs of several workloads")
	// ErrNotPositive: zero, or less, has no place on a logarithmic axis.
	ErrNotPositive = errors.New("no value for a logarithmic axis")
)

// Report is what the picture needs of a report.
type Report struct {
	results []result // cold syncs that succeeded
}

type result struct {
	Scenario   string                 `json:"scenario"`
	Variant    string                 `json:"variant"`
	Family     string                 `json:"family"`
	Encoding   string                 `json:"encoding"`
	Ops        int                    `json:"ops"`
	ValueBytes int                    `json:"value_bytes"`
	Batch      int                    `json:"batch"`
	Program    string                 `json:"program"`
	Figures    map[string]namedFigure `json:"figures"`
	Error      string                 `json:"error"`
}

type namedFigure struct {
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Read reads a report. What it holds beside cold syncs is skipped, and so is what
// failed. Errors: ErrReport, ErrNotPositive, or r's.
func Read(r io.Reader) (*Report, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxReport+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxReport {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrReport, MaxReport)
	}
	var doc struct {
		Version *int     `json:"version"`
		Results []result `json:"results"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReport, err)
	}
	switch {
	case doc.Version == nil:
		return nil, fmt.Errorf("%w: it has no version", ErrReport)
	case *doc.Version != Version:
		return nil, fmt.Errorf("%w: version %d, this program reads version %d", ErrReport, *doc.Version, Version)
	}
	report := new(Report)
	for _, res := range doc.Results {
		if res.Scenario != "cold-sync" || res.Error != "" {
			continue
		}
		if err := res.check(); err != nil {
			return nil, err
		}
		report.results = append(report.results, res)
	}
	return report, nil
}

// figures that are drawn, and their units.
var figureUnits = map[string]string{"seconds": "s", "client_peak_memory": "B", "disk_bytes": "B"}

// check says whether the result can be drawn.
func (r *result) check() error {
	if r.Ops < 1 {
		return fmt.Errorf("%w: cold-sync of %.40q has %d operations", ErrNotPositive, r.Program, r.Ops)
	}
	if _, ok := r.Figures["seconds"]; !ok {
		return fmt.Errorf("%w: cold-sync of %.40q at %d operations has no seconds", ErrReport, r.Program, r.Ops)
	}
	for _, name := range slices.Sorted(maps.Keys(figureUnits)) {
		f, ok := r.Figures[name]
		switch {
		case !ok:
		case f.Unit != figureUnits[name]:
			return fmt.Errorf("%w: %s of %.40q has the unit %.40q, %q expected", ErrReport, name, r.Program, f.Unit, figureUnits[name])
		case f.Min <= 0 || f.Median < f.Min || f.Max < f.Median || math.IsInf(f.Max, 0):
			return fmt.Errorf("%w: %s of cold-sync of %.40q at %d operations is %g (%g to %g)",
				ErrNotPositive, name, r.Program, r.Ops, f.Median, f.Min, f.Max)
		}
	}
	return nil
}

// Select puts together what the reports say about one workload; where two say
// something about the same, the later one counts. Every program has one series:
// its configuration that was measured up to the largest size, of those the fastest
// there. Errors: ErrNoColdSync, ErrWorkloads, ErrOneSize.
func Select(reports []*Report, want Workload) (*Growth, error) {
	type setting struct {
		program, variant string
		batch            int
	}
	workloads := make(map[Workload]bool)
	points := make(map[setting]map[int]Point)
	for _, report := range reports {
		for _, r := range report.results {
			w := Workload{r.Family, r.Encoding, r.ValueBytes}
			if !want.matches(w) {
				continue
			}
			workloads[w] = true
			s := setting{r.Program, r.Variant, r.Batch}
			if points[s] == nil {
				points[s] = make(map[int]Point)
			}
			points[s][r.Ops] = r.point()
		}
	}
	switch len(workloads) {
	case 0:
		return nil, ErrNoColdSync
	case 1:
	default:
		var names []string
		for w := range workloads {
			names = append(names, w.String())
		}
		slices.Sort(names)
		return nil, fmt.Errorf("%w, one has to be chosen: %s", ErrWorkloads, strings.Join(names, "; "))
	}
	g := new(Growth)
	for w := range workloads {
		g.Workload = w
	}
	best := make(map[string]Series)
	sizes := make(map[int]bool)
	for s, byOps := range points {
		candidate := Series{Program: s.program, Setting: settingText(s.variant, s.batch)}
		for _, ops := range slices.Sorted(maps.Keys(byOps)) {
			candidate.Points = append(candidate.Points, byOps[ops])
			sizes[ops] = true
		}
		if known, ok := best[s.program]; !ok || candidate.before(known) {
			best[s.program] = candidate
		}
	}
	g.Sizes = slices.Sorted(maps.Keys(sizes))
	if len(g.Sizes) < 2 {
		return nil, fmt.Errorf("%w (%d operations): growth needs two at least, see --sizes of proofsync bench", ErrOneSize, g.Sizes[0])
	}
	g.Series = slices.SortedFunc(maps.Values(best), func(a, b Series) int {
		return cmp.Or(boolCompare(b.Program == "proofsync", a.Program == "proofsync"), cmp.Compare(a.Program, b.Program))
	})
	return g, nil
}

func (w Workload) matches(o Workload) bool {
	return (w.Family == "" || w.Family == o.Family) && (w.Encoding == "" || w.Encoding == o.Encoding) &&
		(w.ValueBytes == 0 || w.ValueBytes == o.ValueBytes)
}

func (r *result) point() Point {
	figure := func(name string) Figure {
		f := r.Figures[name]
		return Figure{f.Median, f.Min, f.Max}
	}
	return Point{r.Ops, figure("seconds"), figure("client_peak_memory"), figure("disk_bytes")}
}

// before orders the configurations of a program: the largest size first, then the
// fastest there; what is left is decided by name, so that it is decided.
func (s Series) before(o Series) bool {
	a, b := s.last(), o.last()
	return cmp.Or(cmp.Compare(b.Ops, a.Ops), cmp.Compare(a.Seconds.Median, b.Seconds.Median), cmp.Compare(s.Setting, o.Setting)) < 0
}

func (s Series) last() Point { return s.Points[len(s.Points)-1] }

// settingText names a configuration.
func settingText(variant string, batch int) string {
	var parts []string
	if variant != "" {
		parts = append(parts, variant)
	}
	if batch > 0 {
		parts = append(parts, "requests of "+grouped(batch))
	}
	return strings.Join(parts, ", ")
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
