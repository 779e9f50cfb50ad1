package syncer

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// ForkPolicy says what to do when the source's history is not ours.
type ForkPolicy string

const (
	// Halt keeps serving the last verified root and waits for the source to
	// come back to our history.
	Halt ForkPolicy = "halt"
	// Rebuild starts over with the source's history; the old one is served
	// until the new one is complete.
	Rebuild ForkPolicy = "rebuild"
)

// ParseForkPolicy reads a policy's name.
func ParseForkPolicy(s string) (ForkPolicy, error) {
	switch p := ForkPolicy(s); p {
	case Halt, Rebuild:
		return p, nil
	}
	return "", fmt.Errorf("unknown fork policy %q, accepted are %s and %s", s, Halt, Rebuild)
}

// UnmarshalText makes a policy usable in configuration.
func (p *ForkPolicy) UnmarshalText(text []byte) error {
	v, err := ParseForkPolicy(string(text))
	if err == nil {
		*p = v
	}
	return err
}

// Options configure a Syncer. The zero value of every field is usable and
// means the default.
type Options struct {
	// BatchSize is the most operations asked for by one request, 1 to
	// wire.MaxOperations; 0 means 50.
	BatchSize int
	// MaxOutstanding is the most requests for operations under way; 0 lets
	// the engine choose, up to 256. More than 4096 are never under way: they
	// would only queue at the server.
	MaxOutstanding int
	// MaxInflightBytes bounds the memory of answers asked for or received and
	// not yet stored, digests included; 0 means 32 MiB. One answer at a time
	// may exceed it, so that no value is too small.
	MaxInflightBytes int64
	// TargetInterval is how often the target is polled during a sync; 0 means 1s.
	TargetInterval time.Duration
	// SyncInterval is the pause after a completed sync; 0 means 10s.
	SyncInterval time.Duration
	// Follow makes Run ask the sources to push new targets, and follow them at
	// once; SyncInterval is then how often they are asked all the same. Sources
	// that do not push are polled. It has no effect with Once.
	Follow bool
	// OnFork is Halt unless set.
	OnFork ForkPolicy
	// OnCorruption is RebuildDamaged unless set.
	OnCorruption CorruptionPolicy
	// Once ends Run after the first completed sync, or what makes it impossible.
	Once bool
	// Workers is how many answers are verified at the same time; 0 means GOMAXPROCS.
	Workers int
	// StallAfter is how long there may be no progress before that is a state
	// of its own; 0 means one minute.
	StallAfter time.Duration
	// Synced, if not nil, is called by Run after every completed sync, before
	// it pauses.
	Synced func(Result)
	// Server is how log lines name the source; empty means its own name.
	Server string
	// Logger gets the events; nil discards.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

const (
	// flushEvery bounds how much verified progress a crash can cost.
	flushEvery = 5 * time.Second
	// reportEvery is the distance between progress lines of a long sync.
	reportEvery = 5 * time.Second
	// maxOutstanding is the most requests the engine has under way unasked.
	maxOutstanding = 256
	// mostOutstanding is the most it has under way if asked for more: every
	// request is a goroutine and has room for its outcome.
	mostOutstanding = 4096
)

func (o Options) withDefaults(source string) Options {
	if o.BatchSize <= 0 {
		o.BatchSize = 50
	}
	o.BatchSize = min(o.BatchSize, wire.MaxOperations)
	if o.MaxOutstanding <= 0 {
		o.MaxOutstanding = maxOutstanding
	}
	o.MaxOutstanding = min(o.MaxOutstanding, mostOutstanding)
	if o.MaxInflightBytes <= 0 {
		o.MaxInflightBytes = 32 << 20
	}
	if o.TargetInterval <= 0 {
		o.TargetInterval = time.Second
	}
	if o.SyncInterval <= 0 {
		o.SyncInterval = 10 * time.Second
	}
	if o.OnFork == "" {
		o.OnFork = Halt
	}
	if o.OnCorruption == "" {
		o.OnCorruption = RebuildDamaged
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.StallAfter <= 0 {
		o.StallAfter = time.Minute
	}
	if o.Server == "" {
		o.Server = source
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return o
}
