package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/space"
	"github.com/proofsync/proofsync/pkg/store"
)

// storage is the database of the process, and the guard of its volume. Both are
// set between its start and its stop, and so for every part that depends on it.
type storage struct {
	DB    *database.DB
	space *space.Guard

	reading bool // there is no space to write; see full

	cfg    *config.Common
	use    use
	status *status
	reg    prometheus.Registerer
	exits  exits
	tasks  tasks
}

// use is what a process does with its storage.
type use struct {
	writer bool   // the directory is made, and gets its first commit, when there is none
	epoch  uint64 // to record; 0: as it is
	halt   bool   // damaged data is left as it is, and the process stays to say so
	repair bool   // damaged data is set aside, and is not a reason to fail
	once   bool   // the process cannot begin anew: part of its input would be gone
}

// newStorage opens the database when the process starts. On a volume that is too
// full even for that, it is opened for reading, and the process begins anew when
// there is space.
func newStorage(lc fx.Lifecycle, c *config.Common, u use, st *status, reg prometheus.Registerer, e exits) *storage {
	s := &storage{cfg: c, use: u, status: st, reg: reg, exits: e}
	lc.Append(fx.Hook{OnStart: s.start, OnStop: s.stop})
	return s
}

func (s *storage) start(context.Context) error {
	c, log := s.cfg, s.exits.Log
	dir, err := directory(string(c.StorageDir), s.use.writer)
	if err != nil {
		return err
	}
	log.Info("initializing database", "db", c.DB.String(), "encoding", c.Encoding.String(), "storage_dir", dir)
	s.space = newGuard(c, dir, log)
	low := s.full(dir)
	s.reading = low != nil
	epoch := s.use.epoch
	if low != nil {
		epoch = 0 // recorded when there is space
	}
	s.DB, err = database.Open(dir, database.Options{
		Codec:           c.Codec(),
		CreateIfMissing: s.use.writer,
		Epoch:           epoch,
		ReadOnly:        s.reading,
		CacheBytes:      int64(c.CacheSize),
		Space:           s.space,
		Rebuild:         s.use.repair,
		Logger:          log,
	})
	if errors.Is(err, store.ErrCorrupt) && s.use.halt {
		s.DB, err = database.StandIn(dir, database.Options{Codec: c.Codec(), CacheBytes: 1 << 20, Logger: log}, fmt.Errorf("%w; %s", err, s.advice(dir)))
	}
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w; %s", err, s.advice(dir))
	}
	if err != nil {
		return err
	}
	if e := s.DB.Epoch(); e > 0 {
		log.Info("database is of a declared epoch", "epoch", e)
	}
	s.reg.MustRegister(s.DB.Collector(), s.space.Collector())
	s.tasks.start("free space", func(ctx context.Context) error { s.space.Run(ctx); return nil }, s.exits.failed)
	if low != nil {
		s.tasks.start("waiting for space", func(ctx context.Context) error { return s.beginAnew(ctx, low) }, s.exits.failed)
	}
	s.status.disk.set(s.space.Check)
	s.status.data.set(s.intact)
	s.status.database.set(holds)
	return nil
}

func (s *storage) stop(ctx context.Context) error {
	s.status.database.clear()
	return errors.Join(s.tasks.stop(ctx), s.DB.Close())
}

// full says that there is a database, and not even space to open it for writing.
// The guard is suspended then.
func (s *storage) full(dir string) *space.LowError {
	if s.use.once || s.cfg.MinFreeBytes == (config.FreeBytes{}) {
		return nil
	}
	need, err := store.OpeningBytes(nil, dir)
	free, _, e := store.DiskUsage(nil, dir)
	if known := err == nil && e == nil; !known || free >= need {
		return nil // opening tells what is wrong, if anything is
	}
	s.exits.Log.Warn("no space to open the database for writing: it is opened for reading, until there is", "wanted", space.Bytes(need))
	return s.space.Suspend(need)
}

// beginAnew ends the app when there is space again, to start another one.
func (s *storage) beginAnew(ctx context.Context, low *space.LowError) error {
	if err := low.Wait(ctx); err != nil {
		return err
	}
	s.exits.Log.Info("there is space on the disk again: starting anew, to write")
	s.exits.with(exitAgain)
	return nil
}

// advice is what to do about damaged data that is not set aside.
func (s *storage) advice(dir string) string {
	if s.use.writer {
		return "look at it with proofsync fsck " + dir + "; what cannot be repaired has to be restored from a backup, or from a replica"
	}
	return "look at it with proofsync fsck " + dir + ", or let --on-corruption rebuild set it aside and fetch everything anew"
}

// intact is the condition that no stored data is known to be damaged.
func (s *storage) intact() error {
	if x := s.DB.Damage(); x != nil {
		return x.Err
	}
	return nil
}

// newGuard watches the volume of dir.
func newGuard(c *config.Common, dir string, log *slog.Logger) *space.Guard {
	return space.New(space.Options{
		Floor: space.Floor{Auto: c.MinFreeBytes.Auto, Bytes: uint64(c.MinFreeBytes.Size)},
		Measure: func() (space.Usage, error) {
			free, total, err := store.DiskUsage(nil, dir)
			return space.Usage{Free: free, Total: total}, err
		},
		Path: dir, Logger: log,
	})
}

// directory is the configured storage directory, or a new one in the system's
// temporary folder.
func directory(configured string, writer bool) (string, error) {
	if configured != "" {
		return configured, nil
	}
	parent := filepath.Join(os.TempDir(), "proofsync")
	err := os.Mkdir(parent, 0o777)
	if err == nil {
		// Shared by all users, as its own parent is.
		err = os.Chmod(parent, 0o777|os.ModeSticky)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("temporary storage directory: %w", err)
	}
	pattern := "client-*"
	if writer {
		pattern = "server-*"
	}
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", fmt.Errorf("temporary storage directory: %w", err)
	}
	return dir, nil
}
