package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/remote"
)

// watchFlags are the flags of watch.
type watchFlags struct {
	at      access
	out     output
	keys    notation
	changes bool
	prefix  string
	from    uint64
	count   uint64
	plain   bool
}

func newWatch() *cobra.Command {
	w := new(watchFlags)
	cmd := &cobra.Command{
		Use:   "watch (--url URL | --storage-dir DIR)",
		Short: "follow new states and changed keys",
		Long: `Follow what a server or client publishes: a line for every new state, and with
--changes one for every key that changed. On a terminal it is a screen that
redraws, with the process's status above. It goes on until it is interrupted, and
by itself after the connection or the process was gone for a while.

With --changes and --from it begins behind a known state, of this size, and tells
first what changed since. A line that begins with "reset" says that a state was
reached from which the way back is not known: what is to be kept in step with the
database has to be read anew then.`,
		Example: `  proofsync watch -u http://127.0.0.1:8082
  proofsync watch -d ./data --changes --prefix user/
  proofsync watch -u http://127.0.0.1:8081 --count 1 --plain
  proofsync watch -u http://replica:8082 --changes --bytes utf8 --output json | jq .data`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			prefix, err := w.keys.parse("--prefix", w.prefix)
			if err != nil {
				return err
			}
			given := cmd.Flags().Changed("prefix")
			if from := cmd.Flags().Changed("from"); !w.changes && (from || given) {
				return usagef("--from and --prefix are about changed keys: --changes expected with them")
			}
			return w.at.with(cmd, watching, func(ctx context.Context, s *session) error {
				o := remote.WatchOptions{Changes: w.changes}
				if cmd.Flags().Changed("from") {
					o.From = &w.from
				}
				if given {
					c, err := s.database(ctx)
					if err != nil {
						return err
					}
					if c.Encoding() == operation.Fixed && !prefix.raw {
						return usagef("--prefix %.80q: keys of the encoding fixed are digests; --hex or --base64 expected", w.prefix)
					}
					o.Prefix = prefix.bytes
				}
				out := cmd.OutOrStdout()
				if isTerminal(out) && !w.plain && !w.out.json {
					return newDashboard(s, out, w.count).run(ctx, o)
				}
				o.OnRetry = func(err error, after time.Duration) {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s; trying again in %s\n", line(err.Error()), after.Round(100*time.Millisecond))
				}
				return w.follow(ctx, s, o, out)
			})
		},
	}
	w.at.register(cmd)
	w.keys.register(cmd, "", "--prefix")
	f := cmd.Flags()
	f.BoolVar(&w.changes, "changes", false, "tell which keys changed")
	f.StringVar(&w.prefix, "prefix", "", "with --changes, keys that begin like this")
	f.Uint64Var(&w.from, "from", 0, "with --changes, begin behind the state of this size; 0: with all keys (the present state)")
	f.Uint64VarP(&w.count, "count", "n", 0, "end after this many states; 0: never")
	f.BoolVar(&w.plain, "plain", false, "a line for every event on a terminal, too")
	w.out.register(cmd, "an event a line, its name as event and its document of the API as data")
	return cmd
}

// follow prints a line for every event.
func (w *watchFlags) follow(ctx context.Context, s *session, o remote.WatchOptions, out io.Writer) error {
	lines, states := jsonLines(out), uint64(0)
	for e, err := range s.Watch(ctx, o) {
		if err != nil {
			return err
		}
		if w.out.json {
			err = encodeEvent(lines, e)
		} else {
			err = printEvent(out, s, e)
		}
		if err != nil {
			return err
		}
		if e.Root != nil {
			if states++; states == w.count {
				return nil
			}
		}
	}
	return nil
}

// encodeEvent writes an event as a line of JSON.
func encodeEvent(lines *json.Encoder, e *remote.Event) error {
	v := struct {
		Event string `json:"event"`
		ID    string `json:"id,omitempty"`
		Data  any    `json:"data"`
	}{e.Name, e.ID, e.Root}
	if e.Changes != nil {
		v.Data = e.Changes
	}
	return lines.Encode(v)
}

// printEvent writes an event as lines for people and their scripts.
func printEvent(out io.Writer, s *session, e *remote.Event) error {
	if r := e.Root; r != nil {
		_, err := fmt.Fprintf(out, "%s %s size=%d root=%s floor=%d\n", e.Name, r.Time.UTC().Format(time.RFC3339Nano), r.Size, line(r.Root), r.Floor)
		return err
	}
	for _, c := range e.Changes.Changes {
		if _, err := fmt.Fprintln(out, changeLine(s, &c)); err != nil {
			return err
		}
	}
	return nil
}

func changeLine(s *session, c *document.Change) string {
	if c.Deleted {
		return fmt.Sprintf("delete location=%d key=%s", c.Location, s.show(c.Key))
	}
	return fmt.Sprintf("put location=%d key=%s value=%s", c.Location, s.show(c.Key), s.showIf(c.Value))
}
