package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/remote"
)

// logShown is how much of the log is shown unless something else was asked for.
const logShown = 20

// logFlags are the flags of log.
type logFlags struct {
	at      access
	out     output
	commits bool
	raw     bool
	start   uint64
	before  uint64
	limit   uint64
}

func newLog() *cobra.Command {
	l := new(logFlags)
	cmd := &cobra.Command{
		Use:   "log (--url URL | --storage-dir DIR | --raw DIR)",
		Short: "show operations or commits",
		Long: `Show the log: the operations from a location on, or its newest ones if --start
is not given; with --commits the states it went through, newest first. The sizes
of those are what --at-size of get and list takes.

Times are those at which the process that answers made or learned of a commit;
they are missing where it does not remember, as for all that a directory alone
can tell.

With --raw, show encoded operations as they are stored in a directory that no
process holds, oldest first: a line each of location and hexadecimal digits. Lines
that begin with # come before them: the database, what the state says, and the
pinned nodes of the start. All that a second program needs to compute the root.`,
		Example: `  proofsync log -u http://127.0.0.1:8081
  proofsync log -d ./data --start 1000 --limit 50
  proofsync log -d ./data --commits --limit 0
  proofsync log -u http://replica:8082 --start 0 --limit 0 --output json > log.jsonl
  proofsync log --raw ./data > operations.txt`,
		Args: func(cmd *cobra.Command, args []string) error {
			if l.raw && len(args) > 0 {
				return exactly("DIR")(cmd, args)
			}
			return exactly()(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if l.raw {
				return l.printRaw(cmd, args)
			}
			switch f := cmd.Flags(); {
			case l.commits && f.Changed("start"):
				return usagef("--start is of operations; --before of --commits")
			case !l.commits && f.Changed("before"):
				return usagef("--before is of --commits; --start of operations")
			}
			return l.at.with(cmd, reading, func(ctx context.Context, s *session) error {
				if l.commits {
					return l.printCommits(ctx, cmd, s)
				}
				return l.printOperations(ctx, cmd, s)
			})
		},
	}
	l.at.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&l.commits, "commits", false, "show commits instead of operations")
	f.BoolVar(&l.raw, "raw", false, "show encoded operations of a directory as they are stored, all of them unless --start or --limit say otherwise")
	f.Uint64Var(&l.start, "start", 0, "first location (the newest operations, as many as --limit)")
	f.Uint64Var(&l.before, "before", 0, "with --commits, those of less than this size")
	f.Uint64VarP(&l.limit, "limit", "n", logShown, "most operations or commits; 0: all")
	l.out.register(cmd, "an operation or commit of the API a line")
	return cmd
}

func (l *logFlags) printOperations(ctx context.Context, cmd *cobra.Command, s *session) error {
	o := remote.OperationsOptions{Start: l.start, Limit: pageSize(l.limit)}
	if !cmd.Flags().Changed("start") && l.limit > 0 {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if h := st.Head; h != nil {
			o.Start = max(h.Start, h.Size-min(l.limit, h.Size))
		}
	}
	lines := jsonLines(cmd.OutOrStdout())
	t := newRows(cmd.OutOrStdout(), "LOCATION", "KIND", "KEY", "VALUE")
	n := uint64(0)
	for op, err := range s.Operations(ctx, o) {
		if err == nil {
			if l.out.json {
				err = lines.Encode(op)
			} else {
				err = t.row(op.Location, op.Kind, s.showIf(op.Key), l.describe(s, op))
			}
		}
		if err != nil {
			return errorAfter(t, err)
		}
		if n++; n == l.limit {
			break
		}
	}
	return t.flush()
}

// describe is what an operation says besides its key.
func (l *logFlags) describe(s *session, op *document.Operation) string {
	if op.Floor == nil {
		return s.showIf(op.Value)
	}
	text := fmt.Sprintf("floor %d", *op.Floor)
	if op.Metadata != nil {
		text += ", metadata " + s.show(*op.Metadata)
	}
	return text
}

func (l *logFlags) printCommits(ctx context.Context, cmd *cobra.Command, s *session) error {
	o := remote.CommitsOptions{Before: l.before, Limit: min(pageSize(l.limit), maxCommits)}
	lines := jsonLines(cmd.OutOrStdout())
	t := newRows(cmd.OutOrStdout(), "SIZE", "ROOT", "FLOOR", "TIME", "METADATA")
	n := uint64(0)
	for c, err := range s.Commits(ctx, o) {
		if err == nil {
			if l.out.json {
				err = lines.Encode(c)
			} else {
				when := "-"
				if c.Time != nil {
					when = c.Time.Local().Format(time.DateTime)
				}
				err = t.row(c.Size, c.Root, c.Floor, when, s.showIf(c.Metadata))
			}
		}
		if err != nil {
			return errorAfter(t, err)
		}
		if n++; n == l.limit {
			break
		}
	}
	return t.flush()
}

// maxCommits is the largest page of commits the API gives.
const maxCommits = 1000
