package committer

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// fakeState is a state of a few keys in memory.
type fakeState struct {
	codec operation.Codec
	size  uint64
	keys  map[string]database.Entry
}

func (s *fakeState) Codec() operation.Codec { return s.codec }
func (s *fakeState) Root() mmr.Digest       { return mmr.Digest{byte(s.size)} }
func (s *fakeState) Size() uint64           { return s.size }
func (s *fakeState) Floor() uint64          { return 0 }
func (s *fakeState) Start() uint64          { return 0 }

func (s *fakeState) Get(key []byte) (database.Entry, error) {
	e, ok := s.keys[string(key)]
	if !ok {
		return e, database.ErrKeyNotFound
	}
	return e, nil
}

// sequential decides batches one by one, each as if it had a commit of its
// own: what a group has to look like from outside. Locations are left out: a
// key written in a group gets one only with the commit.
func sequential(s *fakeState, b *Batch) error {
	for _, w := range b.Writes {
		old, exists := s.keys[string(w.Key)]
		switch {
		case w.IfAbsent && exists, w.IfValue != nil && (!exists || !bytes.Equal(old.Value, w.IfValue)),
			w.IfLocation != nil && (!exists || old.Location != *w.IfLocation):
			return ErrPrecondition
		case s.codec.Family() == operation.Immutable && exists:
			return ErrImmutable
		}
	}
	for _, w := range b.Writes {
		if w.Delete {
			delete(s.keys, string(w.Key))
		} else {
			s.keys[string(w.Key)] = database.Entry{Value: w.Value, Location: 1 << 40}
		}
	}
	return nil
}

func drawBatch(t *rapid.T, family operation.Family) Batch {
	var b Batch
	for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(0, 4), 0, 3, rapid.ID).Draw(t, "keys") {
		w := Write{Key: []byte{byte(k)}, Value: []byte{byte(rapid.IntRange(0, 2).Draw(t, "value"))}}
		if family == operation.Any && rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
			w.Delete, w.Value = true, nil
		}
		switch rapid.IntRange(0, 5).Draw(t, "condition") {
		case 0:
			w.IfAbsent = true
		case 1, 2:
			w.IfValue = []byte{byte(rapid.IntRange(0, 2).Draw(t, "if_value"))}
		case 3:
			loc := rapid.Uint64Range(0, 5).Draw(t, "if_location")
			w.IfLocation = &loc
		}
		b.Writes = append(b.Writes, w)
	}
	return b
}

func TestAGroupDecidesAsOneBatchAfterTheOtherWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		family := rapid.SampledFrom([]operation.Family{operation.Any, operation.Immutable}).Draw(t, "family")
		base := &fakeState{codec: operation.NewCodec(family, operation.Variable), size: 6, keys: map[string]database.Entry{}}
		for k := range 5 {
			if rapid.Bool().Draw(t, "exists") {
				base.keys[string([]byte{byte(k)})] = database.Entry{Value: []byte{byte(k % 3)}, Location: uint64(k)}
			}
		}
		naive := &fakeState{codec: base.codec, size: base.size, keys: maps.Clone(base.keys)}
		m := newMerger(base)
		for i := range rapid.IntRange(1, 12).Draw(t, "batches") {
			r := &request{batch: drawBatch(t, family)}
			v := m.add(r)
			if v == later {
				reason := false
				for _, w := range r.batch.Writes {
					e := naive.keys[string(w.Key)]
					reason = reason || w.IfLocation != nil && e.Location == 1<<40
				}
				if !reason {
					t.Fatalf("batch %d was put off without need", i)
				}
				break
			}
			want := sequential(naive, &r.batch)
			if !errors.Is(r.err, want) || (v == accepted) != (want == nil) {
				t.Fatalf("batch %d, %+v: verdict %d, error %v, expected %v", i, r.batch, v, r.err, want)
			}
		}
		got := maps.Clone(base.keys)
		for _, w := range m.writes {
			if w.Delete {
				delete(got, string(w.Key))
			} else {
				got[string(w.Key)] = database.Entry{Value: w.Value, Location: 1 << 40}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(naive.keys) {
			t.Fatalf("merged writes lead to %v, one after the other to %v", got, naive.keys)
		}
	})
}

func TestAPreconditionErrorNamesWhatItMet(t *testing.T) {
	s := &fakeState{codec: operation.NewCodec(operation.Any, operation.Variable), size: 9, keys: map[string]database.Entry{"a": {Value: []byte("1"), Location: 3}}}
	m := newMerger(s)
	if v := m.add(&request{batch: Batch{Writes: []Write{{Key: []byte("b"), Value: []byte("2")}}}}); v != accepted {
		t.Fatal(v)
	}
	three, four := uint64(3), uint64(4)
	for _, x := range []struct {
		write Write
		want  string
	}{
		{Write{Key: []byte("a"), IfAbsent: true}, "if_absent of write 0: the key has a value, written at location 3"},
		{Write{Key: []byte("a"), IfValue: []byte("2")}, "if_value of write 0: the key has another value, written at location 3"},
		{Write{Key: []byte("a"), IfLocation: &four}, "if_location of write 0: the key has a value, written at location 3"},
		{Write{Key: []byte("c"), IfLocation: &three}, "if_location of write 0: the key has no value"},
		{Write{Key: []byte("b"), IfAbsent: true}, "if_absent of write 0: the key has a value, written a moment ago"},
	} {
		r := &request{batch: Batch{Writes: []Write{x.write}}}
		if v := m.add(r); v != refused || r.err.Error() != x.want {
			t.Errorf("%+v: verdict %d, %v; want %s", x.write, v, r.err, x.want)
		}
	}
}
