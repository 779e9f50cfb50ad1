//go:build !unix

package witness

import "os"

// lockFile cannot take a file here: that there is one process is up to its operator.
func lockFile(*os.File) error { return nil }
