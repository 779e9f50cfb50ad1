// Package space keeps a database from filling its volume: it knows how much is
// free, and asks writers to stop while there is still enough for what the
// storage engine has begun.
//
//	volume --measured each second, and before each large step--> Guard
//	Need(bytes) --> nil, or *LowError: nothing has been written, wait and try again
//	Check --> readiness;  State --> metrics, status
//
// It knows neither databases nor file systems: figures come from a function,
// and what they mean is a few comparisons. It reserves nothing: another program
// may fill the volume between two looks, and the storage engine then stops by
// itself.
package space

import (
	"fmt"
	"strconv"
)

// Usage is what a volume says of itself, in bytes.
type Usage struct {
	Free  uint64 // for this process: without what is kept for the superuser
	Total uint64
}

// Floor is how much of a volume has to stay free. The zero Floor asks for
// nothing.
type Floor struct {
	Auto  bool   // choose by the size of the volume
	Bytes uint64 // if not Auto
}

// Bounds of the automatic floor. It has to hold what the storage engine writes
// without being asked again: three memtables of 8 MiB that wait for their flush,
// the tables of a bulk commit (24 MiB of index entries and tiles), and a
// compaction of the upper levels (64 MiB) that removes its inputs only when its
// outputs are complete.
const (
	minAuto = 128 << 20
	maxAuto = 1 << 30
)

// Of is the floor of a volume of that size, in bytes: 5 % of it if the floor is
// automatic, at least 128 MiB and at most 1 GiB, and never more than a quarter:
// a small volume is full before it is safe.
func (f Floor) Of(total uint64) uint64 {
	if !f.Auto {
		return f.Bytes
	}
	return min(max(total/20, minAuto), maxAuto, total/4)
}

// resumeAbove is how much more than the floor has to be free before writing goes
// on, as a share of it: a volume at the floor does not turn writers on and off.
const resumeAbove = 10

// low says whether writers have to stop, given whether they have been stopped.
func low(stopped bool, free, floor uint64) bool {
	if stopped {
		return free < floor+floor/resumeAbove
	}
	return free < floor
}

// Bytes writes a number of bytes for people: 512MiB, 1.5GiB.
func Bytes(n uint64) string {
	const unit = 1 << 10
	if n < unit {
		return strconv.FormatUint(n, 10) + "B"
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 3 {
		f, i = f/unit, i+1
	}
	name := [...]string{"KiB", "MiB", "GiB", "TiB"}[i]
	if f < 10 && f != float64(int(f)) {
		return fmt.Sprintf("%.1f%s", f, name)
	}
	return fmt.Sprintf("%.0f%s", f, name)
}
