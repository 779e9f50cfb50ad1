package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/store"
)

// check looks at everything in dir, which is a copy of the backup from, and notes
// what it holds.
func (r *restored) check(ctx context.Context, cmd *cobra.Command, from, dir string) error {
	m := newMeter(cmd.ErrOrStderr(), "operations")
	defer m.end()
	report, err := fsck.Check(ctx, dir, fsck.Options{Progress: func(p fsck.Progress) { m.at(string(p.Task), p.Done, p.Total) }})
	if err != nil {
		return err
	}
	if !report.Clean() {
		return &store.CorruptError{Where: "backup " + from, Err: damageOf(report, dir, from)}
	}
	for _, g := range report.Generations {
		if g.InUse {
			r.Size, r.Start, r.Root, r.LiveKeys = g.Size, g.Start, g.Root, g.LiveKeys
		}
	}
	return nil
}

// damageOf is the first damage, and how much more there is. The copy that was
// checked will be gone; what is wrong with it is wrong with the backup.
func damageOf(report *fsck.Report, dir, from string) error {
	more := ""
	if report.Damages > 1 {
		more = fmt.Sprintf(", and %d more", report.Damages-1)
	}
	for _, f := range report.Findings {
		if f.Severity == fsck.Damage {
			return fmt.Errorf("%s%s (proofsync fsck %s lists all; restore another backup)", strings.ReplaceAll(f.String(), dir, from), more, from)
		}
	}
	return fmt.Errorf("%d damages", report.Damages)
}
