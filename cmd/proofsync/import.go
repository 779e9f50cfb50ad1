package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/mmr"
)

func newImport() *cobra.Command {
	var (
		dir, format, floor string
		batch              int
		out                output
		codec              codecFlags
		logs               logging
	)
	cmd := &cobra.Command{
		Use:   "import --storage-dir DIR PATH...",
		Short: "load JSON Lines, CSV or a directory tree into a database",
		Long: `Load files into the database in a storage directory, which is made if it does
not exist.

JSON Lines have an object a line, {"key":"…","value":"…"} or {"key":"…","delete":true};
key_base64 and value_base64 take bytes that are not text. CSV has a header with
the same names. A directory's files are keys by their relative path, their
contents the values. "-" is standard input; a name ending in .gz is decompressed.

The encoding variable stores keys and values as they are. The encoding fixed
stores their SHA-256, but base64 fields of exactly 32 bytes as they are.

All input is checked before anything is written or made, and importing it again
changes nothing. The storage directory must not be in use by a server.`,
		Example: `  proofsync import -d ./data people.jsonl prices.csv
  proofsync import -d ./docs --encoding variable /usr/share/doc/git
  zcat log.jsonl.gz | proofsync import -d ./data -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("argument PATH is missing (see %s --help)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := requireStorage(dir); err != nil {
				return err
			}
			if batch < 1 {
				return usagef("--batch-size %d: at least 1 expected", batch)
			}
			policy, err := database.ParseFloorPolicy(floor)
			if err != nil {
				return usagef("%s: %w", origin(cmd, "floor-policy"), err)
			}
			log, err := logs.logger(cmd)
			if err != nil {
				return err
			}
			o := importer.Options{
				Paths: paths, Stdin: cmd.InOrStdin(), Format: format, BatchSize: batch, FloorPolicy: policy, Logger: log,
			}
			if err := o.Validate(); err != nil {
				return &usageError{err}
			}
			if slices.Contains(paths, "-") {
				o.Stdin = interruptible(cmd.Context(), o.Stdin)
			}
			c, exists, err := codec.resolve(cmd, dir)
			if err != nil {
				return err
			}
			t := importTarget{dir: dir, exists: exists, options: database.Options{Codec: c, CreateIfMissing: true, Logger: log}}
			return t.load(cmd.Context(), o, func(db *database.DB, r importer.Result) error {
				return printImport(cmd, db, r, out.json)
			})
		},
	}
	storageFlag(cmd, &dir)
	codec.register(cmd)
	cmd.Flags().StringVar(&format, "format", "", "format of all files: jsonl or csv (by the file's name; jsonl for standard input)")
	cmd.Flags().IntVarP(&batch, "batch-size", "b", importer.DefaultBatchSize, "most writes in one commit")
	cmd.Flags().StringVar(&floor, "floor-policy", "keep", "inactivity floor of an immutable database: keep or retain:N")
	out.register(cmd, "the result as one document")
	complete(cmd, "format", "jsonl", "csv")
	complete(cmd, "floor-policy", "keep", "retain:")
	fromEnvironment(cmd, "floor-policy")
	logs.register(cmd, "warn")
	return cmd
}

// importTarget is the database to import into.
type importTarget struct {
	dir     string
	exists  bool
	options database.Options
}

// load imports, and calls report with the open database. Of a directory in use
// or made for something else one hears before the input is read; a database that
// does not exist yet is made only for an input that has been found good, so that
// a broken one does not settle the family and encoding of the directory.
func (t importTarget) load(ctx context.Context, o importer.Options, report func(*database.DB, importer.Result) error) (err error) {
	var db *database.DB
	defer func() {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if t.exists {
		if db, err = database.Open(t.dir, t.options); err != nil {
			return err
		}
	}
	prepared, err := importer.Prepare(ctx, t.options.Codec, o)
	if err != nil {
		return err
	}
	defer prepared.Close()
	if !t.exists {
		if db, err = database.Open(t.dir, t.options); err != nil {
			return err
		}
	}
	result, err := prepared.Apply(ctx, db)
	if err != nil {
		if result.Batches > 0 {
			err = fmt.Errorf("%w (%d whole batches were committed before)", err, result.Batches)
		}
		return err
	}
	return report(db, result)
}

// interruptible lets a read from r end with the context. A read from a pipe or
// a terminal cannot be called off, so the task that does it ends with its input
// or with the process.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	return out
}

// importReport is what import prints as JSON.
type importReport struct {
	importer.Result
	Seconds float64    `json:"seconds"`
	Size    uint64     `json:"size"`
	Root    mmr.Digest `json:"root"`
}

func printImport(cmd *cobra.Command, db *database.DB, r importer.Result, asJSON bool) error {
	v, err := db.View()
	if err != nil {
		return err
	}
	defer v.Close()
	if asJSON {
		return printJSON(cmd.OutOrStdout(), importReport{r, r.Duration.Seconds(), v.Size(), v.Root()})
	}
	t := newTable(cmd.OutOrStdout())
	t.row("records", r.Records)
	t.row("written", r.Written)
	t.row("deleted", r.Deleted)
	t.row("unchanged", r.Unchanged)
	t.rowIf(r.Absent > 0, "absent", fmt.Sprintf("%d (to be deleted, but not there)", r.Absent))
	t.rowIf(r.Conflicts > 0, "conflicts", fmt.Sprintf("%d (immutable keys with another value, left alone)", r.Conflicts))
	t.rowIf(r.Duplicates > 0, "duplicates", fmt.Sprintf("%d (repeated in the input)", r.Duplicates))
	t.rowIf(r.Skipped > 0, "skipped", fmt.Sprintf("%d (links and special files)", r.Skipped))
	t.row("commits", r.Batches)
	t.row("duration", r.Duration.Round(time.Millisecond))
	t.row("size", v.Size())
	t.row("root", v.Root())
	return t.flush()
}
