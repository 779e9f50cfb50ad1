package crash

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
)

var (
	anyFixed          = operation.NewCodec(operation.Any, operation.Fixed)
	anyVariable       = operation.NewCodec(operation.Any, operation.Variable)
	immutableVariable = operation.NewCodec(operation.Immutable, operation.Variable)
)

// state is the log after one of its commits.
type state struct {
	size uint64
	root mmr.Digest
	live map[string]string // every key and its value
}

// ledger is every state a log goes through, told from its operations alone.
type ledger struct {
	states []state
	index  map[mmr.Digest]int
}

// newLedger reads the log of a database that has all of it.
func newLedger(t testing.TB, db *database.DB) *ledger {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	l := &ledger{index: map[mmr.Digest]int{}}
	live := map[string]string{}
	err = v.Operations(0, v.Size(), func(loc uint64, b []byte) bool {
		op, err := db.Codec().Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		switch op.Kind {
		case operation.Delete:
			delete(live, string(op.Key))
		case operation.Commit:
			root, err := v.RootAt(loc + 1)
			if err != nil {
				t.Fatal(err)
			}
			l.index[root] = len(l.states)
			l.states = append(l.states, state{loc + 1, root, maps.Clone(live)})
		default:
			live[string(op.Key)] = string(op.Value)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *ledger) last() int { return len(l.states) - 1 }

// noteKey is the key of a note that counts the batches.
var noteKey = []byte("batches")

// batches are the batches of a log: n writes each to some of so many keys, some of them
// deletions, and a note of how many batches there were.
func batches(c operation.Codec, seed uint64, keys int, sizes ...int) []database.Batch {
	rng := rand.New(rand.NewPCG(seed, 0))
	var all []database.Batch
	for i, n := range sizes {
		b := database.Batch{Notes: []database.Note{{Key: noteKey, Value: binary.BigEndian.AppendUint64(nil, uint64(i)+1)}}}
		for j := range n {
			w := database.Write{Key: sourcetest.Digest(seed, uint64(rng.IntN(keys))), Value: sourcetest.Digest(uint64(i), uint64(j))}
			if c.Encoding() == operation.Variable {
				w.Value = slices.Repeat(w.Value, rng.IntN(20))
			}
			if c.Family() == operation.Any {
				w.Delete = rng.IntN(8) == 0
			} else {
				w.Key = sourcetest.Digest(seed+uint64(i)<<32, uint64(j)) // written once
			}
			b.Writes = append(b.Writes, w)
		}
		all = append(all, b)
	}
	return all
}

// repeat is n, so many times.
func repeat(n, times int) []int { return slices.Repeat([]int{n}, times) }

// applyFrom applies the batches that a database does not have yet, as its note
// says, so many together.
func applyFrom(db *database.DB, all []database.Batch, to, together int) error {
	done, err := applied(db)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(all[min(done, to, len(all)):min(to, len(all))], together) {
		if _, err := db.ApplyAll(context.Background(), part); err != nil {
			return err
		}
	}
	return nil
}

// applied is how many batches a database has, as its note says.
func applied(db *database.DB) (n int, err error) {
	e := db.Notes(func(key, value []byte) bool {
		if string(key) != string(noteKey) || len(value) != 8 {
			err = fmt.Errorf("note %q is %x", key, value)
			return false
		}
		n = int(binary.BigEndian.Uint64(value))
		return true
	})
	if e != nil {
		return 0, e
	}
	return n, err
}
