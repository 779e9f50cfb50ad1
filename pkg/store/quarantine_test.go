package store

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func names(t *testing.T, fs FS, dir string) []string {
	t.Helper()
	list, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestAQuarantinedGenerationIsKeptAndNeverComesBack(t *testing.T) {
	fs := MemFS()
	identity := Identity{Database: "any/fixed", OpSize: 65}
	if err := mkdirAll(fs, "db/quarantine/gen-000001-20200101T000000Z"); err != nil { // of long ago
		t.Fatal(err)
	}
	for round := range 2 {
		d, err := OpenDir("db", Options{FS: fs, Create: true, Identity: identity})
		if err != nil {
			t.Fatal(err)
		}
		g, err := d.CreateGeneration(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := g.Number()
		if err := errors.Join(d.SetCurrent(n), g.Close()); err != nil {
			t.Fatal(err)
		}
		d.Acknowledge(Head{Generation: n, Size: 7})
		if err := d.Abandon(); err != nil {
			t.Fatal(err)
		}
		path, err := d.Quarantine(n, []byte("why"))
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, fs, "db/quarantine"); len(got) != 2 || "db/quarantine/"+got[0] != path || got[1] != got[0]+".json" {
			t.Errorf("round %d: %q is in quarantine, %s was said", round, got, path)
		}
		// No number is given twice: readers may still know the first one.
		if g, err = d.CreateGeneration(0, nil); err != nil || g.Number() == n {
			t.Fatalf("generation %d after %d, %v", g.Number(), n, err)
		}
		if err := errors.Join(g.Close(), d.Remove(g.Number()), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenDir("db", Options{FS: fs, Identity: identity})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Current() != 0 || d.Head() != (Head{}) {
		t.Errorf("opened again: generation %d, head %+v", d.Current(), d.Head())
	}
	if got := names(t, fs, "db/quarantine"); len(got) != 2 {
		t.Errorf("opening has changed the quarantine: %q", got)
	}
}

func TestADirectoryInUseIsNotSetAside(t *testing.T) {
	fs := MemFS()
	d, err := OpenDir("db", Options{FS: fs, Create: true, Identity: Identity{Database: "any/fixed", OpSize: 65}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var locked *LockedError
	if _, err := QuarantineDir(fs, "db", nil); !errors.As(err, &locked) {
		t.Errorf("set aside: %v", err)
	}
}

func TestWhatOpeningWritesIsKnownBefore(t *testing.T) {
	fs := vfs.NewMem()
	if _, err := OpeningBytes(fs, "db"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no database: %v", err)
	}
	d, err := OpenDir("db", Options{FS: fs, Create: true, Identity: Identity{Database: "any/fixed", OpSize: 65}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := d.CreateGeneration(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.SetCurrent(g.Number()), g.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create("db/gen-000001/000099.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 5<<20)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if n, err := OpeningBytes(fs, "db"); err != nil || n < 6<<20 || n > 7<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 3, TotalBytes: 5, UsedBytes: 2})
	if free, total, err := DiskUsage(fs, "db"); free != 3 || total != 5 || err != nil {
		t.Errorf("%d of %d, %v", free, total, err)
	}
}
