//go:build unix

package store

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// holder describes the process that holds a lock, as far as the system tells.
func holder(fs FS, path string) string {
	if fs != vfs.Default {
		return "this process"
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "another process"
	}
	// Closing any handle of the file would drop a lock of this very process,
	// so ask first and keep the handle if the lock is our own.
	spec := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &spec)
	if err == nil && spec.Type == unix.F_UNLCK {
		return "this process"
	}
	defer f.Close()
	if err != nil || spec.Pid <= 0 {
		return "another process"
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", spec.Pid))
	if err != nil {
		return fmt.Sprintf("process %d", spec.Pid)
	}
	return fmt.Sprintf("process %d (%s)", spec.Pid, strings.TrimSpace(string(comm)))
}
