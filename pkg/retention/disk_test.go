package retention

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// tables are what the disk is measured by. Logs are left out: the storage engine
// keeps some for later, whatever is in them.
const tables = ".sst"

// What is pruned is space on the disk again, once its tables are merged.
func TestTheDiskShrinksByWhatIsPruned(t *testing.T) {
	dir := t.TempDir()
	db, err := database.Open(dir, database.Options{Codec: operation.NewCodec(operation.Any, operation.Fixed), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const keys = 16 << 10 // so that a commit of them goes around the log, into tables
	for n := range uint64(3) {
		var b database.Batch
		for i := range uint64(keys) {
			key, value := make([]byte, 32), make([]byte, 32)
			binary.BigEndian.PutUint64(key, i*0x9e3779b97f4a7c15)
			binary.BigEndian.PutUint64(value, n)
			b.Writes = append(b.Writes, database.Write{Key: key, Value: value})
		}
		if _, err := db.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	size, floor := v.Size(), v.Floor()
	v.Close()
	before := used(t, dir, tables)
	if least := int64(64 * size); before < least {
		t.Fatalf("%d bytes of tables hold %d operations, at least %d expected", before, size, least)
	}
	p, err := ParsePolicy("1")
	if err != nil {
		t.Fatal(err)
	}
	if err := New(db, Options{Policy: p}).Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Tidy(); err != nil { // as the loop asks for where it is worth it
		t.Fatal(err)
	}
	// Half of what was pruned, at least: what is retained has tables of its own.
	want := before - before/2*int64(floor)/int64(size)
	after := before
	for end := time.Now().Add(90 * time.Second); after > want; time.Sleep(20 * time.Millisecond) {
		if after = used(t, dir, tables); after > want && time.Now().After(end) {
			t.Fatalf("%d of %d operations are pruned, and of %d bytes of tables %d are left", floor, size, before, after)
		}
	}
	t.Logf("%d of %d operations pruned: %d bytes of tables became %d", floor, size, before, after)
}
