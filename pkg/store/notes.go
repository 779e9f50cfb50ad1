package store

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Largest note, in bytes.
const (
	MaxNoteKey   = 1 << 10
	MaxNoteValue = 4 << 10
)

func noteKey(key []byte) []byte { return append([]byte{spaceNote}, key...) }

// Note sets a record beside the log, or deletes it if value is nil. It takes
// effect with the next Commit.
func (w *Writer) Note(key, value []byte) error {
	switch {
	case w.err != nil:
	case len(key) > MaxNoteKey || len(value) > MaxNoteValue:
		w.err = fmt.Errorf("note with a key of %d and a value of %d bytes", len(key), len(value))
	case w.bulk != nil:
		w.bulk.note(noteKey(key), value, value == nil)
	case value == nil:
		w.err = w.batch.Delete(noteKey(key), nil)
	default:
		w.err = w.batch.Set(noteKey(key), value, nil)
	}
	return w.err
}

// PutNote sets a record beside the log on its own. It is atomic; the next
// commit makes it durable. A Writer must not write a note with the same key.
func (g *Generation) PutNote(key, value []byte) error {
	if len(key) > MaxNoteKey || len(value) > MaxNoteValue {
		return fmt.Errorf("note with a key of %d and a value of %d bytes", len(key), len(value))
	}
	return classify("write note to "+g.path, g.db.Set(noteKey(key), value, pebble.NoSync))
}

// noteRecord is a note of a bulk commit.
type noteRecord struct {
	key, value []byte
	remove     bool
}

// note keeps a note for the end of a bulk commit. key includes its space.
func (b *bulk) note(key, value []byte, remove bool) {
	b.notes = append(b.notes, noteRecord{bytes.Clone(key), bytes.Clone(value), remove})
	b.noteBytes += len(key) + len(value)
}

// writeNotes writes the notes of a bulk commit as a table; of several with
// one key the last one counts.
func (b *bulk) writeNotes() error {
	if len(b.notes) == 0 {
		return nil
	}
	slices.SortStableFunc(b.notes, func(x, y noteRecord) int { return bytes.Compare(x.key, y.key) })
	t, err := b.newTable()
	if err != nil {
		return err
	}
	for i, n := range b.notes {
		if i+1 < len(b.notes) && bytes.Equal(b.notes[i+1].key, n.key) {
			continue
		}
		if n.remove {
			err = t.delete(n.key)
		} else {
			err = t.set(n.key, n.value)
		}
		if err != nil {
			return err
		}
	}
	return t.close()
}

// Notes calls fn with every note in bytewise order of keys until fn returns
// false. The slices are valid during the call only.
func (g *Generation) Notes(fn func(key, value []byte) bool) error {
	it, err := g.db.NewIter(within(spaceNote))
	if err != nil {
		return classify("read notes", err)
	}
	defer closeIterator(it)
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return classify("read notes", err)
		}
		if !fn(it.Key()[1:], value) {
			return nil
		}
	}
	return classify("read notes", it.Error())
}
