package remote

import (
	"fmt"
	"net"
	"os"
)

func mkdir(dir string) error { return os.MkdirAll(dir, 0o755) }

// listenIn listens on a socket in a folder, however long its path is.
func listenIn(dir, name string) (net.Listener, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), name))
}
