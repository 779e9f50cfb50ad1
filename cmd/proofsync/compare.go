package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
)

func newCompare() *cobra.Command {
	var (
		dir    string
		reads  []string
		wait   time.Duration
		secure certificates
	)
	cmd := &cobra.Command{
		Use:   "compare --storage-dir DIR [--read URL]... [FILE]",
		Short: "compare observed roots with those of a replica",
		Long: `Compare what "proofsync observe" wrote to FILE with a storage directory that is
at least as new: at each observed size, the directory's root must be the observed
one. Roots are compared by their first 48 bits, which is what metrics hold.

With --read, read a key of the directory from the HTTP API at URL too, at the
directory's size: the answer must be proven under the directory's root, and have
the directory's value.`,
		Example: `  proofsync observe --out seen.json client-0:9091 client-1:9091
  client --once --storage-dir ./fresh
  proofsync compare --storage-dir ./fresh seen.json
  proofsync compare --storage-dir ./fresh --read http://client-0:8082 --wait 10s`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(reads) > 0 {
				return nil
			}
			return exactly("FILE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return usagef("--storage-dir is missing")
			}
			var seen []observation
			if len(args) > 0 {
				var err error
				if seen, err = readObservations(args[0]); err != nil {
					return err
				}
			}
			return withReplica(dir, func(view *database.View) error {
				if len(args) > 0 {
					if err := compare(view, seen, cmd.OutOrStdout()); err != nil {
						return err
					}
				}
				return compareReads(cmd, &secure, view, reads, wait)
			})
		},
	}
	cmd.Flags().StringVarP(&dir, "storage-dir", "d", "", "storage directory to compare with")
	secure.register(cmd)
	cmd.Flags().StringArrayVar(&reads, "read", nil, "HTTP API of a server or client to read a key from; repeat it for others")
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "most time for what --read names to answer and to be as new as the directory")
	return cmd
}

// readObservations is what observe wrote to a file.
func readObservations(file string) (seen []observation, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &seen); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return seen, nil
}

// withReplica calls fn with the newest state of a storage directory.
func withReplica(dir string, fn func(*database.View) error) (err error) {
	codec, err := database.Detect(dir, nil)
	if err != nil {
		return err
	}
	db, err := database.Open(dir, database.Options{Codec: codec, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	view, err := db.View()
	if err != nil {
		return err
	}
	defer view.Close()
	return fn(view)
}

func compare(view *database.View, seen []observation, w io.Writer) error {
	different := 0
	for _, o := range seen {
		root, err := view.RootAt(o.Size)
		if err != nil {
			return fmt.Errorf("%s has %d operations, our log %d to %d: %w", o.Target, o.Size, view.Start(), view.Size(), err)
		}
		verdict := "equal"
		if binary.BigEndian.Uint64(root[:8])>>16 != o.RootPrefix {
			verdict = "DIFFERENT"
			different++
		}
		fmt.Fprintf(w, "%s at %d operations: %s (our root %s)\n", o.Target, o.Size, verdict, root)
	}
	if different > 0 {
		return fmt.Errorf("%d of %d roots differ", different, len(seen))
	}
	fmt.Fprintf(w, "%d roots equal ours\n", len(seen))
	return nil
}
