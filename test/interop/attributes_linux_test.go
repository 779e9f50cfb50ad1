package interop

import "syscall"

// attributes make the kernel end a program when the test process is gone: after
// a test time-out no cleanup runs.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
