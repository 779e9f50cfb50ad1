package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/fsck"
)

func newDiff() *cobra.Command {
	var (
		out  output
		full bool
	)
	cmd := &cobra.Command{
		Use:   "diff [--full] DIR OTHER",
		Short: "find the first operation in which two storage directories differ",
		Long: `Compare the logs of two storage directories, each up to its size, and say whether
they are equal, one goes on where the other ends, or at which location they part,
with the operations both have there.

Stored digests are compared from the top down, so that a few hundred reads are
enough whatever the size; --full compares the operations themselves. Directories
that processes hold cannot be compared. Exit codes: 0 one of them is a prefix of
the other or they are equal, 1 they differ or could not be compared, 2 for
mistakes in arguments.`,
		Example: `  proofsync diff ./replica-0 ./replica-1
  proofsync diff --full --output json ./data ./restored | jq .location`,
		Args: exactly("DIR", "OTHER"),
		RunE: func(cmd *cobra.Command, args []string) error { return diff(cmd, args, full, out) },
	}
	cmd.Flags().BoolVar(&full, "full", false, "compare all operations, and trust no digest")
	out.register(cmd, "the result, as one document")
	return cmd
}

func diff(cmd *cobra.Command, dirs []string, full bool, out output) (err error) {
	var logs [2]*fsck.Log
	for i, dir := range dirs {
		if logs[i], err = fsck.OpenLog(dir, fsck.Options{}); err != nil {
			return free(err)
		}
		defer func() { err = errors.Join(err, logs[i].Close()) }()
	}
	lines := newProgressLines(cmd.ErrOrStderr())
	d, err := fsck.Diff(cmd.Context(), logs[0], logs[1], full, fsck.Options{Progress: lines.show})
	lines.end()
	if err != nil {
		return fmt.Errorf("%w (proofsync fsck checks a directory)", err)
	}
	if out.json {
		err = printJSON(cmd.OutOrStdout(), d)
	} else {
		err = printDifference(newTable(cmd.OutOrStdout()), dirs, logs, d)
	}
	switch {
	case err != nil:
		return err
	case d.Verdict == fsck.Apart:
		return errors.New("no operation is in both directories, so they cannot be compared")
	case d.Verdict == fsck.Differ:
		return errors.New("the directories differ")
	case d.Digests:
		return errors.New("operations are equal, stored digests are not (proofsync fsck says which are wrong)")
	}
	return nil
}

func printDifference(t *table, dirs []string, logs [2]*fsck.Log, d fsck.Difference) error {
	sides := [2]fsck.Side{d.A, d.B}
	for i, s := range sides {
		t.row(string(rune('a'+i)), fmt.Sprintf("%s: operations %d to %d, root %s", dirs[i], s.Start, s.Size, s.Root))
	}
	t.rowIf(d.BeforeDiffers, "before", fmt.Sprintf("what lies before location %d is not the same", d.From))
	switch {
	case d.Verdict == fsck.Equal:
		t.row("result", fmt.Sprintf("equal, %d to %d", d.From, d.To))
	case d.Verdict == fsck.Prefix:
		longer := 0
		if d.B.Size > d.A.Size {
			longer = 1
		}
		t.row("result", fmt.Sprintf("equal up to %d; %s has %d operations more", d.To, dirs[longer], sides[longer].Size-d.To))
	case d.Verdict == fsck.Apart:
		t.row("result", "no common operations")
	case d.A.Operation != nil:
		t.row("result", fmt.Sprintf("equal from %d up to location %d, where they differ", d.From, d.Location))
		for i, s := range sides {
			t.row(string(rune('a'+i)), line(fsck.Describe(logs[i].Codec(), s.Operation)))
		}
	default:
		t.row("result", fmt.Sprintf("equal from %d to %d; they differ before", d.From, d.To))
	}
	return t.flush()
}
