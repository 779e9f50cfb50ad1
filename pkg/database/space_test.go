package database

import (
	"errors"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
	"github.com/proofsync/proofsync/pkg/store"
)

// Where there is no room, a write is refused before it has changed anything, and
// the same database takes it later.
func TestAWriteWithoutRoomChangesNothing(t *testing.T) {
	free := uint64(1 << 30)
	guard := space.New(space.Options{
		Floor:   space.Floor{Bytes: 1 << 20},
		Measure: func() (space.Usage, error) { return space.Usage{Free: free, Total: 1 << 40}, nil },
	})
	codec := operation.NewCodec(operation.Any, operation.Variable)
	db, err := Open("db", Options{Codec: codec, FS: store.MemFS(), CreateIfMissing: true, Space: guard})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	first, err := db.Apply(t.Context(), Batch{Writes: []Write{{Key: []byte("a"), Value: []byte("1")}}})
	if err != nil {
		t.Fatal(err)
	}

	free = 1<<20 + 2<<20 // room for the floor and little more
	large := Batch{Writes: []Write{{Key: []byte("b"), Value: make([]byte, 2<<20)}}}
	small := Batch{Writes: []Write{{Key: []byte("a"), Value: []byte("2")}}}
	var low *space.LowError
	if _, err := db.Apply(t.Context(), large); !errors.As(err, &low) {
		t.Errorf("a batch that does not fit: %v", err)
	}
	second, err := db.Apply(t.Context(), small)
	if err != nil || second.Size <= first.Size {
		t.Errorf("one that does: %+v, %v", second, err)
	}
	free = 1<<20 - 1
	for range 2 {
		if _, err := db.Apply(t.Context(), large); !errors.As(err, &low) {
			t.Errorf("below the floor: %v", err)
		}
	}
	if _, err := db.Update(t.Context(), func(*View) (Batch, error) { return large, nil }); !errors.As(err, &low) {
		t.Errorf("update below the floor: %v", err)
	}
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	if e, err := v.Get([]byte("a")); err != nil || string(e.Value) != "2" || v.Root() != second.Root {
		t.Errorf("read below the floor: %q, %v", e.Value, err)
	}
	v.Close()
	free = 1 << 30
	if c, err := db.Apply(t.Context(), large); err != nil || c.Size <= second.Size {
		t.Errorf("with room again: %+v, %v", c, err)
	}
}
