package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/store"
)

// inputPatience is how long a database that does not exist yet waits for the
// check of what is to be imported.
const inputPatience = 4 * time.Minute

// imports is what the configuration names for import. The input is checked from
// the start of the process on. A database that does not exist yet waits for the
// outcome, so that a broken input does not settle what the directory is for.
type imports struct {
	cfg   *config.Server
	stdin io.Reader
	log   *slog.Logger

	checking tasks
	checked  chan struct{} // closed when the following are set
	prepared *importer.Prepared
	err      error
}

func newImports(lc fx.Lifecycle, cfg *config.Server, stdin io.Reader, log *slog.Logger) *imports {
	i := &imports{cfg: cfg, stdin: stdin, log: log, checked: make(chan struct{})}
	if len(cfg.Import) == 0 {
		close(i.checked)
		return i
	}
	lc.Append(fx.Hook{OnStart: i.start, OnStop: i.stop})
	return i
}

func (i *imports) start(ctx context.Context) error {
	i.checking.start("import", i.check, nil)
	if dir := string(i.cfg.StorageDir); dir != "" {
		if _, err := database.Detect(dir, nil); !errors.Is(err, store.ErrNotFound) {
			return nil // there is a database, or opening it says what else there is
		}
	}
	// Input may come slowly, or be large. The database is not kept waiting for
	// it; it is empty then until all is checked.
	limit, cancel := context.WithTimeout(ctx, inputPatience)
	defer cancel()
	err := i.wait(limit)
	switch {
	case err == nil:
	case ctx.Err() == nil && limit.Err() != nil:
		i.log.Warn("import is still being checked, making the database without it")
		return nil
	default:
		_ = i.stop(ctx) // what failed to start is not stopped by anybody else
		err = fmt.Errorf("import: %w", err)
	}
	return err
}

// check is a task that does not fail: wait hands on what it found.
func (i *imports) check(ctx context.Context) error {
	defer close(i.checked)
	i.prepared, i.err = importer.Prepare(ctx, i.cfg.Codec(), importer.Options{
		Paths: i.cfg.Import, Stdin: i.stdin, FloorPolicy: i.cfg.FloorPolicy.FloorPolicy, Logger: i.log,
	})
	return nil
}

// wait returns when the input has been checked, with what is wrong with it.
func (i *imports) wait(ctx context.Context) error {
	select {
	case <-i.checked:
		return i.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apply waits for the check and writes the input to the database.
func (i *imports) apply(ctx context.Context, db *database.DB) error {
	if err := i.wait(ctx); err != nil || i.prepared == nil {
		return err
	}
	_, err := i.prepared.Apply(ctx, db)
	return err
}

// stop calls off the check. It follows the stop of everybody who waits.
func (i *imports) stop(ctx context.Context) error {
	err := i.checking.stop(ctx)
	if err == nil && i.prepared != nil {
		i.prepared.Close()
	}
	return err
}
