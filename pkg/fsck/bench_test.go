package fsck_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
)

// BenchmarkCheck checks a million random operations of any/fixed on disk.
func BenchmarkCheck(b *testing.B) {
	c := codecs[0]
	dir := b.TempDir()
	db, err := database.Open(dir, database.Options{Codec: c, CreateIfMissing: true})
	if err != nil {
		b.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 64*20_000)
	for range 50 {
		var batch database.Batch
		for j := 0; j < len(buf); j += 8 {
			binary.LittleEndian.PutUint64(buf[j:], random.Uint64())
		}
		for at := 0; at < len(buf); at += 64 {
			batch.Writes = append(batch.Writes, database.Write{Key: buf[at : at+32], Value: buf[at+32 : at+64]})
		}
		if _, err := db.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	operations := uint64(0)
	for b.Loop() {
		r, err := fsck.Check(b.Context(), dir, fsck.Options{})
		if err != nil || !r.Clean() {
			b.Fatalf("%v\n%s", err, lines(r))
		}
		operations += r.Generations[0].Operations
	}
	b.ReportMetric(float64(operations)/b.Elapsed().Seconds(), "operations/s")
}
