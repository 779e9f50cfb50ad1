//go:build !linux

package app

import "syscall"

// onlyOwner does nothing: the permissions are set once the socket is bound.
func onlyOwner(syscall.RawConn) error { return nil }

// descriptors is how many files and connections the process may have open; 0: unknown.
func descriptors() int { return 0 }
