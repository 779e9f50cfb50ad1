package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/store"
)

// printRaw shows encoded operations as they lie on disk.
func (l *logFlags) printRaw(cmd *cobra.Command, args []string) (err error) {
	dir := l.at.dir
	if len(args) > 0 {
		dir = args[0]
	}
	switch f := cmd.Flags(); {
	case dir == "":
		return usagef("--raw shows a directory: give one")
	case len(args) > 0 && f.Changed("storage-dir"), f.Changed("url"):
		return usagef("--raw shows one directory")
	case l.commits || f.Changed("output"):
		return usagef("--raw has a form of its own: no --commits, no --output")
	}
	log, err := fsck.OpenLog(dir, fsck.Options{})
	if err != nil {
		return free(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	start, end := log.Start(), log.Size()
	if cmd.Flags().Changed("start") {
		if l.start < start || l.start > end {
			return fmt.Errorf("--start %d: the directory holds operations %d to %d", l.start, start, end)
		}
		start = l.start
	}
	if cmd.Flags().Changed("limit") && l.limit > 0 {
		end = min(end, start+l.limit)
	}
	w := bufio.NewWriter(cmd.OutOrStdout())
	fmt.Fprintf(w, "# database %s\n# start %d\n# size %d\n# floor %d\n# root %s\n", log.Codec(), log.Start(), log.Size(), log.Floor(), log.Root())
	for _, pin := range log.Pins() {
		fmt.Fprintf(w, "# pin %s\n", pin)
	}
	var buf []byte
	err = log.Operations(start, end, func(loc uint64, op []byte) error {
		buf = append(strconv.AppendUint(buf[:0], loc, 10), ' ')
		buf = append(hex.AppendEncode(buf, op), '\n')
		if _, err := w.Write(buf); err != nil {
			return err
		}
		return cmd.Context().Err()
	})
	return errors.Join(err, w.Flush())
}

// free says what to do about a directory that somebody holds.
func free(err error) error {
	if locked, ok := errors.AsType[*store.LockedError](err); ok {
		return fmt.Errorf("%w (stop it, or take a backup of it and use that)", locked)
	}
	return err
}
