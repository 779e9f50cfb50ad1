package database

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/store"
)

// backedUp makes a database and a backup of it at /backup.
func backedUp(t *testing.T) (store.FS, Commit) {
	t.Helper()
	fs := store.MemFS()
	db, err := Open("db", Options{Codec: anyFixed, FS: fs, CreateIfMissing: true, Epoch: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer closeDB(t, db)
	fill(t, db, 1, 20_000)
	last := fill(t, db, 2, 10)
	if _, err := db.Backup(context.Background(), "/backup", nil); err != nil {
		t.Fatal(err)
	}
	return fs, last
}

func TestARestoredDirectoryIsTheBackupsAndSharesNothing(t *testing.T) {
	fs, last := backedUp(t)
	checked := ""
	done, err := store.Restore(context.Background(), store.RestoreOptions{
		From: "/backup", To: "/new", FS: fs, Epoch: func(held uint64) uint64 { return held + 1 },
		Check: func(_ context.Context, dir string) error {
			checked = dir
			absent(t, fs, "/new")
			_, root := rootAt(t, fs, dir)
			if root != last.Root {
				t.Errorf("root %s to be checked", root)
			}
			return nil
		},
	})
	if err != nil || checked != "/new.partial" || done.Linked != 0 || done.Files < 4 {
		t.Fatalf("%+v %v, checked at %q", done, err, checked)
	}
	for dir, epoch := range map[string]uint64{"/new": 4, "/backup": 3} {
		db, err := Open(dir, Options{Codec: anyFixed, FS: fs})
		if err != nil || db.Epoch() != epoch {
			t.Fatalf("%s: %v", dir, err)
		}
		v, _ := db.View()
		if v.Root() != last.Root {
			t.Errorf("%s: root %s, want %s", dir, v.Root(), last.Root)
		}
		v.Close()
		fill(t, db, 1, 3)
		closeDB(t, db)
	}
	absent(t, fs, "/new.partial", "/new/making.drop")
}

func TestARestoreThatFailsLeavesNothing(t *testing.T) {
	fs, _ := backedUp(t)
	db, err := Open("/backup", Options{Codec: anyFixed, FS: fs, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	restore := func(o store.RestoreOptions) error {
		o.From, o.FS = "/backup", fs
		if o.To == "" {
			o.To = "/new"
		}
		_, err := store.Restore(context.Background(), o)
		absent(t, fs, "/new", "/new.partial", "/backup/new")
		return err
	}
	var locked *store.LockedError
	if err := restore(store.RestoreOptions{}); !errors.As(err, &locked) {
		t.Errorf("in use: %v", err)
	}
	closeDB(t, db)
	damaged := errors.New("damaged")
	if err := restore(store.RestoreOptions{Check: func(context.Context, string) error { return damaged }}); !errors.Is(err, damaged) {
		t.Errorf("damaged: %v", err)
	}
	var epoch *store.EpochError
	if err := restore(store.RestoreOptions{Epoch: func(uint64) uint64 { return 2 }}); !errors.As(err, &epoch) {
		t.Errorf("epoch: %v", err)
	}
	var target *store.TargetError
	for _, to := range []string{"/backup", "/backup/new", "db"} {
		if err := restore(store.RestoreOptions{To: to}); !errors.As(err, &target) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if err := fs.RemoveAll("/backup/gen-000001"); err != nil {
		t.Fatal(err)
	}
	if err := restore(store.RestoreOptions{}); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "gen-000001") {
		t.Errorf("half a backup: %v", err)
	}
}

func TestARestoreGoesOnWhereAnotherWasInterrupted(t *testing.T) {
	fs, last := backedUp(t)
	if err := fs.MkdirAll("/volume/lost+found", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"/new", "/volume"} {
		end := func(context.Context, string) error { return errors.New("the end") }
		if _, err := store.Restore(context.Background(), store.RestoreOptions{From: "/backup", To: to, FS: noRemove{fs}, Check: end}); err == nil {
			t.Fatal("not interrupted")
		}
		if _, err := store.Restore(context.Background(), store.RestoreOptions{From: "/backup", To: to, FS: fs}); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		if _, root := rootAt(t, fs, to); root != last.Root {
			t.Errorf("%s: root %s", to, root)
		}
	}
}

// noRemove is a file system that keeps what is removed, as if the process had
// ended before.
type noRemove struct{ store.FS }

func (noRemove) RemoveAll(string) error { return nil }
