package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/store"
)

func newFsck() *cobra.Command {
	var (
		out    output
		repair bool
	)
	cmd := &cobra.Command{
		Use:   "fsck [--repair] DIR",
		Short: "check that what a storage directory holds is right",
		Long: `Read every operation of a storage directory of a server or a client, compute anew
what follows from them - digests, root, inactivity floor, the key index - and
name each difference from what is stored. Nothing is written.

With --repair, digests and the index are rebuilt where they differ, and
everything is checked again; that may take as much disk space as there is data.
Operations are never changed: where they do not lead to the recorded root, a
backup has to be restored, or a replica has to sync anew.

A directory that a process holds cannot be checked: stop the process, or check a
backup of it. Exit codes: 0 nothing is damaged (any more), 1 something is, or the
check could not be done, 2 for mistakes in arguments. Notes are no damage.`,
		Example: `  proofsync fsck ./data
  proofsync fsck --output json ./data | jq .damages
  proofsync fsck --repair ./data`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			lines := newProgressLines(cmd.ErrOrStderr())
			o := fsck.Options{Progress: lines.show}
			run := fsck.Check
			if repair {
				run = fsck.Repair
			}
			r, err := run(cmd.Context(), args[0], o)
			lines.end()
			if _, ok := errors.AsType[*store.LockedError](err); ok {
				return free(err)
			}
			if r == nil {
				return err
			}
			if perr := printReport(cmd, out, r); perr != nil {
				return errors.Join(err, perr)
			}
			switch {
			case err != nil:
				return err
			case !r.Clean() && r.Repairable() && !repair:
				return fmt.Errorf("%s is damaged (proofsync fsck --repair rebuilds all of it from the operations)", args[0])
			case !r.Clean():
				return fmt.Errorf("%s is damaged", args[0])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "rebuild digests and index from the operations where they differ")
	out.register(cmd, "what was found, as one document")
	return cmd
}

func printReport(cmd *cobra.Command, out output, r *fsck.Report) error {
	w := cmd.OutOrStdout()
	if out.json {
		if r.Findings == nil {
			r.Findings = []fsck.Finding{} // a list, also when it is empty
		}
		return printJSON(w, r)
	}
	t := newTable(w)
	t.row("directory", r.Directory)
	t.rowIf(r.Database != "", "database", r.Database)
	for _, g := range r.Generations {
		use := "in use"
		if !g.InUse {
			use = "in the making"
		}
		t.row("generation", fmt.Sprintf("%d, %s", g.Number, use))
		t.row("range", fmt.Sprintf("%d to %d, stored to %d", g.Start, g.Size, g.Stored))
		t.row("root", fmt.Sprintf("%s, floor %d", g.Root, g.Floor))
		t.row("checked", fmt.Sprintf("%d operations, %d tiles, %d index entries, %d notes", g.Operations, g.Tiles, g.Entries, g.Notes))
		t.row("keys", fmt.Sprintf("%d live, %d deleted", g.LiveKeys, g.Keys-g.LiveKeys))
	}
	for _, what := range r.Repaired {
		t.row("repaired", what)
	}
	t.row("result", result(r))
	if err := t.flush(); err != nil {
		return err
	}
	p := painter(w)
	for _, f := range r.Findings {
		text := line(f.String())
		if f.Severity == fsck.Damage {
			text = p.bad(text)
		}
		fmt.Fprintln(w, text)
	}
	if r.Unlisted > 0 {
		fmt.Fprintf(w, "and %d more\n", r.Unlisted)
	}
	return nil
}

// result says it in a few words.
func result(r *fsck.Report) string {
	if r.Clean() {
		s := "clean"
		if r.Notes > 0 {
			s += fmt.Sprintf(", %s", counted(r.Notes, "note"))
		}
		return fmt.Sprintf("%s, in %s", s, r.Elapsed.Round(time.Millisecond))
	}
	s := counted(r.Damages, "damage")
	if r.AtLeast {
		s = "at least " + s
	}
	if r.Repairable() {
		return s + ", all of which can be rebuilt"
	}
	return s + ", not all of which can be rebuilt: restore a backup, or let a replica sync anew"
}

func counted(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// progressLines shows how far a long task is: on a terminal in one line that
// is written over, elsewhere in a line now and then.
type progressLines struct {
	w    io.Writer
	tty  bool
	last time.Time
	open bool
}

// quietProgress is how often a line is written where nobody looks on.
const quietProgress = 10 * time.Second

func newProgressLines(w io.Writer) *progressLines {
	return &progressLines{w: w, tty: isTerminal(w), last: time.Now()}
}

func (l *progressLines) show(p fsck.Progress) {
	if !l.tty && time.Since(l.last) < quietProgress {
		return
	}
	l.last = time.Now()
	text := fmt.Sprintf("generation %d: %s, %d of %d operations, %.0f a second, %s left",
		p.Generation, p.Task, p.Done, p.Total, p.Rate(), p.Left().Round(time.Second))
	if !l.tty {
		fmt.Fprintln(l.w, text)
		return
	}
	fmt.Fprint(l.w, "\r"+text+clearLine)
	l.open = true
}

// end leaves a terminal as it was.
func (l *progressLines) end() {
	if l.open {
		fmt.Fprint(l.w, "\r"+clearLine)
	}
}
