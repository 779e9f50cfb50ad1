package database

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/store"
)

// Note is a small record of the writer's own, kept beside the log: written in
// the same atomic step as a commit, but no part of it. Roots, changes and
// replicas know nothing of notes; they belong to the generation they were
// written in. Of several notes with one key in a batch the last one counts.
type Note struct {
	Key   []byte // 1 to MaxNoteKey bytes
	Value []byte // at most MaxNoteValue bytes; nil deletes the note
}

// Largest note, in bytes.
const (
	MaxNoteKey   = store.MaxNoteKey
	MaxNoteValue = store.MaxNoteValue
)

// ErrNote: a note's key or value has a length that is not allowed.
var ErrNote = errors.New("invalid note")

func checkNotes(notes []Note) error {
	for _, n := range notes {
		switch {
		case len(n.Key) == 0 || len(n.Key) > MaxNoteKey:
			return fmt.Errorf("%w: key of %d bytes, 1 to %d expected", ErrNote, len(n.Key), MaxNoteKey)
		case len(n.Value) > MaxNoteValue:
			return fmt.Errorf("%w: value of %d bytes, at most %d", ErrNote, len(n.Value), MaxNoteValue)
		}
	}
	return nil
}

// Notes calls fn with every note of the generation in use, in bytewise order
// of keys, until fn returns false. The slices are valid during the call only.
// Notes of batches that are applied but not synced yet are among them.
func (d *DB) Notes(fn func(key, value []byte) bool) error {
	d.mu.Lock()
	closed, g := d.closed, d.gen
	if !closed && g != nil {
		g.hold()
	}
	d.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case g == nil:
		return nil
	}
	return errors.Join(g.Notes(fn), g.release())
}

// PutNote sets a note of the generation in use by itself, beside whoever
// writes. The next commit makes it durable: until then a crash may take it
// back. No batch may carry a note with this key. Errors: ErrNote, ErrEmpty,
// ErrClosed, store.ErrReadOnly, or one of the storage.
func (d *DB) PutNote(n Note) error {
	if err := checkNotes([]Note{n}); err != nil {
		return err
	}
	if d.dir.ReadOnly() {
		return store.ErrReadOnly
	}
	g, err := d.holdCurrent()
	if err != nil {
		return err
	}
	return errors.Join(g.PutNote(n.Key, n.Value), g.release())
}
