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
