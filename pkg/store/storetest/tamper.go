package storetest

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/pkg/store"
)

// Record is a raw record of a generation, as docs/format.md describes it. A
// nil value removes it.
type Record struct{ Key, Value []byte }

// Tamper changes records of the generation in path behind the store's back:
// fn gets every one of them in order and returns those to write.
func Tamper(tb testing.TB, fs store.FS, path string, fn func(Record) []Record) {
	tb.Helper()
	db, err := pebble.Open(path, &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatTableFormatV6, ErrorIfNotExists: true, Logger: quiet{}})
	if err != nil {
		tb.Fatal(err)
	}
	it, err := db.NewIter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	b := db.NewBatch()
	for ok := it.First(); ok; ok = it.Next() {
		for _, r := range fn(Record{bytes.Clone(it.Key()), bytes.Clone(it.Value())}) {
			if r.Value == nil {
				err = b.Delete(r.Key, nil)
			} else {
				err = b.Set(r.Key, r.Value, nil)
			}
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
	for _, err := range []error{it.Close(), b.Commit(pebble.Sync), db.Flush(), db.Close()} {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

type quiet struct{}

// Infof implements pebble.Logger.
func (quiet) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (quiet) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger.
func (quiet) Fatalf(format string, _ ...any) { panic(format) }

// ReadFile returns the content of a file of a test's file system.
func ReadFile(tb testing.TB, fs store.FS, path string) []byte {
	tb.Helper()
	f, err := fs.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// WriteFile replaces a file of a test's file system.
func WriteFile(tb testing.TB, fs store.FS, path string, data []byte) {
	tb.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	// Writing may change what it is given (vfs.File); data is the caller's.
	if _, err := f.Write(slices.Clone(data)); err != nil {
		tb.Fatal(err)
	}
}
