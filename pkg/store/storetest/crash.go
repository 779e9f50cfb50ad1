// Package storetest gives tests file systems that break as real ones do. It
// is for tests only.
package storetest

import (
	"testing"

	"github.com/proofsync/proofsync/pkg/store"
)

// Crashes runs a scenario on a disk that is cloned, before every write
// operation, as a power cut would leave it: once with nothing that
// was not synced, once with a random half of it. It returns the clones in
// that order; the last one, taken after the scenario, has only what was synced.
func Crashes(tb testing.TB, scenario func(fs store.FS)) []store.FS {
	tb.Helper()
	disk := NewDisk()
	var clones []store.FS
	disk.Watch(func(op Op) error {
		if !op.Kind.Reads() {
			clones = append(clones, disk.Crash(0, 0).FS(), disk.Crash(50, uint64(len(clones))).FS())
		}
		return nil
	}, nil)
	scenario(disk.FS())
	disk.Watch(nil, nil)
	return append(clones, disk.Crash(0, 0).FS())
}
