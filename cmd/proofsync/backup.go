package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/remote"
)

func newBackup() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "backup DIR OUT",
		Short: "copy a database while it is in use",
		Long: `Make a complete storage directory at OUT with everything that is committed in
the database of DIR. OUT must not exist, or be empty. If a server or client holds
DIR, that process makes the backup, as its user and in its file system, through
` + socketName + `; reading and writing go on meanwhile.

On the file system of DIR the tables are shared by hard links: that takes a
moment and next to no space, but is no protection against the loss of the disk.
Elsewhere they are copied. Until it is complete the backup is named OUT.partial.

OUT opens like any storage directory: inspect and get work on it. Restore checks
all of it.`,
		Example: `  proofsync backup /var/lib/proofsync /var/lib/backups/monday
  proofsync backup ./data /mnt/elsewhere/data && proofsync inspect /mnt/elsewhere/data`,
		Args: exactly("DIR", "OUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := filepath.Abs(args[1])
			if err != nil {
				return err
			}
			m := newMeter(cmd.ErrOrStderr(), "bytes")
			b, err := backup(cmd, args[0], to, func(done, total int64) { m.at("copying", uint64(done), uint64(total)) })
			m.end()
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), b)
			}
			return printBackup(cmd, b)
		},
	}
	out.register(cmd, "the result as one document")
	return cmd
}

// backup has the process that holds the directory make a backup, or makes it.
func backup(cmd *cobra.Command, dir, to string, progress func(done, total int64)) (*document.Backup, error) {
	a := access{dir: dir, timeout: remote.DefaultTimeout}
	var db *database.DB
	s, err := a.orHolder(cmd, func() (err error) {
		codec, err := database.Detect(dir, nil)
		if err == nil {
			db, err = database.Open(dir, database.Options{Codec: codec, ReadOnly: true})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if s != nil {
		b, err := s.Backup(cmd.Context(), to, progress)
		return b, errors.Join(tooOld(s.explain(err), dir), s.stop())
	}
	b, err := backupOf(cmd.Context(), db, to, progress)
	return b, errors.Join(err, db.Close())
}

// tooOld says what to do where the process that holds a directory does not know
// what was asked of its socket.
func tooOld(err error, dir string) error {
	problem, ok := errors.AsType[*document.Problem](err)
	status, other := errors.AsType[*remote.StatusError](err)
	if ok && problem.Status == http.StatusNotFound || other && status.Status == http.StatusNotFound {
		return fmt.Errorf("%w: the process that holds %s is an older version, which makes no backups: start it with this one, or stop it and try again", err, dir)
	}
	return err
}

func backupOf(ctx context.Context, db *database.DB, to string, progress func(done, total int64)) (*document.Backup, error) {
	b, err := db.Backup(ctx, to, progress)
	if err != nil {
		return nil, err
	}
	return &document.Backup{
		Path:  to,
		Head:  document.Head{Root: b.Root.String(), Size: b.Size, Floor: b.Floor, Start: b.Start},
		Epoch: b.Epoch, Files: b.Files.Files, Bytes: b.Files.Bytes, LinkedBytes: b.Files.Linked, Seconds: b.Duration.Seconds(),
	}, nil
}

func printBackup(cmd *cobra.Command, b *document.Backup) error {
	t := newTable(cmd.OutOrStdout())
	t.row("backup", b.Path)
	t.row("size", b.Size)
	t.rowIf(b.Start > 0, "start", b.Start)
	t.row("root", b.Root)
	t.rowIf(b.Epoch > 0, "epoch", b.Epoch)
	how := "all copied"
	if b.LinkedBytes > 0 {
		how = fmt.Sprintf("%s of them shared with the database by hard links", byteSize(uint64(b.LinkedBytes)))
	}
	t.row("disk", fmt.Sprintf("%s in %d files, %s", byteSize(uint64(b.Bytes)), b.Files, how))
	t.row("duration", time.Duration(b.Seconds*float64(time.Second)).Round(time.Millisecond))
	return t.flush()
}
