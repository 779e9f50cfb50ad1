package database

import (
	"context"
	"errors"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// ErrBackupRunning: a backup of this database is being made. There is one at a time.
var ErrBackupRunning = errors.New("another backup of this database is being made")

// Backup describes a backup that was made.
type Backup struct {
	Size     uint64 // operations in its log
	Start    uint64 // first retained location
	Floor    uint64
	Root     mmr.Digest
	Epoch    uint64
	Files    store.Transfer
	Duration time.Duration
}

// Backup makes a storage directory at out, which must be missing or empty, with
// everything that is published, while the database is read and written. See
// store.Dir.Backup; errors are also ErrEmpty, ErrClosed and ErrBackupRunning.
func (d *DB) Backup(ctx context.Context, out string, progress func(done, total int64)) (Backup, error) {
	if !d.backup.TryLock() {
		return Backup{}, ErrBackupRunning
	}
	defer d.backup.Unlock()
	v, err := d.View() // keeps the generation open
	if err != nil {
		return Backup{}, err
	}
	defer v.Close()
	began := time.Now()
	s, files, err := d.dir.Backup(ctx, v.gen.Generation, out, progress)
	if err != nil {
		return Backup{}, err
	}
	return Backup{
		Size: s.Size, Start: s.Start, Floor: s.Floor, Root: s.Root, Epoch: d.Epoch(),
		Files: files, Duration: time.Since(began),
	}, nil
}

// Epoch counts how often the log was declared to have lost commits; 0: never.
func (d *DB) Epoch() uint64 { return d.dir.Epoch() }

// RaiseEpoch records the epoch of the log that a replica has made readable. It never
// goes down (*store.EpochError), and the same one changes nothing.
func (d *DB) RaiseEpoch(n uint64) error {
	d.write.Lock() // no generation is being put to use meanwhile
	defer d.write.Unlock()
	if n == d.dir.Epoch() {
		return nil
	}
	if err := d.space.Need(smallFile); err != nil {
		return err
	}
	return d.dir.RaiseEpoch(n)
}

// smallFile is what replacing one of the small files of a directory takes at most.
const smallFile = 64 << 10

// ReadCheckpoint returns the signed target that was kept last; nil: none ever was.
// See store.Dir.ReadCheckpoint.
func (d *DB) ReadCheckpoint() ([]byte, error) { return d.dir.ReadCheckpoint() }

// KeepCheckpoint remembers a signed target durably, in the place of the one before.
// A *space.LowError says that nothing was written as there is no space.
func (d *DB) KeepCheckpoint(note []byte) error {
	if err := d.space.Need(smallFile); err != nil {
		return err
	}
	return d.dir.KeepCheckpoint(note)
}

// CheckpointPath is the file of the signed target.
func (d *DB) CheckpointPath() string { return d.dir.CheckpointPath() }

// SignedPath is the file for what a writer that signs has signed last.
func (d *DB) SignedPath() string { return d.dir.SignedPath() }

// raiseEpoch declares a new epoch. The database is open, so the directory is
// sound.
func (d *DB) raiseEpoch(n uint64) error {
	held := d.dir.Epoch()
	if n == 0 || n == held {
		return nil
	}
	if err := d.dir.RaiseEpoch(n); err != nil {
		return err
	}
	args := []any{"epoch", n, "before", held}
	if d.view != nil {
		args = append(args, "op_count", d.view.Size(), "root", d.view.Root())
	}
	d.log.Warn("a new epoch begins: commits that this directory does not hold are given up; replicas that hold them report a fork until they are rebuilt", args...)
	return nil
}
