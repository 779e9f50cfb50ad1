package serve

import (
	"net"

	"golang.org/x/sys/unix"
)

// canTry: writing can be tried.
const canTry = true

// maxParts is how many parts one write may have (UIO_MAXIOV).
const maxParts = 1024

// tryWrite writes what the kernel takes at once: EAGAIN if that is nothing.
func tryWrite(fd uintptr, b net.Buffers) (int, error) {
	for {
		n, err := unix.Writev(int(fd), b[:min(len(b), maxParts)])
		if err != unix.EINTR {
			return n, err
		}
	}
}
