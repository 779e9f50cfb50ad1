package verify_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/verify"
)

// What the API does with a view, done again: the library must not be tested
// with what it is to judge.

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func ok(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func headOf(v *database.View) document.Head {
	return document.Head{Root: v.Root().String(), Size: v.Size(), Floor: v.Floor(), Start: v.Start()}
}

func trustIn(v *database.View) verify.Root {
	return verify.Root{Root: v.Root(), Size: v.Size(), Family: v.Codec().Family().String(), Encoding: v.Codec().Encoding().String()}
}

func proofOf(t fataler, v *database.View, start, end uint64) *document.Proof {
	t.Helper()
	p, err := v.Prove(v.Size(), start, end)
	ok(t, err)
	pins, err := v.Pins(start)
	ok(t, err)
	d := &document.Proof{
		Kind: document.ProofOperation, Family: v.Codec().Family().String(), Encoding: v.Codec().Encoding().String(),
		Root: v.Root().String(), Size: v.Size(), InactivePeaks: p.InactivePeaks, Location: start,
		Operations: []string{}, Digests: []string{}, Pins: []string{},
	}
	for _, x := range p.Digests {
		d.Digests = append(d.Digests, x.String())
	}
	for _, x := range pins {
		d.Pins = append(d.Pins, x.String())
	}
	err = v.Operations(start, end, func(_ uint64, op []byte) bool {
		d.Operations = append(d.Operations, base64.RawURLEncoding.EncodeToString(op))
		return true
	})
	ok(t, err)
	return d
}

func entryOf(t fataler, v *database.View, key []byte, form document.Bytes) *document.Entry {
	t.Helper()
	e, err := v.Get(key)
	ok(t, err)
	text, err := form.Encode(key)
	ok(t, err)
	value, err := form.Encode(e.Value)
	ok(t, err)
	head := headOf(v)
	return &document.Entry{
		Bytes: form, Key: text, Value: &value, Location: e.Location, Head: &head,
		Proof: proofOf(t, v, e.Location, e.Location+1),
	}
}

func operationsOf(t fataler, v *database.View, start, end uint64, form document.Bytes) *document.Operations {
	t.Helper()
	d := &document.Operations{Bytes: form, Head: headOf(v), Operations: []document.Operation{}}
	text := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s, err := form.Encode(b)
		ok(t, err)
		return &s
	}
	err := v.Operations(start, end, func(loc uint64, b []byte) bool {
		op, err := v.Codec().Decode(b)
		ok(t, err)
		o := document.Operation{Location: loc, Kind: op.Kind.String(), Key: text(op.Key), Value: text(op.Value)}
		if op.Kind == operation.Commit {
			floor := op.Floor
			o.Floor, o.Metadata, o.Value = &floor, o.Value, nil
		}
		d.Operations = append(d.Operations, o)
		return true
	})
	ok(t, err)
	d.Proof = proofOf(t, v, start, end)
	return d
}

var codecs = []operation.Codec{
	operation.NewCodec(operation.Any, operation.Fixed),
	operation.NewCodec(operation.Any, operation.Variable),
	operation.NewCodec(operation.Immutable, operation.Fixed),
	operation.NewCodec(operation.Immutable, operation.Variable),
}

// grown returns a view of a database in memory that random batches made, with
// at least this many operations, and a key that is in it.
func grown(t testing.TB, codec operation.Codec, size uint64, seed uint64) (*database.View, []byte) {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: codec, FS: store.MemFS(), CreateIfMissing: true})
	ok(t, err)
	random := rand.New(rand.NewPCG(seed, seed))
	bytesOf := func(i int) []byte {
		if codec.Encoding() == operation.Fixed {
			return fmt.Appendf(nil, "%032d", i)
		}
		return fmt.Appendf(nil, "%0*d", 1+random.IntN(40), i)
	}
	var last []byte
	for n := 0; ; n++ {
		view, err := db.View()
		ok(t, err)
		if view.Size() >= size && last != nil {
			t.Cleanup(func() {
				view.Close()
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			return view, last
		}
		var b database.Batch
		writes := 1 + random.IntN(20)
		for i := range writes {
			key := bytesOf(random.IntN(30))
			if codec.Family() == operation.Immutable {
				key = bytesOf(1000*n + i)
			}
			w := database.Write{Key: key, Value: bytesOf(random.IntN(1 << 20))}
			if codec.Family() == operation.Any && i < writes-1 && random.IntN(4) == 0 {
				w.Value, w.Delete = nil, true
			}
			b.Writes = append(b.Writes, w)
			last = key
		}
		if codec.Family() == operation.Immutable && random.IntN(2) == 0 {
			floor := view.Floor() + random.Uint64N(view.Size()-view.Floor())
			b.Floor = &floor
		}
		if random.IntN(3) == 0 {
			b.Metadata = bytesOf(n)
		}
		view.Close()
		_, err = db.Apply(context.Background(), b)
		ok(t, err)
	}
}
