package store

import (
	"errors"
	"fmt"
	"os"
)

// errFull: pebble would try again for ever in the background, and panic where it
// has to answer.
var errFull = errors.New("no space left on the volume; make it larger, or free some of it, and start again")

// full is called when a write found no space. Who only reads can do without
// what he wanted to write.
func (d *Dir) full() {
	if !d.opts.ReadOnly {
		d.fatal(d.path, errFull)
	}
}

// fatal ends the process with one line, or tells Options.Fatal. It does not
// return: pebble would take that for success, and acknowledge what was lost.
func (d *Dir) fatal(path string, err error) {
	d.failed.Do(func() {
		d.opts.Logger.Error("storage cannot continue", "path", path, "error", err.Error()) // without pebble's stack
		if d.opts.Fatal == nil {
			os.Exit(1) //nolint:revive // a panic would print a stack nobody can use
		}
		d.opts.Fatal(fmt.Errorf("storage in %s cannot continue: %w", path, err))
	})
	select {}
}

// pebbleLogger sends pebble's remarks about a generation to the debug level.
type pebbleLogger struct {
	d    *Dir
	path string
}

func (p pebbleLogger) Infof(format string, args ...any) {
	p.d.opts.Logger.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (p pebbleLogger) Errorf(format string, args ...any) {
	p.d.opts.Logger.Error("pebble", "path", p.path, "message", fmt.Sprintf(format, args...))
}

// Fatalf is called when pebble cannot go on without risking the data.
func (p pebbleLogger) Fatalf(format string, args ...any) {
	p.d.fatal(p.path, fmt.Errorf(format, args...))
}
