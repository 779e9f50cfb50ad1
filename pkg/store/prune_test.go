package store

import (
	"encoding/binary"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// keyOfTest is what a caller knows of the operations of testOp.
func keyOfTest(id Identity) func(op []byte) ([]byte, bool, error) {
	return func(op []byte) ([]byte, bool, error) {
		return testKey(id, binary.BigEndian.Uint64(op)), true, nil
	}
}

// pinsAt are the pinned nodes of a location, hashed from the operations.
func (l *log) pinsAt(loc uint64) []mmr.Digest {
	var ops list
	for i := range loc {
		ops = append(ops, testOp(l.id, i))
	}
	span := mmr.HashSpan(0, ops)
	var pins []mmr.Digest
	for _, p := range mmr.Peaks(loc) {
		d, ok := span.Digest(p)
		if !ok {
			l.t.Fatalf("no digest of %v", p)
		}
		pins = append(pins, d)
	}
	return pins
}

// retain moves the start to loc, as far as the floor is concerned at any time.
func (l *log) retain(loc uint64) {
	l.t.Helper()
	if err := l.g.Retain(loc, l.pinsAt(loc)); err != nil {
		l.t.Fatal(err)
	}
	l.s.Start = loc
}

// records are all records apart from those of the state space.
func records(t *testing.T, g *Generation) map[string]string {
	t.Helper()
	it, err := g.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	all := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		if k := it.Key(); k[0] != spaceState {
			all[string(k)] = string(it.Value())
		}
	}
	return all
}

// below says whether a record is about locations below start only.
func below(key []byte, start uint64) bool {
	last := binary.BigEndian.Uint64(key[len(key)-8:])
	switch key[0] {
	case spaceBundle:
		return last < start
	case spaceTile:
		return (mmr.TileID{Level: key[1], Index: last}).End() <= start
	default:
		return ^last < start
	}
}

func TestPruningLeavesExactlyWhatIsRetained(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			fs := MemFS()
			d := openDir(t, fs, id)
			l := newLog(t, d, id)
			l.append(70_000, bulkOperations) // tiles of two levels
			l.s.Floor = 69_000
			l.commit(true)
			before := records(t, l.g)
			for _, start := range []uint64{256, 4096, 5120, 65_536, 68_864} {
				l.retain(start)
				if !maps.Equal(records(t, l.g), before) {
					t.Fatalf("retaining from %d deleted something", start)
				}
				steps := 0
				for l.g.Unpruned() < start {
					from := l.g.Unpruned()
					next, err := l.g.PruneStep(start, keyOfTest(id))
					if err != nil || next <= from || next-from > pruneOperations+SlotOperations {
						t.Fatalf("step from %d to %d: %v", from, next, err)
					}
					if steps++; steps%8 == 0 { // goes on after a clean stop
						l.close()
						d.Close()
						d = openDir(t, fs, id)
						g, err := d.OpenGeneration(1)
						if err != nil {
							t.Fatal(err)
						}
						l = continueLog(t, g, id)
						if l.s.Start != start || g.Unpruned() != next {
							t.Fatalf("opened again: start %d, unpruned %d; want %d, %d", l.s.Start, g.Unpruned(), start, next)
						}
					}
				}
				maps.DeleteFunc(before, func(key, _ string) bool { return below([]byte(key), start) })
				if got := records(t, l.g); !maps.Equal(got, before) {
					t.Fatalf("pruned up to %d: %d records, want %d", start, len(got), len(before))
				}
			}
			// The log goes on, and its edge is what it would be.
			l.append(300, 0)
			l.commit(true)
			root := l.f.Root(0)
			l.close()
			g, err := d.OpenGeneration(1)
			if err != nil {
				t.Fatal(err)
			}
			l = continueLog(t, g, id)
			if l.s.Start != 68_864 || l.f.Root(0) != root {
				t.Fatalf("after pruning and a commit: %+v, root %s, want %s", l.s, l.f.Root(0), root)
			}
			l.close()
			d.Close()
		})
	}
}

func TestWhatIsAboveTheFloorCannotBePruned(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	l := newLog(t, d, fixedIdentity)
	l.append(2000, 0)
	l.s.Floor = 1030
	l.commit(true)
	for _, bad := range []uint64{1280, 1000} { // above the floor; not a multiple of 256
		if err := l.g.Retain(bad, l.pinsAt(bad)); err == nil {
			t.Errorf("retained from %d", bad)
		}
	}
	l.retain(1024)
	if err := l.g.Retain(512, l.pinsAt(512)); err == nil {
		t.Error("the start went back")
	}
	if _, err := l.g.PruneStep(1280, keyOfTest(fixedIdentity)); err == nil {
		t.Error("pruned what is retained")
	}
	// A commit does not take the start back, whatever the writer believes.
	l.s.Start = 0
	l.append(1, 0)
	l.commit(true)
	if s := l.g.State(); s.Start != 1024 || s.Size != 2001 {
		t.Errorf("after a commit: %+v", s)
	}
	l.close()
	g, err := d.OpenGeneration(1)
	if err != nil {
		t.Fatal(err)
	}
	if s := g.State(); s.Start != 1024 || g.Unpruned() != 0 {
		t.Errorf("opened again: %+v, unpruned %d", s, g.Unpruned())
	}
	g.Close()
	d.Close()
}

// A step of pruning has no lock that a commit needs: while it reads what it is to
// delete, commits are made, as many as there are.
func TestCommitsAreNotDelayedByAStepOfPruning(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	l.append(8192, 0)
	l.s.Floor = 8000
	l.commit(true)
	l.retain(4096)
	inStep, committed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(committed)
		<-inStep
		for range 20 {
			l.append(10, 0)
			l.commit(true)
		}
	}()
	keyOf, first := keyOfTest(fixedIdentity), true
	next, err := l.g.PruneStep(4096, func(op []byte) ([]byte, bool, error) {
		if first {
			first = false
			close(inStep)
			select {
			case <-committed:
			case <-time.After(20 * time.Second):
				return nil, false, errors.New("commits wait for a step to end")
			}
		}
		return keyOf(op)
	})
	if err != nil || next == 0 {
		t.Fatalf("step to %d: %v", next, err)
	}
	<-committed
	if s := l.g.State(); s.Stored != 8192+200 {
		t.Errorf("after the commits: %+v", s)
	}
	l.close()
}
