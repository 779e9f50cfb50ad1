//go:build !unix

package main

import (
	"io"
	"os"
)

// isTerminal says whether w is one that can be drawn on.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// terminalRows is a usual height: this system is not asked.
func terminalRows(io.Writer) int { return 24 }

// notifyResize does nothing: this system does not tell.
func notifyResize(chan<- os.Signal) {}
