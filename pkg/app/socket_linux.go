package app

import "syscall"

// onlyOwner gives a socket that is not bound yet the permissions its file will
// have, so that there is no moment in which others may connect.
func onlyOwner(c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); e != nil {
		return e
	}
	return err
}

// descriptors is how many files and connections the process may have open; 0 if unknown.
func descriptors() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return int(min(r.Cur, 1<<30))
}
