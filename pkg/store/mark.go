package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/proofsync/proofsync/internal/durable"
)

// damageName is the file that says that the generation in use was found to be
// damaged. docs/format.md section 7.
const damageName = "DAMAGED"

// mostMark bounds the file, and mostMarkError the error in it, in bytes.
const (
	mostMark      = 8 << 10
	mostMarkError = 1 << 10
)

// Mark is what is remembered of damage across restarts, until a check of
// everything finds nothing (ClearMark) or another generation is in use.
type Mark struct {
	Generation uint64    `json:"generation"`
	Time       time.Time `json:"time"`
	Error      string    `json:"error"`
}

// MarkDamaged remembers that a generation is damaged. It does no I/O: the mark is
// written within a second and when the directory is closed.
func (d *Dir) MarkDamaged(m Mark) {
	if len(m.Error) > mostMarkError {
		m.Error = m.Error[:mostMarkError] + "..."
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.opts.ReadOnly && m.Generation == d.generation {
		d.mark, d.markWritten = &m, false
	}
}

// Marked is the mark of the generation in use that an earlier process has left, or
// this one has made; nil: there is none.
func (d *Dir) Marked() *Mark {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mark
}

// loadMark reads the mark. One of another generation says nothing any more.
func (d *Dir) loadMark() error {
	m, err := readMark(d.fs, d.path)
	if err != nil || m == nil {
		return err
	}
	if m.Generation == d.generation {
		d.mark, d.markWritten = m, true
		return nil
	}
	if d.opts.ReadOnly {
		return nil
	}
	return ClearMark(d.fs, d.path)
}

// flushMark writes the mark if it is new.
func (d *Dir) flushMark() error {
	d.marking.Lock()
	defer d.marking.Unlock()
	d.mu.Lock()
	m, written := d.mark, d.markWritten
	d.mu.Unlock()
	if m == nil || written {
		return nil
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(d.fs, d.path, damageName, append(b, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", d.join(damageName), err)
	}
	d.mu.Lock()
	d.markWritten = d.mark == m
	d.mu.Unlock()
	return nil
}

// dropMark forgets the mark of a generation that is no longer in use.
func (d *Dir) dropMark() error {
	d.marking.Lock()
	defer d.marking.Unlock()
	d.mu.Lock()
	m, written := d.mark, d.markWritten
	d.mark = nil
	d.mu.Unlock()
	if m == nil || !written {
		return nil
	}
	return ClearMark(d.fs, d.path)
}

// ClearMark removes the mark of a directory that nobody has open: everything in it
// was found to be right. Where there is none it does nothing.
func ClearMark(fs FS, dir string) error { return removeFile(orDefault(fs), dir, damageName) }

// readMark returns nil where there is none. What cannot be understood counts as
// a mark of the generation in use: something was wrong.
func readMark(fs FS, dir string) (*Mark, error) {
	path := fs.PathJoin(dir, damageName)
	b, err := durable.Read(fs, path, mostMark)
	unreadable := errors.Is(err, durable.ErrEmpty) || errors.Is(err, durable.ErrTooLong)
	switch {
	case err != nil && !unreadable:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case b == nil && !unreadable:
		return nil, nil
	}
	m := new(Mark)
	if err == nil {
		err = json.Unmarshal(b, m)
	}
	if err != nil {
		c, cerr := readCurrent(fs, dir)
		if cerr != nil {
			return nil, cerr
		}
		return &Mark{Generation: c.generation, Error: fmt.Sprintf("%s cannot be read: %v", path, err)}, nil
	}
	return m, nil
}

// SetAside counts what lies in the folder quarantine: damaged generations and
// directories that nobody has removed yet.
func (d *Dir) SetAside() (n int, err error) {
	names, err := d.opts.FS.List(d.join(quarantineName))
	if isNotExist(err) {
		return 0, nil
	}
	for _, name := range names {
		if !isEvidence(name) {
			n++
		}
	}
	return n, err
}
