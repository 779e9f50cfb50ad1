package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/telemetry"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

type streams struct {
	in       io.Reader
	out, err io.Writer
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageError is an error in the arguments.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// signalPause is how long after a signal another one does not kill yet: some
// senders signal a process and its group.
const signalPause = 500 * time.Millisecond

// run executes the arguments after the program's name and returns the exit
// code. The first signal ends the command in good order, a later one kills.
func run(args []string, std streams) int {
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	context.AfterFunc(ctx, func() { time.AfterFunc(signalPause, restore) })

	root := newRoot()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	// One line that a terminal takes for text, whatever a path, a file or a
	// server has put in it.
	fmt.Fprintf(std.err, "proofsync: %s\n", line(strings.ReplaceAll(err.Error(), "\n", `\n`)))
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if special, ok := errors.AsType[*exitError](err); ok {
		return special.code
	}
	return exitFailure
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "proofsync",
		Short: "verified replicas of an authenticated database",
		Long: `proofsync is the operator's tool of an authenticated database and its verified
replicas. The database is served by the command server and followed by client.

Most commands ask a running process, by the address of its HTTP API (--url) or by
its storage directory (--storage-dir), in which it listens on ` + socketName + `. A
directory that no process holds is read, and written, directly.

The variables ` + variable("url") + `, ` + variable("storage-dir") + `, ` + variable("token-file") + `
and ` + variable("output") + ` stand for the flags of these names, and NO_COLOR turns colour
off. Exit codes: 0, 1 for failures, 2 for mistakes in arguments and variables.`,
		Example: `  proofsync demo
  proofsync import --storage-dir ./data people.jsonl
  proofsync get --storage-dir ./data alice
  proofsync status --url http://127.0.0.1:8082
  proofsync watch --url http://127.0.0.1:8082`,
		Version:       telemetry.Build().Version,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q%s (see proofsync --help)", args[0], similar(cmd, args[0]))
			}
			return nil
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return checkEnvironment(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(fmt.Sprintf("proofsync %s\n", telemetry.Build()))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	for _, g := range groups() {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title + ":"})
		for _, cmd := range g.commands {
			cmd.GroupID, cmd.DisableFlagsInUseLine = g.id, true
			root.AddCommand(cmd)
		}
	}
	return root
}

// group are commands that the help shows together.
type group struct {
	id, title string
	commands  []*cobra.Command
}

func groups() []group {
	return []group{
		{"data", "Read and write", []*cobra.Command{newGet(), newList(), newPut(), newDelete(), newImport(), newExport(), newWatch(), newLog(), newVerify()}},
		{"operate", "Operate", []*cobra.Command{newStatus(), newInspect(), newFsck(), newDiff(), newBackup(), newRestore(), newObserve(), newCompare()}},
		{"trust", "Trust signatures", []*cobra.Command{newKeys(), newCheckpoint(), newWitness()}},
		{"try", "Try it", []*cobra.Command{newDemo(), newBench()}},
	}
}

// similar suggests commands for one that does not exist.
func similar(cmd *cobra.Command, name string) string {
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		return ", did you mean " + strings.Join(s, " or ") + "?"
	}
	return ""
}

// exactly wants the named arguments and no others.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > len(names):
			return usagef("unexpected argument %q (see %s --help)", args[len(names)], cmd.CommandPath())
		case len(args) < len(names):
			return usagef("argument %s is missing (see %s --help)", names[len(args)], cmd.CommandPath())
		}
		return nil
	}
}

// logging are the flags of commands that log.
type logging struct{ format, level string }

func (l *logging) register(cmd *cobra.Command, level string) {
	cmd.Flags().StringVar(&l.format, "log-format", "text", "format of log lines on standard error: text or json")
	cmd.Flags().StringVar(&l.level, "log-level", level, "least level logged: debug, info, warn or error")
	complete(cmd, "log-format", "text", "json")
	complete(cmd, "log-level", "debug", "info", "warn", "error")
	fromEnvironment(cmd, "log-format", "log-level")
}

func (l *logging) logger(cmd *cobra.Command) (*slog.Logger, error) {
	if l.format != "text" && l.format != "json" {
		return nil, usagef("%s %q: text or json expected", origin(cmd, "log-format"), l.format)
	}
	var level slog.Level
	switch l.level {
	case "debug", "info", "warn", "error":
		if err := level.UnmarshalText([]byte(l.level)); err != nil {
			return nil, err
		}
	default:
		return nil, usagef("%s %q: debug, info, warn or error expected", origin(cmd, "log-level"), l.level)
	}
	return telemetry.NewLogger(cmd.ErrOrStderr(), l.format, level), nil
}

// complete offers values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// It fails for a flag that does not exist only; a test completes them all.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}
