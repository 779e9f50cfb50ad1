//go:build unix

package ratio

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

const (
	keys  = 200_000
	cache = 256 << 20 // holds everything: disks are not compared
)

var codec = operation.NewCodec(operation.Any, operation.Fixed)

// pairs are random keys and values of 32 bytes, the same ones for the same seed.
func pairs(seed byte, n int) []database.Write {
	random := rand.NewChaCha8([32]byte{seed})
	buf := make([]byte, 64*n)
	for i := 0; i < len(buf); i += 8 {
		binary.LittleEndian.PutUint64(buf[i:], random.Uint64())
	}
	writes := make([]database.Write, n)
	for i := range writes {
		kv := buf[64*i : 64*i+64]
		writes[i] = database.Write{Key: kv[:32:32], Value: kv[32:]}
	}
	return writes
}

// load writes in batches of so many.
func load(db *database.DB, writes []database.Write, batch int) error {
	for part := range slices.Chunk(writes, batch) {
		if _, err := db.Apply(context.Background(), database.Batch{Writes: part}); err != nil {
			return err
		}
	}
	return nil
}

func open(dir string, writer bool) (*database.DB, error) {
	return database.Open(dir, database.Options{Codec: codec, CreateIfMissing: writer, CacheBytes: cache})
}

// create makes the directory of a database of the given writes. They are one batch,
// so that nothing is left to be merged in the background while something else
// is measured.
func create(dir string, writes []database.Write) error {
	db, err := open(dir, true)
	if err != nil {
		return err
	}
	return errors.Join(load(db, writes, len(writes)), db.Close())
}

// filled is a database of the given writes, and its newest state.
func filled(t *testing.T, writes []database.Write) (*database.DB, *database.View) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "filled")
	if err := create(dir, writes); err != nil {
		t.Fatal(err)
	}
	db, err := open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return db, v
}

// hashing is the floor of what is authenticated: SHA-256 of the same bytes, one
// message after the other. It takes so many turns that the clock is exact.
func hashing(messages [][]byte, turns int) work {
	return func() (cost, error) {
		return measure(turns, func() error {
			for _, m := range messages {
				sink = sha256.Sum256(m)
			}
			return nil
		})
	}
}

// sink keeps the compiler from leaving out what nobody looks at.
var sink [sha256.Size]byte

// engine opens a bare storage engine, with no compression, as ours.
func engine(dir string, c *pebble.Cache) (*pebble.DB, error) {
	o := &pebble.Options{Cache: c, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return pebble.Open(dir, o)
}

// quiet drops what the storage engine says, but for its end.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, _ ...any) { panic(format) }

// scratch is a new folder in dir, of a round that removes it at its end: what one
// test leaves on the disk until it ends should not be several databases.
func scratch(dir string) (string, error) { return os.MkdirTemp(dir, "round-*") }
