package plot_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/plot"
)

var update = flag.Bool("update", false, "write the golden picture anew; look at it")

// draw reads reports, selects and draws.
func draw(want plot.Workload, texts ...string) (string, error) {
	var reports []*plot.Report
	for _, text := range texts {
		r, err := plot.Read(strings.NewReader(text))
		if err != nil {
			return "", err
		}
		reports = append(reports, r)
	}
	g, err := plot.Select(reports, want)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = g.SVG(&b)
	return b.String(), err
}

func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// report is a report with these results.
func report(results ...string) string {
	return `{"version":1,"results":[` + strings.Join(results, ",") + `]}`
}

// synced is the result of a cold sync that took so many seconds.
func synced(program string, ops int, seconds float64) string {
	return fmt.Sprintf(`{"scenario":"cold-sync","family":"any","encoding":"fixed","ops":%d,"value_bytes":32,"batch":100,"program":%q,"runs":1,
		"figures":{"seconds":{"unit":"s","median":%g,"min":%g,"max":%g}}}`, ops, program, seconds, seconds, seconds)
}

func TestPictureIsTheGoldenOne(t *testing.T) {
	got, err := draw(plot.Workload{}, example(t))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "growth.svg")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the picture has changed; go test ./pkg/plot -update writes it, to be looked at")
	}
	for range 20 { // orders of maps must not show
		if again, err := draw(plot.Workload{}, example(t)); err != nil || again != got {
			t.Fatalf("the same report gave another picture: %v", err)
		}
	}
}

func TestPictureIsWellFormedAndKeepsToItself(t *testing.T) {
	hostile := strings.ReplaceAll(report(synced("PEER", 10, 1), synced("PEER", 1000, 3), synced("proofsync", 10, 1)),
		"PEER", `</text><script>alert(1)</script>&`)
	for _, text := range []string{example(t), hostile} {
		got, err := draw(plot.Workload{}, text)
		if err != nil {
			t.Fatal(err)
		}
		var elements []string
		for d := xml.NewDecoder(strings.NewReader(got)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := token.(xml.StartElement); ok {
				elements = append(elements, e.Name.Local)
				for _, a := range e.Attr {
					if strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Name.Local, "href") {
						t.Errorf("<%s> has the attribute %s", e.Name.Local, a.Name.Local)
					}
				}
			}
		}
		if slices.Contains(elements, "script") || strings.Contains(got, "url(") || strings.Contains(got, "@import") {
			t.Error("the picture has a script, or needs something else to be shown")
		}
		for _, want := range []string{"svg", "title", "desc", "style"} {
			if !slices.Contains(elements, want) {
				t.Errorf("no <%s>", want)
			}
		}
		if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
			t.Error("a coordinate is no number")
		}
	}
}

func TestDescriptionTellsEveryFigure(t *testing.T) {
	got, err := draw(plot.Workload{}, example(t))
	if err != nil {
		t.Fatal(err)
	}
	_, desc, _ := strings.Cut(got, `<desc id="desc">`)
	desc, _, _ = strings.Cut(desc, "</desc>")
	for _, want := range []string{
		"proofsync (requests of 10,000), 31 ms at 10k, 130 ms at 100k, 1.02 s at 1M, 11.9 s at 10M; commonware-sync (best, requests of 100), 190 ms at 10k, 950 ms at 100k, 8.81 s at 1M.",
		"151 MB at 1M", "1.18 GB at 10M",
	} {
		if !strings.Contains(desc, want) {
			t.Errorf("no %q in %q", want, desc)
		}
	}
}

func TestLaterReportsReplaceEarlierOnes(t *testing.T) {
	got, err := draw(plot.Workload{}, report(synced("proofsync", 10, 7), synced("proofsync", 100, 8)), report(synced("proofsync", 100, 9)))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "7 s at 10, 9 s at 100.") {
		t.Errorf("%s", got)
	}
}

func TestWhatWasNotMeasuredIsSaid(t *testing.T) {
	got, err := draw(plot.Workload{}, report(synced("proofsync", 10, 7), synced("proofsync", 100, 8)))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(got, ">not measured</text>"); n != 2 {
		t.Errorf("%d panels without figures, 2 expected", n)
	}
}

func TestReportsWithNothingToDrawAreRefused(t *testing.T) {
	failed := `{"scenario":"cold-sync","family":"any","encoding":"fixed","ops":10,"value_bytes":32,"program":"proofsync","runs":0,"error":"no space"}`
	unit := strings.Replace(synced("proofsync", 10, 1), `"s"`, `"ms"`, 1)
	many := []string{}
	for _, p := range []string{"a", "b", "c", "d", "e"} {
		many = append(many, synced(p, 10, 1), synced(p, 100, 1))
	}
	for _, tc := range []struct {
		name, text string
		err        error // nil: any
		says       string
	}{
		{"not JSON", "| client | runs |", plot.ErrReport, "invalid character"},
		{"cut off", example(t)[:900], plot.ErrReport, "unexpected end"},
		{"empty", "", plot.ErrReport, "unexpected end"},
		{"another document", `{"family":"any","scenarios":[]}`, plot.ErrReport, "it has no version"},
		{"a later version", `{"version":2,"results":[]}`, plot.ErrReport, "version 2, this program reads version 1"},
		{"too large", `{"version":1` + strings.Repeat(" ", plot.MaxReport) + `}`, plot.ErrReport, "larger than"},
		{"no results", report(), plot.ErrNoColdSync, ""},
		{"no cold sync", report(strings.ReplaceAll(synced("proofsync", 10, 1), "cold-sync", "commit")), plot.ErrNoColdSync, ""},
		{"only a failed one", report(failed), plot.ErrNoColdSync, ""},
		{"one size", report(synced("proofsync", 1000, 1), synced("commonware-sync", 1000, 2), failed), plot.ErrOneSize, "1000 operations"},
		{"no time at all", report(synced("proofsync", 10, 1), synced("proofsync", 100, 0)), plot.ErrNotPositive, `seconds of cold-sync of "proofsync" at 100 operations is 0`},
		{"less than nothing", report(synced("proofsync", 10, -1)), plot.ErrNotPositive, "is -1"},
		{"no operations", report(synced("proofsync", 0, 1)), plot.ErrNotPositive, "0 operations"},
		{"another unit", report(unit), plot.ErrReport, `the unit "ms"`},
		{"no seconds", report(strings.ReplaceAll(synced("proofsync", 10, 1), `"seconds"`, `"minutes"`)), plot.ErrReport, "no seconds"},
		{"two workloads", report(synced("proofsync", 10, 1), strings.Replace(synced("proofsync", 100, 1), "any", "immutable", 1)), plot.ErrWorkloads,
			"any/fixed, values of 32 bytes; immutable/fixed, values of 32 bytes"},
		{"more programs than signs", report(many...), nil, "5 programs"},
	} {
		_, err := draw(plot.Workload{}, tc.text)
		if err == nil || tc.err != nil && !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, %v expected, with %q", tc.name, err, tc.err, tc.says)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", tc.name, err)
		}
	}
}

func TestOneOfSeveralWorkloadsIsChosen(t *testing.T) {
	other := strings.NewReplacer("any", "immutable", `"proofsync"`, `"other"`)
	text := report(synced("proofsync", 10, 1), synced("proofsync", 100, 1),
		other.Replace(synced("proofsync", 10, 1)), other.Replace(synced("proofsync", 100, 1)))
	for family, want := range map[string]string{"any": "any/fixed, values of 32 bytes. proofsync", "immutable": "immutable/fixed, values of 32 bytes. other"} {
		got, err := draw(plot.Workload{Family: family}, text)
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v", family, err)
		}
	}
	if _, err := draw(plot.Workload{ValueBytes: 7}, text); !errors.Is(err, plot.ErrNoColdSync) {
		t.Error(err)
	}
}
