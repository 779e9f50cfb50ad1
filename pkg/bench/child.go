package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// The parent tells a child on its standard input what it is, and then what to
// do, step by step; the child answers every line with one on standard output.
// It ends with its input, which it does when the parent dies as well.

// job is what a child is.
type job struct {
	Role       string `json:"role"` // of roles
	Dir        string `json:"dir,omitempty"`
	Family     string `json:"family"`
	Encoding   string `json:"encoding"`
	ValueBytes int    `json:"value_bytes"`
	CacheBytes int64  `json:"cache_bytes,omitempty"`
	Create     bool   `json:"create,omitempty"`     // the database is made
	Addr       string `json:"addr,omitempty"`       // of the server to ask
	BatchSize  int    `json:"batch_size,omitempty"` // operations in a request
	Profile    string `json:"profile,omitempty"`    // begins the paths of its profiles; empty: none

	codec operation.Codec
}

// step is what a child has to do. Which fields count depends on Do.
type step struct {
	Do      string     `json:"do"`
	First   uint64     `json:"first,omitempty"` // number of the first key, or of the first of a sequence
	Count   int        `json:"count,omitempty"`
	Keys    uint64     `json:"keys,omitempty"` // there are, numbered from 0
	Version uint64     `json:"version,omitempty"`
	Absent  bool       `json:"absent,omitempty"`
	Tasks   int        `json:"tasks,omitempty"` // goroutines, or connections
	Path    string     `json:"path,omitempty"`
	Size    uint64     `json:"size,omitempty"`
	Root    mmr.Digest `json:"root,omitzero"`
}

// answer is what became of a step, or of starting. Fields that do not apply are 0.
type answer struct {
	Seconds    float64    `json:"seconds,omitempty"`
	CPU        float64    `json:"cpu,omitempty"` // seconds of all processors, in those Seconds or since the last answer
	P50        float64    `json:"p50,omitempty"` // seconds
	P99        float64    `json:"p99,omitempty"`
	Operations uint64     `json:"operations,omitempty"`
	Size       uint64     `json:"size,omitempty"` // of the log
	Start      uint64     `json:"start,omitempty"`
	Root       mmr.Digest `json:"root,omitzero"`
	Addr       string     `json:"addr,omitempty"`
	Disk       uint64     `json:"disk,omitempty"`        // bytes of the directory
	PeakMemory uint64     `json:"peak_memory,omitempty"` // bytes, of the process so far
}

// worker does the steps of a role, one at a time.
type worker interface {
	do(ctx context.Context, s step) (answer, error)
	close() error
}

// roles begin workers. The answer is that to the job; ctx ends when the parent
// has nothing more to ask.
var roles = map[string]func(ctx context.Context, j job) (worker, answer, error){
	"database": newLocal,
	"server":   newServer,
	"replica":  newReplica,
	"load":     newLoad,
	"fsck":     newFsck,
}

// Child is the body of a child process.
func Child(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	telemetry.TuneMemory() // as all programs do
	dec := json.NewDecoder(in)
	var j job
	if err := dec.Decode(&j); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	family, err := operation.ParseFamily(j.Family)
	if err != nil {
		return err
	}
	encoding, err := operation.ParseEncoding(j.Encoding)
	if err != nil {
		return err
	}
	j.codec = operation.NewCodec(family, encoding)
	begin, ok := roles[j.Role]
	if !ok {
		return fmt.Errorf("job: unknown role %q", j.Role)
	}
	stop, err := profile(j.Profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	steps := make(chan step)
	// Nobody can call off a read of standard input: this ends with the parent, or
	// with the process.
	go func() {
		defer close(steps)
		defer cancel()
		for {
			var s step
			if dec.Decode(&s) != nil {
				return
			}
			select {
			case steps <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	w, a, err := begin(ctx, j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	enc := json.NewEncoder(out)
	for {
		cpu := cpuTime()
		a.PeakMemory = peakMemory()
		if err := enc.Encode(a); err != nil {
			return err
		}
		s, ok := <-steps
		if !ok {
			return nil
		}
		if a, err = w.do(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.Do, err)
		}
		if a.CPU == 0 {
			a.CPU = cpuTime() - cpu
		}
	}
}

// stopwatch measures what a step is about, where that is less than all of it.
type stopwatch struct {
	began time.Time
	cpu   float64
}

func startWatch() stopwatch { return stopwatch{time.Now(), cpuTime()} }

func (w stopwatch) stop(a *answer) {
	a.Seconds = time.Since(w.began).Seconds()
	a.CPU = cpuTime() - w.cpu
}
