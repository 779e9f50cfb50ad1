//go:build !linux

package serve

import (
	"errors"
	"net"
)

// canTry: writing can be tried.
const canTry = false

func tryWrite(uintptr, net.Buffers) (int, error) { return 0, errors.ErrUnsupported }
