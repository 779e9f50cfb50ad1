package durable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// content is what a record says after a restart; "" is nothing.
func content(t *testing.T, fsys vfs.FS) string {
	t.Helper()
	r, err := OpenRecord(fsys, "d/record", 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return string(r.Data())
}

// TestPowerCutLeavesTheOldOrTheNew cuts the power before every operation of the
// file system, where any part of what was not synced may have come to the disk.
func TestPowerCutLeavesTheOldOrTheNew(t *testing.T) {
	for _, before := range []string{"", "old"} {
		disk := vfs.NewCrashableMem()
		if err := errors.Join(disk.MkdirAll("d", 0o755), SyncDir(disk, "")); err != nil {
			t.Fatal(err)
		}
		if before != "" {
			if err := Replace(disk, "d/record", []byte(before)); err != nil {
				t.Fatal(err)
			}
		}
		var cuts []*vfs.MemFS
		r, err := OpenRecord(errorfs.Wrap(disk, errorfs.InjectorFunc(func(errorfs.Op) error {
			for seed := range uint64(8) {
				cuts = append(cuts, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 0))}))
			}
			return nil
		})), "d/record", 100)
		if err != nil {
			t.Fatal(err)
		}
		cuts = nil
		if err := r.Keep([]byte("new")); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]int)
		for _, after := range cuts {
			seen[content(t, after)]++
		}
		if len(seen) > 2 || seen[before] == 0 || seen[before]+seen["new"] != len(cuts) {
			t.Errorf("before %q: found %v", before, seen)
		}
		if got := content(t, disk.CrashClone(vfs.CrashCloneCfg{})); got != "new" {
			t.Errorf("before %q: %q after it was kept", before, got)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFailureLeavesTheOldOrTheNew lets every operation fail in turn.
func TestFailureLeavesTheOldOrTheNew(t *testing.T) {
	failed := errors.New("the disk fails")
	for n := 0; ; n++ {
		disk := vfs.NewCrashableMem()
		if err := errors.Join(disk.MkdirAll("d", 0o755), SyncDir(disk, ""), Replace(disk, "d/record", []byte("old"))); err != nil {
			t.Fatal(err)
		}
		left := -1
		r, err := OpenRecord(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if left--; left == -1 {
					return failed
				}
			}
			return nil
		})), "d/record", 100)
		if err != nil {
			t.Fatal(err)
		}
		left = n
		err = r.Keep([]byte("new"))
		done := left >= 0
		left = -2
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if done {
			if n < 4 || err != nil {
				t.Errorf("after %d operations: %v", n, err)
			}
			return
		}
		if !errors.Is(err, failed) || string(r.Data()) != "old" {
			t.Errorf("operation %d failed: %v, says %q", n, err, r.Data())
		}
		if got := content(t, disk.CrashClone(vfs.CrashCloneCfg{})); got != "old" && got != "new" {
			t.Errorf("operation %d failed: found %q", n, got)
		}
	}
}

func TestRecordBelongsToOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	r, err := OpenRecord(nil, path, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRecord(nil, path, 100); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := r.Keep([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenRecord(nil, path, 100); err != nil || string(r.Data()) != "x" {
		t.Fatalf("after it was given free: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecordThatIsNoneIsAnError(t *testing.T) {
	for want, size := range map[error]int{ErrEmpty: 0, ErrTooLong: 101} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "record")
			if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the lock is given back
				if _, err := OpenRecord(nil, path, 100); !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			}
			r, err := OpenRecord(nil, path+"2", 100)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if r.Keep(make([]byte, size)) == nil {
				t.Error("kept")
			}
		})
	}
}
