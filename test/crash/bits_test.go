package crash

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// A log whose end does not read looks like one whose end was never written.
// What was acknowledged until a second ago is in HEAD, and missing then.
func TestAFlippedBitInTheLogDoesNotSilentlyDropAcknowledgedCommits(t *testing.T) {
	k := commits(anyFixed)(t)
	var disk *storetest.Disk
	const acked = 12
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(k, storetest.NewDisk(), -1)
		if err := p.open(); err != nil {
			t.Fatal(err)
		}
		if err := applyFrom(p.db.Load(), k.batches, acked, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // of the test's own clock: HEAD is written every second
		synctest.Wait()
		disk = p.disk.Crash(100, 0)
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
	})
	logs := 0
	generation := dir + "/gen-000001"
	names, err := disk.FS().List(generation)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	counts := map[string]int{}
	for _, name := range names {
		file := generation + "/" + name
		info, err := disk.FS().Stat(file)
		if err != nil || !strings.HasSuffix(name, ".log") || info.Size() == 0 {
			continue
		}
		logs++
		step := max(1, info.Size()/30)
		if everything {
			step = 7
		}
		for at := int64(0); at < info.Size(); at += step {
			broken := disk.Crash(100, 0)
			if err := broken.Flip(file, at, uint(at%8)); err != nil {
				t.Fatal(err)
			}
			outcome, err := k.flipped(broken, acked)
			if err != nil {
				t.Errorf("bit %d of byte %d of %d of %s: %v", at%8, at, info.Size(), name, err)
			}
			counts[outcome]++
		}
	}
	t.Logf("%d logs: %v", logs, counts)
	if logs == 0 || counts["refused"] == 0 {
		t.Error("no log was damaged")
	}
}

// flipped opens a disk with a flipped bit: everything is there, or it is corrupt.
func (k *kind) flipped(disk *storetest.Disk, acked int) (string, error) {
	p := newProcess(k, disk, acked)
	err := p.open()
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return "refused", nil
	case err != nil:
		return "", fmt.Errorf("an error that does not say that the data is damaged: %w", err)
	}
	if err := errors.Join(k.shows(p, acked), p.close()); err != nil {
		return "", fmt.Errorf("opens, and shows something else: %w", err)
	}
	return "harmless", nil
}
