package database

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/wire"
)

func codecNamed(t testing.TB, name string) operation.Codec {
	t.Helper()
	for _, c := range codecs {
		if c.String() == name {
			return c
		}
	}
	t.Fatalf("no codec %q", name)
	return operation.Codec{}
}

func writesOf(ws []vectors.Write) []Write {
	out := make([]Write, len(ws))
	for i, w := range ws {
		out[i] = Write{Key: w.Key, Value: w.Value, Delete: w.Delete}
	}
	return out
}

// The published roots, made by the real database.
func TestPublishedRoots(t *testing.T) {
	for _, tc := range []struct {
		name    string
		codec   operation.Codec
		batches func(uint64) [][]vectors.Write
	}{
		{"qmdb::conformance::tests::AnyMmrUnorderedFixedConf", operation.NewCodec(operation.Any, operation.Fixed), vectors.KeyedBatches},
		{"qmdb::conformance::tests::AnyMmrUnorderedVariableConf", operation.NewCodec(operation.Any, operation.Variable).WithWidths(32, 32), vectors.KeyedBatches},
		{"qmdb::conformance::tests::ImmutableMmrFixedConf", operation.NewCodec(operation.Immutable, operation.Fixed), vectors.ImmutableBatches},
		{"qmdb::conformance::tests::ImmutableMmrVariableConf", operation.NewCodec(operation.Immutable, operation.Variable).WithWidths(32, 32), vectors.ImmutableBatches},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			vectors.Published(t, tc.name).Check(t, func(dst []byte, seed uint64) []byte {
				db, err := Open("db", Options{Codec: tc.codec, FS: store.MemFS(), CreateIfMissing: true, CacheBytes: 4 << 20})
				if err != nil {
					t.Error(err)
					return dst
				}
				defer db.Close()
				var all []Batch
				for _, b := range tc.batches(seed) {
					all = append(all, Batch{Writes: writesOf(b)})
				}
				last, err := db.ApplyAll(context.Background(), all)
				if err != nil {
					t.Error(err)
					return dst
				}
				return append(dst, last.Root[:]...)
			})
		})
	}
}

// replay applies the batches of a workload to a real database and compares
// every answer; it returns the database and its roots.
func replay(t *testing.T, w *vectors.Workload) (*DB, map[uint64]mmr.Digest) {
	db, err := Open("db", Options{Codec: codecNamed(t, w.Codec()), FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	roots := map[uint64]mmr.Digest{}
	expect := func(s vectors.State, what string, size, floor uint64, root mmr.Digest, count int) {
		t.Helper()
		want := s.Root
		if s.OpsRoot != nil {
			want = *s.OpsRoot
		}
		if size != s.Size || floor != s.Floor || root != mmr.Digest(want) || count != s.OpCount {
			t.Fatalf("%s: size %d floor %d root %s operations %d; recorded %d %d %x %d", what, size, floor, root, count, s.Size, s.Floor, want, s.OpCount)
		}
		roots[size] = root
		if s.Ops == nil {
			return
		}
		v, _ := db.View()
		defer v.Close()
		err := v.Operations(size-uint64(count), size, func(loc uint64, op []byte) bool {
			if i := int(loc) - int(size) + count; !bytes.Equal(op, s.Ops[i]) {
				t.Fatalf("%s: operation %d is %x, recorded %x", what, i, op, s.Ops[i])
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	v, _ := db.View()
	expect(w.Initial, "initial", v.Size(), v.Floor(), v.Root(), 1)
	v.Close()
	for i, c := range w.Commits {
		got, err := db.Apply(context.Background(), Batch{Writes: writesOf(c.Writes()), Metadata: c.Metadata(), Floor: c.FloorGiven})
		if c.Refused != "" {
			if !errors.Is(err, ErrFloor) {
				t.Fatalf("commit %d: %v, recorded as refused: %s", i, err, c.Refused)
			}
			continue
		}
		if err != nil {
			t.Fatalf("commit %d: %v", i, err)
		}
		expect(c.State, "commit", got.Size, got.Floor, got.Root, got.Operations)
		if c.RangeProofs != nil {
			checkProofs(t, db, roots, c.RangeProofs)
		}
	}
	return db, roots
}

func checkProofs(t *testing.T, db *DB, roots map[uint64]mmr.Digest, rp *vectors.RangeProofs) {
	t.Helper()
	v, _ := db.View()
	defer v.Close()
	for _, p := range rp.Proofs {
		if got, err := v.RootAt(p.Size); err != nil || got != mmr.Digest(p.Root) {
			t.Fatalf("root at %d: %s %v", p.Size, got, err)
		}
		proof, err := v.Prove(p.Size, p.Start, p.Start+p.OpCount)
		if err != nil {
			t.Fatal(err)
		}
		if got := wire.AppendProof(nil, proof); !bytes.Equal(got, p.Proof) {
			t.Fatalf("proof of [%d, +%d) at %d differs", p.Start, p.OpCount, p.Size)
		}
		pins, err := v.Pins(p.Start)
		if err != nil || len(pins) != len(p.PinnedNodes) {
			t.Fatalf("%d pins: %v", len(pins), err)
		}
		for i := range pins {
			if pins[i] != mmr.Digest(p.PinnedNodes[i]) {
				t.Fatalf("pin %d of %d differs", i, p.Start)
			}
		}
	}
}

func TestRecordedBatchesGiveTheRecordedDatabases(t *testing.T) {
	commits, proofs := 0, 0
	all := vectors.Workloads(t)
	for _, w := range vectors.ProofWorkloads(t) {
		if w.DB == "any_unordered_fixed" || w.DB == "any_unordered_variable" || w.DB == "immutable_fixed" || w.DB == "immutable_variable" {
			all = append(all, w)
		}
	}
	for _, w := range all {
		commits += len(w.Commits)
		for _, c := range w.Commits {
			if c.RangeProofs != nil {
				proofs += len(c.RangeProofs.Proofs)
			}
		}
		t.Run(w.File+"/"+w.Name, func(t *testing.T) {
			db, _ := replay(t, w)
			closeDB(t, db)
		})
	}
	t.Logf("%d workloads, %d commits, %d proofs", len(all), commits, proofs)
	if len(all) != 28 || commits != 274 || proofs != 98 {
		t.Fatalf("%d commits, %d proofs: vectors are missing", commits, proofs)
	}
}
