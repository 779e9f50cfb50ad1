// Package storetest gives tests file systems that break as real ones do. It
// is for tests only.
package storetest

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/proofsync/proofsync/pkg/store"
)

// Crashes runs a scenario on a file system in memory that is cloned, before
// every write operation, as a power cut would leave it: once with nothing that
// was not synced, once with a random half of it. It returns the clones in
// that order; the last one, taken after the scenario, has only what was synced.
func Crashes(tb testing.TB, scenario func(fs store.FS)) []store.FS {
	tb.Helper()
	disk := vfs.NewCrashableMem()
	rng := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex // large commits write from several goroutines
	var clones []store.FS
	scenario(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			mu.Lock()
			defer mu.Unlock()
			clones = append(clones,
				disk.CrashClone(vfs.CrashCloneCfg{}),
				disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
		}
		return nil
	})))
	return append(clones, disk.CrashClone(vfs.CrashCloneCfg{}))
}
