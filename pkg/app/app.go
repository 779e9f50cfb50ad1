// Package app puts the processes together. It is the only package that knows
// fx, and holds wiring and the order of starting and stopping; what the parts do
// is in the packages it wires.
//
//	server:  telemetry -> listener -> imports (input checked) -> storage -> serving (initial operations, import, answers, generator)
//	client:  telemetry -> storage -> following (sync loop, readiness)
//
// Parts start from left to right and stop from right to left. Starting is quick:
// probes answer first, ports and the directory are taken next, and long work
// runs in tasks afterwards. A task that fails ends the process with exit code 1.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitAgain   = -1 // never seen outside: the app is to be started once more
)

// Streams are the standard streams of a process.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// OS returns the standard streams of this process.
func OS() Streams { return Streams{os.Stdin, os.Stdout, os.Stderr} }

// ServerMain runs cmd/server with the arguments after the program's name and
// returns its exit code.
func ServerMain(args []string, std Streams) int {
	telemetry.TuneMemory()
	cfg, err := config.ParseServer(args)
	if err != nil {
		return answer(err, "server", new(config.Server), std)
	}
	log := logger(&cfg.Common, std)
	return runAgain(func() *fx.App { return Server(cfg, std.In, log) }, log, cfg.ShutdownTimeout.D())
}

// ClientMain runs cmd/client like ServerMain.
func ClientMain(args []string, std Streams) int {
	telemetry.TuneMemory()
	cfg, err := config.ParseClient(args)
	if err != nil {
		return answer(err, "client", new(config.Client), std)
	}
	log := logger(&cfg.Common, std)
	return runAgain(func() *fx.App { return Client(cfg, log) }, log, cfg.ShutdownTimeout.D())
}

func logger(c *config.Common, std Streams) *slog.Logger {
	return telemetry.NewLogger(std.Err, c.LogFormat.String(), c.LogLevel.Level())
}

// answer deals with arguments that do not lead to a run.
func answer(err error, name string, cfg any, std Streams) int {
	switch {
	case errors.Is(err, config.ErrHelp):
		err = config.Usage(std.Out, cfg)
	case errors.Is(err, config.ErrVersion):
		_, err = fmt.Fprintf(std.Out, "proofsync %s %s\n", name, telemetry.Build())
	default:
		fmt.Fprintf(std.Err, "%s: %v\n", name, err)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(std.Err, "%s: %v\n", name, err)
		return exitFailure
	}
	return exitOK
}

// signalPause is how long after a signal another one does not kill yet: some
// senders signal a process and its group.
const signalPause = 500 * time.Millisecond

// startGrace is how long after a signal a start may still take to be complete:
// what has been started is then stopped in good order. A longer one is given up,
// in the middle of opening a database if need be, which is made for that.
const startGrace = time.Second

// start starts the app. fx returns at once when a context ends, whatever is
// still being started, so that of the signals is watched beside it.
func start(signals context.Context, app *fx.App) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- app.Start(ctx) }()
	select {
	case err := <-started:
		return err
	case <-signals.Done():
	}
	select {
	case err := <-started:
		return err
	case <-time.After(startGrace):
		cancel()
		return <-started
	}
}

// runAgain runs apps of one configuration until one ends for good.
func runAgain(newApp func() *fx.App, log *slog.Logger, timeout time.Duration) int {
	for {
		if code := run(newApp(), log, timeout); code != exitAgain {
			return code
		}
	}
}

// run starts the app, waits for a signal or the app's own end, and stops it
// within the timeout. A second signal, signalPause after the first or later,
// kills.
//
// Starting takes as long as it takes: opening a large database, or repairing one,
// may take hours, and giving up would only begin it again. Probes answer
// meanwhile, so whoever does not want to wait can tell; a signal ends it.
func run(app *fx.App, log *slog.Logger, timeout time.Duration) int {
	signals, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()

	if err := start(signals, app); err != nil {
		// fx has stopped what was started.
		if signals.Err() != nil {
			log.Info("stopped while starting")
			return exitOK
		}
		log.Error("cannot start", "error", err)
		return exitFailure
	}

	code := exitOK
	select {
	case <-signals.Done():
	case s := <-app.Wait(): // fx hears the signals as well
		code = s.ExitCode
	}
	kill := time.AfterFunc(signalPause, func() { signal.Reset(syscall.SIGINT, syscall.SIGTERM) }) // also fx's handler
	defer kill.Stop()
	log.Info("shutting down", "timeout", timeout)

	stop, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := app.Stop(stop); err != nil {
		log.Error("stopped with an error", "error", err)
		return exitFailure
	}
	log.Info("stopped")
	if code == exitAgain && signals.Err() != nil {
		return exitOK
	}
	return code
}
