package fsck_test

import (
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

func TestWhatPruningHasLeftIsNoDamage(t *testing.T) {
	for _, c := range codecs[:2] {
		t.Run(c.String(), func(t *testing.T) {
			fs := store.MemFS()
			write(t, fs, "db", c, 700, 9000, 2000, 3)
			before := check(t, fs, "db").Generations[0]
			prune(t, fs, c, 0, true)
			pending := check(t, fs, "db")
			if !pending.Clean() || pending.Notes == 0 {
				t.Fatalf("%d notes:\n%s", pending.Notes, lines(pending))
			}
			g := pending.Generations[0]
			if g.Root != before.Root || g.Start == 0 || g.LiveKeys != before.LiveKeys {
				t.Fatalf("%+v, before %+v", g, before)
			}
			prune(t, fs, c, 1, false)
			if r := check(t, fs, "db"); !r.Clean() {
				t.Fatalf("after a step:\n%s", lines(r))
			}
			prune(t, fs, c, 100, false)
			done := check(t, fs, "db")
			wantClean(t, done)
			// What is derived of a pruned log is built anew as of any other.
			storetest.Tamper(t, fs, "db/gen-000001", func(r storetest.Record) []storetest.Record {
				if r.Key[0] == inTile {
					return remove(r)
				}
				return nil
			})
			damaged := check(t, fs, "db")
			if damaged.Clean() || !damaged.Repairable() {
				t.Fatalf("tiles are gone:\n%s", lines(damaged))
			}
			after, err := fsck.Repair(t.Context(), "db", fsck.Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			wantClean(t, after)
		})
	}
}

// prune moves the start to the floor, if retain says so, and takes some steps of removing what lies below.
func prune(t *testing.T, fs store.FS, c operation.Codec, steps int, retain bool) {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: c, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if retain {
		v, err := db.View()
		if err != nil {
			t.Fatal(err)
		}
		floor := v.Floor()
		v.Close()
		if _, err := db.Retain(floor); err != nil {
			t.Fatal(err)
		}
	}
	for range steps {
		if _, err := db.PruneStep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
