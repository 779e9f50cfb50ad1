//go:build !linux

package app

import "syscall"

// onlyOwner does nothing: the permissions are set once the socket is bound.
func onlyOwner(syscall.RawConn) error { return nil }
