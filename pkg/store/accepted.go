package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/internal/durable"
)

// checkpointName is the file with the newest signed target that was accepted.
// docs/format.md section 6.
const checkpointName = "CHECKPOINT"

// signedName is the file of a writer that signs, with the last checkpoint it has
// signed: not ours to read or write. docs/format.md section 8.
const signedName = "SIGNED"

// mostCheckpoint bounds the file: notes are of at most 64 KiB.
const mostCheckpoint = 64 << 10

// ReadCheckpoint returns the signed target that was kept last, byte for byte; nil:
// none ever was. What it says is not looked at here. It is the memory that
// protects from older targets, so what cannot be one is an error: never nothing.
func (d *Dir) ReadCheckpoint() ([]byte, error) { return readCheckpoint(d.fs, d.path) }

// KeepCheckpoint remembers a signed target in the place of the one before. It is
// durable when it returns, and survives generations, quarantines and backups. It
// must not be called by two at a time.
func (d *Dir) KeepCheckpoint(note []byte) error {
	switch {
	case d.opts.ReadOnly:
		return ErrReadOnly
	case len(note) == 0 || len(note) > mostCheckpoint:
		return fmt.Errorf("signed target of %d bytes: 1 to %d expected", len(note), mostCheckpoint)
	}
	if err := writeFile(d.fs, d.path, checkpointName, note); err != nil {
		return fmt.Errorf("write %s: %w", d.CheckpointPath(), err)
	}
	return nil
}

// SignedPath is where a writer that signs keeps what it has signed last.
func (d *Dir) SignedPath() string { return d.join(signedName) }

// CheckpointPath is where KeepCheckpoint writes.
func (d *Dir) CheckpointPath() string { return d.join(checkpointName) }

func readCheckpoint(fs FS, dir string) ([]byte, error) {
	path := fs.PathJoin(dir, checkpointName)
	note, err := durable.Read(fs, path, mostCheckpoint)
	switch {
	case errors.Is(err, durable.ErrEmpty):
		return nil, fmt.Errorf("%s is empty", path)
	case errors.Is(err, durable.ErrTooLong):
		return nil, fmt.Errorf("%s has more than %d bytes", path, mostCheckpoint)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return note, nil
}

// checkpoint copies the signed target of a directory, if it has one.
func (t *transfer) checkpoint(ctx context.Context, from, to string) error {
	path := t.fs.PathJoin(from, checkpointName)
	info, err := t.fs.Stat(path)
	switch {
	case isNotExist(err):
		return nil
	case err != nil:
		return err
	}
	t.total += info.Size()
	return t.file(ctx, path, t.fs.PathJoin(to, checkpointName))
}
