//go:build unix

package durable

import (
	"errors"
	"os"
	"strings"
	"syscall"
)

// IsLocked tells a lock that somebody holds from any other failure to lock.
func IsLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) && !errors.Is(err, os.ErrNotExist) && !isPathError(err) ||
		strings.Contains(err.Error(), "held by current process")
}

// isPathError is true for failures to open the lock file itself.
func isPathError(err error) bool {
	_, ok := errors.AsType[*os.PathError](err)
	return ok
}
