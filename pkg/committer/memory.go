package committer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
)

// record is an idempotency key that is remembered. On disk it is a note of
// the commit it names, so that both are there or neither is. A note is
// written with its commit, before size and root of that are known; it says
// where the commit's operations begin, from which the rest is read when it
// is asked for.
type record struct {
	key         string
	fingerprint [32]byte
	time        time.Time
	base        uint64  // size before the commit
	result      *Result // nil: see Committer.replay
}

// notePrefix keeps the keys of notes apart from those of others.
const notePrefix = "idempotency/"

// A note's value: version, time in nanoseconds since 1970, base, fingerprint.
const (
	noteVersion = 1
	noteSize    = 1 + 8 + 8 + 32
)

func (r *record) note() database.Note {
	v := make([]byte, 0, noteSize)
	v = append(v, noteVersion)
	v = binary.BigEndian.AppendUint64(v, uint64(r.time.UnixNano()))
	v = binary.BigEndian.AppendUint64(v, r.base)
	v = append(v, r.fingerprint[:]...)
	return database.Note{Key: []byte(notePrefix + r.key), Value: v}
}

func parseNote(key, v []byte) (*record, error) {
	if len(v) != noteSize || v[0] != noteVersion {
		return nil, &store.CorruptError{Where: fmt.Sprintf("note %q", key), Err: errors.New("not of a form known here")}
	}
	return &record{
		key:         string(key),
		time:        time.Unix(0, int64(binary.BigEndian.Uint64(v[1:]))),
		base:        binary.BigEndian.Uint64(v[9:]),
		fingerprint: [32]byte(v[17:]),
	}, nil
}

// notesOf are the notes of a commit: what is forgotten goes first, since its
// key may be among the new ones.
func notesOf(dropped, added []*record) []database.Note {
	notes := make([]database.Note, 0, len(dropped)+len(added))
	for _, r := range dropped {
		notes = append(notes, database.Note{Key: []byte(notePrefix + r.key)})
	}
	for _, r := range added {
		notes = append(notes, r.note())
	}
	return notes
}

// memory knows the idempotency keys of the batches that were committed lately
// and of those in work.
type memory struct {
	remember time.Duration
	most     int

	mu       sync.Mutex
	known    map[string]*record
	order    []*record // by time; one that known does not hold was replaced
	inFlight map[string]*request
}

func loadMemory(db *database.DB, remember time.Duration, most int) (*memory, error) {
	m := &memory{remember: remember, most: most, known: make(map[string]*record), inFlight: make(map[string]*request)}
	var bad error
	now := time.Now()
	err := db.Notes(func(key, value []byte) bool {
		name, ours := bytes.CutPrefix(key, []byte(notePrefix))
		if !ours {
			return true
		}
		var r *record
		if r, bad = parseNote(name, value); bad != nil {
			return false
		}
		if r.time.After(now) { // the clock was set back: it would be kept for too long
			r.time = now
		}
		m.known[r.key] = r
		m.order = append(m.order, r)
		return true
	})
	slices.SortFunc(m.order, func(a, b *record) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.base, b.base))
	})
	return m, errors.Join(err, bad)
}

// begin looks an idempotency key up: known is the record of a commit, other
// the request with the same key that is in work. If there is neither, r is
// from now on the one in work, until end.
func (m *memory) begin(r *request, now time.Time) (known *record, other *request, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key, mark := r.batch.IdempotencyKey, r.batch.Fingerprint
	if other := m.inFlight[key]; other != nil {
		if other.batch.Fingerprint != mark {
			return nil, nil, &ReusedError{key}
		}
		return nil, other, nil
	}
	if known := m.known[key]; known != nil && now.Sub(known.time) < m.remember {
		if known.fingerprint != mark {
			return nil, nil, &ReusedError{key}
		}
		return known, nil, nil
	}
	m.inFlight[key] = r
	return nil, nil, nil
}

// end says that a request is no longer in work.
func (m *memory) end(r *request) {
	key := r.batch.IdempotencyKey
	if key == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inFlight[key] == r {
		delete(m.inFlight, key)
	}
}

// dropAtOnce is how many forgotten keys a commit removes beside as many as it
// adds, so that a pause does not make the next commit a large one.
const dropAtOnce = 64

// toDrop chooses what a commit that adds some keys removes: keys whose time is
// over, and the oldest above the bound. commit has to be told.
func (m *memory) toDrop(adding int, now time.Time) []*record {
	m.mu.Lock()
	defer m.mu.Unlock()
	var dropped []*record
	tooMany := len(m.known) + adding - m.most
	for _, r := range m.order {
		if len(dropped) >= dropAtOnce+2*adding || len(dropped) >= tooMany && now.Sub(r.time) < m.remember {
			break
		}
		if m.known[r.key] == r {
			dropped = append(dropped, r)
		}
	}
	return dropped
}

// commit makes known what was made durable.
func (m *memory) commit(dropped, added []*record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range dropped {
		delete(m.known, r.key)
	}
	for _, r := range added {
		m.known[r.key] = r
	}
	m.order = append(m.order, added...)
	for len(m.order) > 0 && m.known[m.order[0].key] != m.order[0] {
		m.order[0] = nil
		m.order = m.order[1:]
	}
}

// replay is the answer that the commit of a record got.
func (c *Committer) replay(r *record) (Result, error) {
	if r.result != nil {
		res := *r.result
		res.Replayed = true
		return res, nil
	}
	v, err := c.db.View()
	if err != nil {
		return Result{}, err
	}
	defer v.Close()
	size, err := v.NextCommit(r.base, math.MaxUint64)
	if err != nil {
		return Result{}, err
	}
	if size == 0 {
		return Result{}, &store.CorruptError{Where: c.db.Path(), Err: fmt.Errorf("a note names a commit after %d, there is none", r.base)}
	}
	at, err := v.At(size)
	if err != nil {
		return Result{}, err
	}
	defer at.Close()
	return Result{
		Commit:   database.Commit{Size: size, Floor: at.Floor(), Root: at.Root(), Operations: int(size - r.base)},
		Location: size - 1, Replayed: true,
	}, nil
}
