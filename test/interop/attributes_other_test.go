//go:build !linux

package interop

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
