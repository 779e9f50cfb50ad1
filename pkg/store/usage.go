package store

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DiskUsage is how many bytes are free for this process on the volume that
// holds path, and how large the volume is. Not every file system can tell.
func DiskUsage(fs FS, path string) (free, total uint64, err error) {
	u, err := orDefault(fs).GetDiskUsage(path)
	if err != nil {
		return 0, 0, fmt.Errorf("disk usage of %s: %w", path, err)
	}
	return u.AvailBytes, u.TotalBytes, nil
}

// openingBytes is what the storage engine writes when it is opened, beside the
// tables that its log becomes: a manifest, its options, the head of a new log.
const openingBytes = 1 << 20

// OpeningBytes is about how much opening the directory writes: the process may
// have been killed, and then what its log holds is written as tables. ErrNotFound
// if there is no database.
func OpeningBytes(fs FS, dir string) (uint64, error) {
	fs = orDefault(fs)
	if _, err := readCurrent(fs, dir); err != nil {
		return 0, err
	}
	n := uint64(openingBytes)
	names, err := fs.List(dir)
	if err != nil {
		return 0, fmt.Errorf("read storage directory: %w", err)
	}
	for _, name := range names {
		if _, ok := parseGeneration(name); !ok {
			continue
		}
		files, err := fs.List(fs.PathJoin(dir, name))
		if err != nil {
			return 0, fmt.Errorf("read storage directory: %w", err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, ".log") {
				continue
			}
			if info, err := fs.Stat(fs.PathJoin(dir, name, file)); err == nil {
				n += uint64(info.Size())
			}
		}
	}
	return n, nil
}

func orDefault(fs FS) FS {
	if fs == nil {
		return vfs.Default
	}
	return fs
}
