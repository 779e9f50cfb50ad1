package bench

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/proofsync/proofsync/pkg/telemetry"
)

// reportVersion is raised when programs that read reports have to change.
const reportVersion = 1

// Programs that are measured.
const (
	ours   = "proofsync"
	theirs = "commonware-sync"
)

// Report is the outcome of all scenarios.
type Report struct {
	Version   int      `json:"version"`
	Machine   Machine  `json:"machine"`
	Proofsync string   `json:"proofsync"` // version of this program
	Results   []Result `json:"results"`   // in the order they were measured
}

// Machine is what the figures were taken on.
type Machine struct {
	CPUs   int      `json:"cpus"` // that Go may use
	GOOS   string   `json:"goos"`
	GOARCH string   `json:"goarch"`
	Go     string   `json:"go"`
	Load   *float64 `json:"load,omitempty"` // one-minute load average at the beginning; nil: unknown
}

// Result is what one variant of a scenario came to.
type Result struct {
	Scenario   string `json:"scenario"`
	Variant    string `json:"variant,omitempty"` // tells results of a scenario apart, with Batch and Program
	Family     string `json:"family"`
	Encoding   string `json:"encoding"`
	Ops        int    `json:"ops"`         // writes of random keys in the database
	ValueBytes int    `json:"value_bytes"` // of each
	Batch      int    `json:"batch"`       // operations in a request, a commit or a proof; 0: does not apply
	Program    string `json:"program"`
	Runs       int    `json:"runs"` // that count

	Figures map[string]Figure `json:"figures,omitempty"`
	// Error is why the variant has no figures.
	Error string `json:"error,omitempty"`
}

// Figure is one thing that was measured in every run.
type Figure struct {
	Unit   string    `json:"unit"`
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"` // in the order of the runs
}

// Names of figures.
const (
	seconds        = "seconds" // of the measured step; in follow, the median of its commits
	operationsRate = "operations_per_second"
	valueBytesRate = "value_bytes_per_second"
	latencyP50     = "latency_p50"
	latencyP99     = "latency_p99"
	clientMemory   = "client_peak_memory" // of the client, or of the only process there is
	serverMemory   = "server_peak_memory"
	diskPerOp      = "disk_per_operation" // once tables are merged
	diskBytes      = "disk_bytes"
	reopenSeconds  = "reopen_seconds"
	cpuSeconds     = "cpu_seconds" // of all processors, in the measured process; in serve, the server
)

// units are those of the figures.
var units = map[string]string{
	seconds: "s", latencyP50: "s", latencyP99: "s", reopenSeconds: "s", cpuSeconds: "s",
	operationsRate: "op/s", valueBytesRate: "B/s",
	clientMemory: "B", serverMemory: "B", diskBytes: "B", diskPerOp: "B/op",
}

// sample is what one run came to: figures by name. What is not known is 0, and
// left out of the report.
type sample map[string]float64

// summarise makes figures of the runs. A figure that some run lacks is left out.
func summarise(runs []sample) map[string]Figure {
	figures := make(map[string]Figure)
	for name, unit := range units {
		values := make([]float64, 0, len(runs))
		for _, s := range runs {
			if s[name] > 0 {
				values = append(values, s[name])
			}
		}
		if len(values) == 0 || len(values) < len(runs) {
			continue
		}
		figures[name] = Figure{Unit: unit, Median: median(values), Min: slices.Min(values), Max: slices.Max(values), Values: values}
	}
	return figures
}

// median is the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// quantile is the smallest value that q of all values do not exceed; it sorts them.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}

func newReport() *Report {
	r := &Report{
		Version: reportVersion, Proofsync: telemetry.Build().Version,
		Machine: Machine{CPUs: runtime.GOMAXPROCS(0), GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Go: runtime.Version()},
		Results: []Result{},
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(text), " ")
		if load, err := strconv.ParseFloat(first, 64); err == nil {
			r.Machine.Load = &load
		}
	}
	return r
}

// median of a figure; 0: it is not there.
func (r *Result) median(figure string) float64 { return r.Figures[figure].Median }
