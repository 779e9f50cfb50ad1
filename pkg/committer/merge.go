package committer

import (
	"bytes"
	"errors"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// state is what a group is applied to: a *database.View.
type state interface {
	Codec() operation.Codec
	Root() mmr.Digest
	Size() uint64
	Floor() uint64
	Start() uint64
	Get(key []byte) (database.Entry, error)
}

// merger makes one batch of many. Each batch is decided against the state as
// the batches accepted before it leave it.
type merger struct {
	base      state
	immutable bool
	accepted  int              // batches
	writes    []database.Write // of the accepted batches, in their order
	overlay   map[string]int   // the last of writes[:indexed] for a key
	indexed   int
}

func newMerger(base state) *merger {
	return &merger{base: base, immutable: base.Codec().Family() == operation.Immutable}
}

// verdict on a batch.
type verdict int

const (
	accepted verdict = iota
	refused          // its error is set
	later            // what it asks is known only when the group is committed
)

// found is what a key has before a batch.
type found struct {
	ok      bool
	value   []byte
	loc     uint64
	inGroup bool // written by an earlier batch of the group: there is no location yet
}

func (m *merger) current(key []byte) (found, error) {
	if m.accepted > 0 {
		if m.overlay == nil {
			m.overlay = make(map[string]int)
		}
		for ; m.indexed < len(m.writes); m.indexed++ {
			m.overlay[string(m.writes[m.indexed].Key)] = m.indexed
		}
		if i, ok := m.overlay[string(key)]; ok {
			w := &m.writes[i]
			return found{ok: !w.Delete, value: w.Value, inGroup: true}, nil
		}
	}
	e, err := m.base.Get(key)
	if errors.Is(err, database.ErrKeyNotFound) {
		return found{}, nil
	}
	return found{ok: err == nil, value: e.Value, loc: e.Location}, err
}

// add decides a request and takes its writes over if it is accepted.
func (m *merger) add(r *request) verdict {
	if r.batch.IfRoot != nil && *r.batch.IfRoot != m.base.Root() {
		r.err = &PreconditionError{Condition: IfRoot, Index: -1, Got: Got{State: m.state()}}
		return refused
	}
	for i := range r.batch.Writes {
		w := &r.batch.Writes[i]
		if !w.IfAbsent && w.IfValue == nil && w.IfLocation == nil && !m.immutable {
			continue
		}
		f, err := m.current(w.Key)
		if err != nil {
			r.err = err
			return refused
		}
		if f.inGroup && f.ok && w.IfLocation != nil {
			return later
		}
		if err := m.judge(i, w, f); err != nil {
			r.err, r.inGroup = err, f.inGroup
			return refused
		}
	}
	for i := range r.batch.Writes {
		w := &r.batch.Writes[i]
		m.writes = append(m.writes, database.Write{Key: w.Key, Value: w.Value, Delete: w.Delete})
	}
	m.accepted++
	return accepted
}

// judge says why a write may not follow what its key has; nil: it may.
func (m *merger) judge(i int, w *Write, f found) error {
	var failed Condition
	switch {
	case w.IfAbsent && f.ok:
		failed = IfAbsent
	case w.IfValue != nil && !(f.ok && bytes.Equal(f.value, w.IfValue)):
		failed = IfValue
	case w.IfLocation != nil && !(f.ok && f.loc == *w.IfLocation):
		failed = IfLocation
	case m.immutable && f.ok:
		return &WriteError{i, w.Key, ErrImmutable}
	default:
		return nil
	}
	got := Got{Found: f.ok, Location: f.loc, InGroup: f.inGroup, State: m.state()}
	return &PreconditionError{Condition: failed, Index: i, Key: w.Key, Got: got}
}

func (m *merger) state() State {
	return State{Root: m.base.Root(), Size: m.base.Size(), Floor: m.base.Floor(), Start: m.base.Start()}
}
