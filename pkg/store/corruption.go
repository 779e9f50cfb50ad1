package store

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// corruptionMet says once of each file that pebble cannot read what is in it.
// Whoever reads gets the error; the rest of the database can be read. Left to
// itself, pebble would end the process, and the next one again.
func corruptionMet(d *Dir, path string) func(pebble.DataCorruptionInfo) {
	var told sync.Map
	generation, ok := parseGeneration(d.fs.PathBase(path))
	return func(info pebble.DataCorruptionInfo) {
		if d.opts.Damaged != nil && ok {
			d.opts.Damaged(generation, &CorruptError{Where: info.Path, Err: info.Details})
			return
		}
		if _, again := told.LoadOrStore(info.Path, true); !again {
			d.opts.Logger.Error("damaged file in the storage directory: stop the process and run proofsync fsck", "path", info.Path)
		}
	}
}
