package sourcetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Codecs of the databases that exist.
var Codecs = []operation.Codec{
	operation.NewCodec(operation.Any, operation.Fixed),
	operation.NewCodec(operation.Any, operation.Variable),
	operation.NewCodec(operation.Immutable, operation.Fixed),
	operation.NewCodec(operation.Immutable, operation.Variable),
}

// Writer opens a fresh database in memory.
func Writer(t testing.TB, c operation.Codec) *database.DB {
	t.Helper()
	return open(t, database.Options{Codec: c, FS: store.MemFS(), CreateIfMissing: true})
}

// Replica opens an empty database in memory.
func Replica(t testing.TB, c operation.Codec) *database.DB {
	t.Helper()
	return open(t, database.Options{Codec: c, FS: store.MemFS()})
}

func open(t testing.TB, o database.Options) *database.DB {
	db, err := database.Open("db", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	return db
}

// Commit applies batches of n writes each; the keys are made of salt and a
// running number, so equal calls on equal databases give equal roots.
func Commit(t testing.TB, db *database.DB, salt uint64, batches, n int) database.Commit {
	t.Helper()
	var last database.Commit
	for b := range batches {
		var batch database.Batch
		for i := range n {
			k := Digest(salt, uint64(b*n+i))
			batch.Writes = append(batch.Writes, database.Write{Key: k, Value: Digest(salt+1, uint64(i))})
		}
		c, err := db.Apply(context.Background(), batch)
		if err != nil {
			t.Fatal(err)
		}
		last = c
	}
	return last
}

// Digest is 32 bytes that depend on a and b only.
func Digest(a, b uint64) []byte {
	var buf [16]byte
	binary.BigEndian.PutUint64(buf[:8], a)
	binary.BigEndian.PutUint64(buf[8:], b)
	d := sha256.Sum256(buf[:])
	return d[:]
}
