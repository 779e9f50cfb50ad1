package importer_test

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

var (
	anyFixed          = operation.NewCodec(operation.Any, operation.Fixed)
	anyVariable       = operation.NewCodec(operation.Any, operation.Variable)
	immutableFixed    = operation.NewCodec(operation.Immutable, operation.Fixed)
	immutableVariable = operation.NewCodec(operation.Immutable, operation.Variable)
)

type fataler interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}

func open(t fataler, c operation.Codec) *database.DB {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: c, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return db
}

func size(t fataler, db *database.DB) uint64 {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return v.Size()
}

func content(t fataler, db *database.DB) map[string]string {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	m := map[string]string{}
	err = v.Scan(nil, nil, func(key []byte, e database.Entry) bool {
		m[string(key)] = string(e.Value)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, db *database.DB, o importer.Options) importer.Result {
	t.Helper()
	o.TempDir = t.TempDir()
	r, err := importer.Run(context.Background(), db, o)
	if err != nil {
		t.Fatal(err)
	}
	sum := r.Written + r.Deleted + r.Unchanged + r.Absent + r.Conflicts + r.Duplicates
	if sum != r.Records {
		t.Errorf("the counts of %+v do not add up to its records", r)
	}
	left, err := os.ReadDir(o.TempDir)
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v %v", left, err)
	}
	return r
}

func digest(s string) string {
	d := sha256.Sum256([]byte(s))
	return string(d[:])
}
