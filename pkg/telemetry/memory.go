package telemetry

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent is the garbage a process may gather, relative to what is live,
// before it is collected. Nearly all of our heap is blocks and buffers
// without pointers, which cost the collector nothing to scan, so collecting
// twice as often as Go's default is cheap and keeps memory near the budgets
// that are configured.
const gcPercent = 50

// sampledBytes is how much is allocated between two samples of the heap profile. Go's
// default is 512 KiB; every block of the database that is read has to be
// allocated, and walking the stack for one in twenty of them was three per cent of
// a server's time.
const sampledBytes = 4 << 20

// TuneMemory sets the collector, and the rate of heap profiles, for programs whose
// heap is mostly caches and buffers. GOGC in the environment wins. Commands call it
// first thing.
func TuneMemory() {
	runtime.MemProfileRate = sampledBytes
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// ReleaseMemory gives what large work has left behind back to the system at
// once. It collects twice: pools give up what they hold in the second round.
// It costs tens of milliseconds of two cores, so it is for the end of work that
// took seconds.
func ReleaseMemory() {
	runtime.GC()
	debug.FreeOSMemory()
}
