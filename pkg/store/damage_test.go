package store

import (
	"bytes"
	"errors"
	"path"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// overwrite puts bytes into the middle half of the tables of g, and returns what undoes it.
func overwrite(t *testing.T, g *Generation) (undo func()) {
	t.Helper()
	// Tables that are being merged are written, and then gone.
	g.HoldMerges(true)
	for g.Metrics().Compact.NumInProgress > 0 {
		time.Sleep(time.Millisecond)
	}
	fs := g.dir.fs
	names, err := fs.List(g.path)
	if err != nil {
		t.Fatal(err)
	}
	var undos []func()
	for _, name := range names {
		if path.Ext(name) != ".sst" {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(g.path, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		from := info.Size() / 4
		if from == 0 { // it was begun and not needed
			continue
		}
		before := make([]byte, 2*from)
		if _, err := f.ReadAt(before, from); err != nil {
			t.Fatal(err)
		}
		put := func(data []byte) {
			if _, err := f.WriteAt(data, from); err != nil {
				t.Fatal(err)
			}
		}
		put(bytes.Repeat([]byte{0xa5}, len(before)))
		undos = append(undos, func() { put(before) })
	}
	if len(undos) == 0 {
		t.Fatal("no tables")
	}
	return func() {
		for _, undo := range undos {
			undo()
		}
	}
}

// Finding out that a block is damaged is dear, so nobody does it twice in a row.
func TestDamageIsLookedAtOnce(t *testing.T) {
	const slots = 64
	for name, read := range map[string]func(g *Generation, slot uint64) error{
		"operations": func(g *Generation, slot uint64) error {
			r := g.Reader()
			defer r.Release()
			_, err := r.Operation(nil, slot*SlotOperations+slot)
			return err
		},
		"operations, one after the other": func(g *Generation, slot uint64) error {
			_, err := g.Operation(nil, slot*SlotOperations)
			return err
		},
		"tiles": func(g *Generation, slot uint64) error {
			r := g.Reader()
			defer r.Release()
			_, err := r.Tile(mmr.TileID{Index: slot})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := flushed(t, fixedIdentity, slots*SlotOperations)
			undo := overwrite(t, g)
			broken := make(map[uint64]error)
			for slot := range uint64(slots) {
				if err := read(g, slot); errors.Is(err, ErrCorrupt) {
					broken[slot] = err
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if len(broken) == 0 || len(broken) == slots {
				t.Fatalf("%d of %d slots are broken", len(broken), slots)
			}
			undo()
			for slot := range uint64(slots) {
				if err := read(g, slot); !errors.Is(err, broken[slot]) {
					t.Errorf("slot %d: %v, then %v", slot, broken[slot], err)
				}
			}
			// Nothing is remembered for long: what was wrong may have been the way to the disk.
			for where, x := range g.damaged.met {
				x.until = time.Now().Add(-time.Second)
				g.damaged.met[where] = x
			}
			for slot := range uint64(slots) {
				if err := read(g, slot); err != nil {
					t.Errorf("slot %d, readable again: %v", slot, err)
				}
			}
			if g.damaged.some.Load() {
				t.Errorf("%d remembered for ever", len(g.damaged.met))
			}
		})
	}
}

func TestDamageThatIsRememberedIsBounded(t *testing.T) {
	var s spots
	for i := range uint64(3 * spotsKept) {
		s.note(slotSpot(i*SlotOperations), corrupt("x", "y"))
	}
	if len(s.met) > spotsKept || s.known(slotSpot(3*spotsKept*SlotOperations-1)) == nil {
		t.Errorf("%d remembered, and not the newest", len(s.met))
	}
	if err := errors.New("unplugged"); s.note(slotSpot(7), err) != err || s.known(spot{tile: true, index: 7}) != nil {
		t.Error("what is no damage is remembered")
	}
}
