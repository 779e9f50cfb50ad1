package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
)

func newCompare() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "compare --storage-dir DIR FILE",
		Short: "compare observed roots with those of a replica",
		Long: `Compare what "proofsync observe" wrote to FILE with a storage directory that is
at least as new: at each observed size, the directory's root must be the observed
one. Roots are compared by their first 48 bits, which is what metrics hold.`,
		Example: `  proofsync observe --out seen.json client-0:9091 client-1:9091
  client --once --storage-dir ./fresh
  proofsync compare --storage-dir ./fresh seen.json`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return usagef("--storage-dir is missing")
			}
			return compare(dir, args[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&dir, "storage-dir", "d", "", "storage directory to compare with")
	return cmd
}

func compare(dir, file string, w io.Writer) (err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var seen []observation
	if err := json.Unmarshal(data, &seen); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
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
