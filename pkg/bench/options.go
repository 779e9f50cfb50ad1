package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Bounds of Options.
const (
	maxOps        = 1_000_000_000
	maxRuns       = 1000
	maxValueBytes = 64 << 10
)

// DefaultValueBytes is the length of values in the encoding variable, unless
// Options say otherwise.
const DefaultValueBytes = 1 << 10

// Options of a measurement. Sizes, Runs, BatchSizes and Child are required.
type Options struct {
	Scenarios  []string        // names, as Scenarios lists them; empty: all
	Sizes      []int           // writes of random keys in the database; all scenarios run for each
	Codec      operation.Codec // family and encoding
	ValueBytes int             // of each value; 0: 32 in the encoding fixed, DefaultValueBytes in variable
	BatchSizes []int           // operations in a request of a replica, 1 to wire.MaxOperations; scenarios that sync run for each
	Runs       int             // of each variant of a scenario, 1 to 1000
	WarmUp     int             // runs before them that do not count, 0 to 1000
	CacheBytes int64           // of the storage engine, in every process; 0: its default, as the programs have it

	// Peer is a folder with commonware-sync's programs client and server, or its
	// client alone: cold syncs are measured with that as well. Empty: none. It
	// knows the encoding fixed only.
	Peer string
	// Profile is a folder, made if it is missing, for a CPU, an allocation and a
	// block profile of every process that runs. Empty: none.
	Profile string

	// Child makes the command of a child process, which has to call Child.
	Child   func(ctx context.Context) *exec.Cmd
	TempDir string       // for all directories, removed at the end; empty is the system's
	Logger  *slog.Logger // gets a line for each run, and progress of long preparations; nil discards
	// Space looks at the volume of a directory; nil asks the system.
	Space func(dir string) (space.Usage, error)
}

// Validate names the option that is out of range.
func (o Options) Validate() error {
	for _, name := range o.Scenarios {
		if !slices.Contains(Scenarios(), name) {
			return fmt.Errorf("scenario %.40q: one of %s expected", name, strings.Join(Scenarios(), ", "))
		}
	}
	switch {
	case len(o.Sizes) == 0:
		return errors.New("nothing to measure: no number of operations given")
	case len(o.BatchSizes) == 0:
		return errors.New("nothing to measure: no batch size given")
	case o.Runs < 1 || o.Runs > maxRuns:
		return fmt.Errorf("runs %d: 1 to %d expected", o.Runs, maxRuns)
	case o.WarmUp < 0 || o.WarmUp > maxRuns:
		return fmt.Errorf("warm-up %d: 0 to %d expected", o.WarmUp, maxRuns)
	case o.ValueBytes != 0 && o.Codec.Encoding() == operation.Fixed && o.ValueBytes != operation.ItemSize:
		return fmt.Errorf("value size %d: the encoding fixed has values of %d bytes", o.ValueBytes, operation.ItemSize)
	case o.ValueBytes < 0 || o.ValueBytes > maxValueBytes:
		return fmt.Errorf("value size %d: 1 to %d expected", o.ValueBytes, maxValueBytes)
	case o.CacheBytes < 0:
		return fmt.Errorf("cache size %d: 0 or more expected", o.CacheBytes)
	}
	for _, n := range o.Sizes {
		if n < 1 || n > maxOps {
			return fmt.Errorf("operations %d: 1 to %d expected", n, maxOps)
		}
	}
	for _, b := range o.BatchSizes {
		if b < 1 || b > wire.MaxOperations {
			return fmt.Errorf("batch size %d: 1 to %d expected", b, wire.MaxOperations)
		}
	}
	return nil
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if len(o.Scenarios) == 0 {
		o.Scenarios = Scenarios()
	}
	if o.ValueBytes == 0 {
		o.ValueBytes = DefaultValueBytes
		if o.Codec.Encoding() == operation.Fixed {
			o.ValueBytes = operation.ItemSize
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Space == nil {
		o.Space = func(dir string) (space.Usage, error) {
			free, total, err := store.DiskUsage(nil, dir)
			return space.Usage{Free: free, Total: total}, err
		}
	}
	return o
}
