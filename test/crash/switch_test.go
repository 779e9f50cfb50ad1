package crash

import (
	"context"
	"encoding/binary"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// A generation that CURRENT names, as a power cut would leave CURRENT, is all that
// a restart can rely on: the one that takes its place is named first, durably.
func TestAGenerationIsNotRemovedBeforeAnotherIsInUse(t *testing.T) {
	k := generationSwitch(t)
	replace := func(d *storetest.Disk) error {
		p := newProcess(k, d, -1)
		u, err := newUpstream(k.codec, k.batches, len(k.batches))
		if err != nil {
			return err
		}
		defer u.stop()
		return opened(p, func() error { return p.sync(u, nil) })
	}
	start := func(t *testing.T) *storetest.Disk {
		p, err := k.start()
		if err != nil {
			t.Fatal(err)
		}
		return p.disk
	}
	for name, c := range map[string]struct {
		disk func(t *testing.T) *storetest.Disk
		run  func(*storetest.Disk) error
	}{
		"a sync":                      {start, replace},
		"a sync that was interrupted": {func(t *testing.T) *storetest.Disk { return published(t, start(t), replace) }, reopened(k)},
		"a repair":                    {func(t *testing.T) *storetest.Disk { return spoiled(t, start(t)) }, repaired},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.disk(t)
			before := inUse(t, d)
			removed := 0
			d.Watch(func(o storetest.Op) error {
				if gone, ok := removal(o); ok {
					removed++
					if n := inUse(t, d.Crash(0, 0)); n == gone {
						t.Errorf("%s %s: a power cut would leave a CURRENT that names %s", o.Kind, o.Path, n)
						return o.Error(syscall.EIO)
					}
				}
				return nil
			}, nil)
			if err := c.run(d); err != nil {
				t.Fatal(err)
			}
			d.Watch(nil, nil)
			if after := inUse(t, d); after == before || removed == 0 {
				t.Errorf("%s in use, %s before; %d removals seen", after, before, removed)
			}
		})
	}
}

// removal is the name of the generation that an operation removes: its folder is
// renamed before anything in it goes.
func removal(o storetest.Op) (generation string, ok bool) {
	name, dropped := strings.CutSuffix(path.Base(o.Path), ".drop")
	ok = o.Kind == storetest.Rename && dropped || o.Kind == storetest.Remove && !dropped
	return name, ok && path.Dir(o.Path) == dir && strings.HasPrefix(name, "gen-")
}

var generationLine = regexp.MustCompile(`(?m)^generation (\d+)$`)

// inUse is the name of the generation that CURRENT names.
func inUse(t *testing.T, d *storetest.Disk) string {
	t.Helper()
	text := storetest.ReadFile(t, d.Unwatched(), dir+"/CURRENT")
	m := generationLine.FindSubmatch(text)
	if m == nil {
		t.Fatalf("CURRENT is %q", text)
	}
	return fmt.Sprintf("gen-%06s", m[1])
}

// published is the disk as a power cut leaves it when a new generation is complete
// and CURRENT is about to name it.
func published(t *testing.T, d *storetest.Disk, run func(*storetest.Disk) error) (cut *storetest.Disk) {
	t.Helper()
	d.Watch(func(o storetest.Op) error {
		if o.Kind == storetest.Create && o.Path == dir+"/CURRENT.tmp" {
			cut = d.Crash(100, 0)
		}
		return nil
	}, nil)
	if err := run(d); err != nil || cut == nil {
		t.Fatalf("CURRENT was not replaced, %v", err)
	}
	return cut
}

// reopened opens and closes the storage directory.
func reopened(k *kind) func(*storetest.Disk) error {
	return func(d *storetest.Disk) error {
		return opened(newProcess(k, d, -1), func() error { return nil })
	}
}

// spoiled has more wrong index entries than a repair mends one by one.
func spoiled(t *testing.T, d *storetest.Disk) *storetest.Disk {
	t.Helper()
	const index = 0x04 // docs/format.md section 3
	done := false
	storetest.Tamper(t, d.FS(), dir+"/"+inUse(t, d), func(r storetest.Record) (wrong []storetest.Record) {
		if done || r.Key[0] != index {
			return nil
		}
		done = true
		for i := range uint32(10_001) {
			key := slices.Clone(r.Key)
			binary.BigEndian.PutUint32(key[1:], i)
			wrong = append(wrong, storetest.Record{Key: key, Value: r.Value})
		}
		return wrong
	})
	return d
}

func repaired(d *storetest.Disk) error {
	r, err := fsck.Repair(context.Background(), dir, fsck.Options{FS: d.FS(), Workers: 1})
	if err == nil && !r.Clean() {
		err = fmt.Errorf("%v", r.Findings)
	}
	return err
}
