// Package bench measures a cold sync end to end: a server and a client in
// processes of their own, over loopback, on random data, durable at the end. It
// is for numbers that can be compared between versions and with other clients of
// the same protocol; what a single function costs is for go test -bench.
//
//	prepare --> database --> server process --loopback--> client process (ours, or a peer's)
//	                                                        |
//	                            Report <-- duration, memory, disk, root
//
// The clock of a client is its own: from the start of its sync to the published,
// synced root. Starting processes and opening directories is not in it.
package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Options of a measurement.
type Options struct {
	Ops        int             // writes of random keys in the server's database; at least 1
	Codec      operation.Codec // family and encoding
	BatchSizes []int           // a scenario of our client for each; 1 to wire.MaxOperations
	Runs       int             // of each scenario; at least 1
	// Peer is the program of a client to compare with, called as commonware-sync's
	// client is; empty: none. It knows the encoding fixed only.
	Peer string
	// Child makes the command of a child process, which has to call Child.
	Child   func(ctx context.Context) *exec.Cmd
	TempDir string       // for all directories, removed at the end; empty is the system's
	Logger  *slog.Logger // gets a line for each step; nil discards
}

// Validate names the option that is out of range.
func (o Options) Validate() error {
	switch {
	case o.Ops < 1 || o.Ops > 1e9:
		return fmt.Errorf("operations %d: 1 to 1000000000 expected", o.Ops)
	case o.Runs < 1 || o.Runs > 1000:
		return fmt.Errorf("runs %d: 1 to 1000 expected", o.Runs)
	case len(o.BatchSizes) == 0 && o.Peer == "":
		return errors.New("nothing to measure: no batch size and no peer given")
	}
	for _, b := range o.BatchSizes {
		if b < 1 || b > wire.MaxOperations {
			return fmt.Errorf("batch size %d: 1 to %d expected", b, wire.MaxOperations)
		}
	}
	return nil
}

// Report is the outcome of all scenarios.
type Report struct {
	Family    string     `json:"family"`
	Encoding  string     `json:"encoding"`
	Writes    int        `json:"writes"`
	Size      uint64     `json:"size"` // of the server's log
	Start     uint64     `json:"start"`
	Root      mmr.Digest `json:"root"`
	Prepare   float64    `json:"prepare_seconds"`
	Scenarios []Scenario `json:"scenarios"`
}

// Fetched is the number of operations every client has to fetch.
func (r *Report) Fetched() uint64 { return r.Size - r.Start }

// Scenario is a client in one configuration.
type Scenario struct {
	Name string `json:"name"`
	Peer bool   `json:"peer,omitempty"` // not our client
	Runs []Run  `json:"runs,omitempty"`
	// Error is why the scenario ended early.
	Error string `json:"error,omitempty"`

	Seconds      float64 `json:"median_seconds"`
	OpsPerSecond float64 `json:"operations_per_second"`
	BytesPerSec  float64 `json:"bytes_per_second"` // received; 0: not known
	PeakBytes    uint64  `json:"peak_memory_bytes"`
	Reopen       float64 `json:"reopen_seconds"` // worst; 0: not known
	DiskPerOp    float64 `json:"disk_bytes_per_operation"`
	Ratio        float64 `json:"times_peer,omitempty"` // speed relative to the peer's
}

// Run is one cold sync.
type Run struct {
	Seconds     float64    `json:"seconds"`
	Operations  uint64     `json:"operations"`
	Bytes       uint64     `json:"bytes,omitempty"` // received
	PeakBytes   uint64     `json:"peak_memory_bytes,omitempty"`
	Reopen      float64    `json:"reopen_seconds,omitempty"`
	DiskBytes   uint64     `json:"disk_bytes,omitempty"`
	Size        uint64     `json:"size,omitempty"`
	Root        mmr.Digest `json:"root"`
	ServerBytes uint64     `json:"-"`
}

// Measure runs every scenario in turn, each run against a server process of its
// own with the same database. A scenario that fails says so in the report and
// the others still run; the error is then of how many failed. Errors that come
// without a report: those of Validate, of the preparation, and the context's.
func Measure(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp(o.TempDir, "proofsync-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r, err := prepare(ctx, filepath.Join(dir, "server"), o)
	if err != nil {
		return nil, err
	}
	for _, batch := range o.BatchSizes {
		name := fmt.Sprintf("proofsync, batch size %d", batch)
		r.scenario(ctx, o, dir, Scenario{Name: name}, func(ctx context.Context, addr, data string) (Run, error) {
			return syncOurs(ctx, o, batch, addr, data)
		})
	}
	if o.Peer != "" {
		s := Scenario{Name: filepath.Base(o.Peer) + ", its defaults", Peer: true}
		r.scenario(ctx, o, dir, s, func(ctx context.Context, addr, data string) (Run, error) {
			return syncPeer(ctx, o, addr, data)
		})
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.compare()
	failed := 0
	for _, s := range r.Scenarios {
		if s.Error != "" {
			failed++
		}
	}
	if failed > 0 {
		err = fmt.Errorf("%d of %d scenarios failed", failed, len(r.Scenarios))
	}
	return r, err
}

// scenario runs one configuration and adds it to the report.
func (r *Report) scenario(ctx context.Context, o Options, dir string, s Scenario, client func(ctx context.Context, addr, data string) (Run, error)) {
	for i := range o.Runs {
		run, err := r.run(ctx, o, dir, client)
		if ctx.Err() != nil { // what it failed with is of no interest
			return
		}
		if err != nil {
			s.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
			o.Logger.Error("scenario failed", "scenario", s.Name, "error", s.Error)
			break
		}
		o.Logger.Info("run completed", "scenario", s.Name, "run", i+1, "of", o.Runs, "seconds", fmt.Sprintf("%.3f", run.Seconds),
			"ops_per_second", int(float64(run.Operations)/run.Seconds), "peak_memory_bytes", run.PeakBytes, "server_peak_memory_bytes", run.ServerBytes)
		s.Runs = append(s.Runs, run)
	}
	s.summarise()
	r.Scenarios = append(r.Scenarios, s)
}

// run is one sync of a client against a fresh server process, checked.
func (r *Report) run(ctx context.Context, o Options, dir string, client func(ctx context.Context, addr, data string) (Run, error)) (run Run, err error) {
	data, err := os.MkdirTemp(dir, "client-*")
	if err != nil {
		return run, err
	}
	defer os.RemoveAll(data)
	server, err := startServer(ctx, o, filepath.Join(dir, "server"))
	if err != nil {
		return run, err
	}
	run, err = client(ctx, server.addr, data)
	serverBytes, stopErr := server.stop()
	if err = errors.Join(err, stopErr); err != nil {
		return run, err
	}
	run.ServerBytes = serverBytes
	switch {
	case run.Root != r.Root:
		return run, fmt.Errorf("client ended at root %s, the server has %s", run.Root, r.Root)
	case run.Operations == 0: // the peer does not say; its root does
		run.Operations = r.Fetched()
	case run.Operations != r.Fetched():
		return run, fmt.Errorf("client fetched %d operations of %d", run.Operations, r.Fetched())
	}
	if run.Seconds <= 0 {
		return run, errors.New("client reported no duration")
	}
	return run, nil
}

// summarise fills in what follows from the runs.
func (s *Scenario) summarise() {
	if len(s.Runs) == 0 {
		return
	}
	runs := slices.Clone(s.Runs)
	slices.SortFunc(runs, func(a, b Run) int { return int((a.Seconds - b.Seconds) * float64(time.Second)) })
	median := runs[len(runs)/2]
	s.Seconds = median.Seconds
	s.OpsPerSecond = float64(median.Operations) / median.Seconds
	s.BytesPerSec = float64(median.Bytes) / median.Seconds
	for _, run := range runs {
		s.PeakBytes = max(s.PeakBytes, run.PeakBytes)
		s.Reopen = max(s.Reopen, run.Reopen)
		s.DiskPerOp = max(s.DiskPerOp, float64(run.DiskBytes)/float64(run.Operations))
	}
}

// compare relates our scenarios to the peer's.
func (r *Report) compare() {
	for _, peer := range r.Scenarios {
		if !peer.Peer || peer.OpsPerSecond == 0 {
			continue
		}
		for i := range r.Scenarios {
			if s := &r.Scenarios[i]; !s.Peer {
				s.Ratio = s.OpsPerSecond / peer.OpsPerSecond
			}
		}
	}
}
