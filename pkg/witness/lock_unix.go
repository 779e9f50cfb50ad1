//go:build unix

package witness

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes a file for this process; it ends with the descriptor.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}
