package telemetry

import (
	"os"
	"runtime/debug"
)

// gcPercent is the garbage a process may gather, relative to what is live,
// before it is collected. Nearly all of our heap is blocks and buffers
// without pointers, which cost the collector nothing to scan, so collecting
// twice as often as Go's default is cheap and keeps memory near the budgets
// that are configured.
const gcPercent = 50

// TuneMemory sets the collector for programs whose heap is mostly caches and
// buffers. GOGC in the environment wins. Commands call it first thing.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
