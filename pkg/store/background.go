package store

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// backgroundFailures in a row end the process: pebble tries again at once and
	// for ever, and whoever waits for it, as closing does, would wait as long.
	backgroundFailures = 8
	// backgroundReport is the least distance of log lines about them.
	backgroundReport = time.Minute
)

// background judges failures of what pebble does on its own: memtables
// written out, tables merged. Nothing is lost by them, it is in the log.
type background struct {
	d    *Dir
	path string // of the generation

	mu       sync.Mutex
	failures int // since the last success
	reported time.Time
}

func (b *background) listener() *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption:  corruptionMet(b.d, b.path),
		BackgroundError: b.failed,
		FlushEnd:        func(i pebble.FlushInfo) { b.ended(i.Err) },
		CompactionEnd:   func(i pebble.CompactionInfo) { b.ended(i.Err) },
	}
}

func (b *background) ended(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.failures = 0
	}
}

// failed is called for every failure. Damaged data does not end the process:
// the rest can be read, and starting again would not help.
func (b *background) failed(err error) {
	if errors.Is(err, errNotNow) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 || time.Since(b.reported) > backgroundReport {
		b.reported = time.Now()
		b.d.opts.Logger.Error("storage background error", "path", b.path, "error", err.Error()) // without its stack
	}
	b.failures++
	if b.failures >= backgroundFailures && !pebble.IsCorruptionError(err) {
		b.d.fatal(b.path, fmt.Errorf("%d failures in a row: %w", b.failures, err))
	}
}
