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
)

// storage is the database of the process. DB is set between its start and its
// stop, and so for every part that depends on it.
type storage struct {
	DB *database.DB
}

// writer is what the storage is opened for.
type writer struct {
	is    bool
	epoch uint64 // to record; 0: as it is
}

// newStorage opens the database when the process starts. A writer's directory
// is made and gets its first commit when there is none.
func newStorage(lc fx.Lifecycle, c *config.Common, w writer, st *status, reg prometheus.Registerer, log *slog.Logger) *storage {
	s := new(storage)
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			dir, err := directory(string(c.StorageDir), w.is)
			if err != nil {
				return err
			}
			log.Info("initializing database", "db", c.DB.String(), "encoding", c.Encoding.String(), "storage_dir", dir)
			s.DB, err = database.Open(dir, database.Options{
				Codec:           c.Codec(),
				CreateIfMissing: w.is,
				Epoch:           w.epoch,
				CacheBytes:      int64(c.CacheSize),
				Logger:          log,
			})
			if err != nil {
				return err
			}
			if e := s.DB.Epoch(); e > 0 {
				log.Info("database is of a declared epoch", "epoch", e)
			}
			reg.MustRegister(s.DB.Collector())
			st.database.set(holds)
			return nil
		},
		OnStop: func(context.Context) error {
			st.database.clear()
			return s.DB.Close()
		},
	})
	return s
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
