package database

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Whatever part of a directory is damaged so that it cannot be opened: without
// Rebuild that is an error, with it an empty replica, and the damaged files are
// kept for people.
func TestDamageFoundOnOpenIsSetAside(t *testing.T) {
	one := func(t *testing.T, dir, pattern string) string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %q, %v", pattern, names, err)
		}
		return names[0]
	}
	overwrite := func(pattern string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := one(t, dir, pattern)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(strings.Repeat("x", int(info.Size()))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(pattern string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(one(t, dir, pattern)); err != nil {
				t.Fatal(err)
			}
		}
	}
	codec := operation.NewCodec(operation.Any, operation.Fixed)
	for name, harm := range map[string]func(t *testing.T, dir string){
		"a table is overwritten":        overwrite("gen-*/*.sst"),
		"a table is missing":            remove("gen-*/*.sst"),
		"the manifest is overwritten":   overwrite("gen-*/MANIFEST-*"),
		"the manifest is missing":       remove("gen-*/MANIFEST-*"),
		"the generation is missing":     remove("gen-*"),
		"HEAD is overwritten":           overwrite("HEAD"),
		"CURRENT is missing":            remove("CURRENT"),
		"CURRENT has another checksum":  flipLast("CURRENT"),
		"less is there than was synced": rewind,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "db")
			db, err := Open(dir, Options{Codec: codec, CreateIfMissing: true})
			if err != nil {
				t.Fatal(err)
			}
			c, err := db.Apply(t.Context(), Batch{Writes: []Write{{Key: make([]byte, 32), Value: make([]byte, 32)}}})
			if err != nil {
				t.Fatal(err)
			}
			lost := store.Lost{Size: c.Size, Root: c.Root}
			if name == "HEAD is overwritten" { // nothing else says it for sure
				lost = store.Lost{}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			harm(t, dir)
			for range 2 { // an attempt to open changes nothing
				if db, err := Open(dir, Options{Codec: codec}); !errors.Is(err, store.ErrCorrupt) {
					if err == nil {
						db.Close()
					}
					t.Fatalf("open: %v", err)
				}
			}
			db, err = Open(dir, Options{Codec: codec, Rebuild: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.View(); !errors.Is(err, ErrEmpty) {
				t.Errorf("view: %v", err)
			}
			if l, err := db.Lost(); err != nil || l != lost {
				t.Errorf("remembers %+v, %v, want %+v", l, err, lost)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			kept, err := filepath.Glob(filepath.Join(dir, "quarantine", "*"))
			if err != nil || len(kept) != 2 {
				t.Errorf("in quarantine: %q, %v", kept, err)
			}
			// And it is a directory like any other.
			db, err = Open(dir, Options{Codec: codec, CreateIfMissing: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func flipLast(name string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// rewind makes the directory that of an earlier state, but for HEAD.
func rewind(t *testing.T, dir string) {
	codec := operation.NewCodec(operation.Any, operation.Fixed)
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	db, err := Open(dir, Options{Codec: codec, CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "HEAD"), head, 0o600); err != nil {
		t.Fatal(err)
	}
}
