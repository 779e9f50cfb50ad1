//go:build !linux

package bench

// peakMemory is not known here.
func peakMemory() uint64 { return 0 }

func peakMemoryOf(int) uint64 { return 0 }
