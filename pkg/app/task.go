package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"go.uber.org/fx"
)

// exits ends the process from within.
type exits struct {
	fx.In
	Shutdowner fx.Shutdowner
	Log        *slog.Logger
}

// failed ends the process with exit code 1 and one line that says why.
func (e exits) failed(err error) {
	e.Log.Error("background task failed", "error", err)
	e.with(exitFailure)
}

func (e exits) with(code int) {
	if err := e.Shutdowner.Shutdown(fx.ExitCode(code)); err != nil {
		e.Log.Error("cannot shut down", "error", err)
	}
}

// tasks are goroutines that belong to one part of the process. The zero value
// is ready; start and stop are called by one goroutine.
type tasks struct {
	ends []func(context.Context) error
}

// start runs f until stop. f returns an error only for a failure of the whole
// process, never because its context ended.
func (t *tasks) start(name string, f func(context.Context) error, failed func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
			failed(fmt.Errorf("%s: %w", name, err))
		}
	}()
	t.ends = append(t.ends, func(limit context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-limit.Done():
			return fmt.Errorf("%s did not stop in time", name)
		}
	})
}

// stop cancels and joins the tasks, the last one first.
func (t *tasks) stop(ctx context.Context) error {
	var errs []error
	for _, v := range slices.Backward(t.ends) {
		errs = append(errs, v(ctx))
	}
	t.ends = nil
	return errors.Join(errs...)
}
