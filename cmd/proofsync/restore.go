package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

func newRestore() *cobra.Command {
	var (
		out  output
		text string
	)
	cmd := &cobra.Command{
		Use:   "restore BACKUP DIR",
		Short: "make a storage directory of a backup that is checked first",
		Long: `Copy a backup to DIR, which must not exist, or be empty. Everything is checked
before DIR has its name: the root is computed again from all operations, and
what is derived from them is compared. The backup stays as it is.

A writer that comes back from a backup has forgotten the commits made since.
Replicas that hold them report a fork and go on serving what they verified.
--epoch records that this is meant: next is one more than the backup has. The
server shows it in its log, its status and its metrics. Of a replica that went
back nobody needs to know: it fetches what is missing.`,
		Example: `  proofsync restore /var/lib/backups/monday ./data
  proofsync restore --epoch next /mnt/elsewhere/data /var/lib/proofsync`,
		Args: exactly("BACKUP", "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			epoch, err := parseEpoch(text)
			if err != nil {
				return err
			}
			r, err := restore(cmd, args[0], args[1], epoch)
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return r.print(newTable(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringVar(&text, "epoch", "", "epoch of the restored directory: a number, or next for one more than the backup's (the backup's)")
	complete(cmd, "epoch", "next")
	out.register(cmd, "the result as one document")
	return cmd
}

// parseEpoch reads --epoch: what becomes of the epoch that a backup has; nil: nothing.
func parseEpoch(text string) (func(held uint64) uint64, error) {
	switch text {
	case "":
		return nil, nil
	case "next":
		return func(held uint64) uint64 { return held + 1 }, nil
	}
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil || n == 0 {
		return nil, usagef("--epoch %.40q: next, or a number from 1 expected", text)
	}
	return func(uint64) uint64 { return n }, nil
}

// restored is what restore prints.
type restored struct {
	Directory string     `json:"directory"`
	Size      uint64     `json:"size"`
	Start     uint64     `json:"start"`
	Root      mmr.Digest `json:"root"`
	LiveKeys  uint64     `json:"live_keys"`
	Epoch     uint64     `json:"epoch"`
	Bytes     int64      `json:"bytes"`
	Seconds   float64    `json:"seconds"`
}

func restore(cmd *cobra.Command, from, to string, epoch func(uint64) uint64) (*restored, error) {
	began := time.Now()
	m := newMeter(cmd.ErrOrStderr(), "bytes")
	defer m.end()
	r := &restored{Directory: to}
	done, err := store.Restore(cmd.Context(), store.RestoreOptions{
		From: from, To: to,
		Epoch: func(held uint64) uint64 {
			if r.Epoch = held; epoch != nil {
				r.Epoch = epoch(held)
			}
			return r.Epoch
		},
		Progress: func(done, total int64) { m.at("copying", uint64(done), uint64(total)) },
		Check: func(ctx context.Context, dir string) error {
			m.end()
			return r.check(ctx, cmd, from, dir)
		},
	})
	if locked, ok := errors.AsType[*store.LockedError](err); ok && locked.Dir == from {
		return nil, fmt.Errorf("%w; restore takes a backup: proofsync backup %s OUT makes one", locked, from)
	}
	if err != nil {
		return nil, err
	}
	r.Bytes, r.Seconds = done.Bytes, time.Since(began).Seconds()
	return r, nil
}

func (r *restored) print(t *table) error {
	t.row("directory", r.Directory)
	t.row("size", r.Size)
	t.rowIf(r.Start > 0, "start", r.Start)
	t.row("root", r.Root)
	t.row("keys", r.LiveKeys)
	t.rowIf(r.Epoch > 0, "epoch", r.Epoch)
	t.row("disk", byteSize(uint64(r.Bytes)))
	t.row("checked", "everything, from the operations to the root")
	t.row("duration", time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond))
	return t.flush()
}
