//go:build unix

package ratio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/pkg/database"
)

const (
	updates   = 20_000 // keys that a commit gives new values
	bulkBatch = 50_000 // writes of a batch that goes around the engine's log
)

// One durable batch of updates over many keys. Its floor are the two hashes that
// every operation it becomes needs: of the operation with its position, and of a
// node.
func TestCommitKeepsItsDistanceFromHashing(t *testing.T) {
	asked(t)
	writes := pairs(1, keys)
	dir := t.TempDir()
	origin := filepath.Join(dir, "origin")
	if err := create(origin, writes); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var operations int
	// Always on the same state: a copy.
	commit := func() (c cost, err error) {
		path, err := scratch(dir)
		if err != nil {
			return c, err
		}
		defer os.RemoveAll(path)
		if err := os.CopyFS(path, os.DirFS(origin)); err != nil {
			return c, err
		}
		db, err := open(path, true)
		if err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		var batch database.Batch
		values := pairs(3, updates)
		for i, at := range random.Perm(keys)[:updates] {
			batch.Writes = append(batch.Writes, database.Write{Key: writes[at].Key, Value: values[i].Value})
		}
		return measure(1, func() error {
			done, err := db.Apply(context.Background(), batch)
			if operations = done.Operations; err == nil && operations <= updates {
				err = fmt.Errorf("a commit of %d updates became %d operations", updates, operations)
			}
			return err
		})
	}
	if _, err := commit(); err != nil { // tells how many operations there are to hash
		t.Fatal(err)
	}
	var messages [][]byte
	for range operations {
		messages = append(messages, make([]byte, 73), make([]byte, 72))
	}
	compare(t, "a commit, to hashing its operations", bounds{cpu: 30, elapsed: 120}, commit, hashing(messages, 5))
}

// New keys in large batches. Its floor is the storage engine taking in tables of
// the same pairs, once they are sorted.
func TestBulkImportKeepsItsDistanceFromTheEngine(t *testing.T) {
	asked(t)
	writes := pairs(2, keys)
	dir := t.TempDir()
	ours := func() (c cost, err error) {
		path, err := scratch(dir)
		if err != nil {
			return c, err
		}
		defer os.RemoveAll(path)
		db, err := open(path, true)
		if err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		if c, err = measure(1, func() error { return load(db, writes, bulkBatch) }); err != nil {
			return c, err
		}
		v, err := db.View()
		if err != nil {
			return c, err
		}
		defer v.Close()
		if v.Size() < keys {
			err = fmt.Errorf("%d operations after an import of %d", v.Size(), keys)
		}
		return c, err
	}
	floor := func() (c cost, err error) {
		path, err := scratch(dir)
		if err != nil {
			return c, err
		}
		defer os.RemoveAll(path)
		blocks := pebble.NewCache(cache)
		defer blocks.Unref()
		db, err := engine(path, blocks)
		if err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return measure(1, func() error {
			for part := range slices.Chunk(writes, bulkBatch) {
				if err := ingest(db, filepath.Join(path, "in.sst"), part); err != nil {
					return err
				}
			}
			return nil
		})
	}
	compare(t, "a bulk import, to ingestion by the engine", bounds{cpu: 3.6, elapsed: 12}, ours, floor)
}

// ingest sorts pairs, writes them as a table and lets the engine take it in, which
// takes the file away.
func ingest(db *pebble.DB, path string, writes []database.Write) error {
	byKey := slices.SortedFunc(slices.Values(writes), func(a, b database.Write) int { return bytes.Compare(a.Key, b.Key) })
	f, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), sstable.WriterOptions{TableFormat: db.TableFormat(), Compression: sstable.NoCompression})
	for _, p := range byKey {
		if err := w.Set(p.Key, p.Value); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return db.Ingest(context.Background(), []string{path})
}
