package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func notesOf(t testing.TB, g *Generation) string {
	t.Helper()
	var b strings.Builder
	err := g.Notes(func(key, value []byte) bool {
		fmt.Fprintf(&b, "%s=%s ", key, value)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func TestNotesTakeEffectWithTheirCommitWhateverWayItTakes(t *testing.T) {
	for name, expect := range map[string]int{"small": 0, "large": bulkOperations} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t, MemFS(), fixedIdentity)
			l := newLog(t, d, fixedIdentity)
			note := func(key string, value []byte) {
				t.Helper()
				if err := l.w.Note([]byte(key), value); err != nil {
					t.Fatal(err)
				}
			}
			note("b", []byte("1"))
			note("a", []byte("2")) // before it is known to be large: taken over
			l.append(3, expect)
			note("b", []byte("3"))
			note("gone", []byte("4"))
			note("gone", nil)
			note("empty", []byte{})
			if got := notesOf(t, l.g); got != "" {
				t.Fatalf("before the commit: %q", got)
			}
			l.commit(true)
			if got, want := notesOf(t, l.g), "a=2 b=3 empty="; got != want {
				t.Fatalf("%q, want %q", got, want)
			}
			note("a", nil)
			note("b", nil)
			note("b", []byte("5"))
			l.append(3, expect)
			l.commit(true)
			if got, want := notesOf(t, l.g), "b=5 empty="; got != want {
				t.Fatalf("%q, want %q", got, want)
			}
			note("a", []byte("never"))
			l.append(3, expect)
			number := l.g.Number()
			l.close()
			g, err := d.OpenGeneration(number)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := notesOf(t, g), "b=5 empty="; got != want {
				t.Fatalf("reopened: %q, want %q", got, want)
			}
			g.Close()
			d.Close()
		})
	}
}

func TestANoteOutOfBoundsStopsTheWriter(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	defer d.Close()
	l := newLog(t, d, fixedIdentity)
	defer l.close()
	if err := l.w.Note(make([]byte, MaxNoteKey), make([]byte, MaxNoteValue)); err != nil {
		t.Fatal(err)
	}
	if err := l.w.Note(bytes.Repeat([]byte{1}, MaxNoteKey+1), nil); err == nil {
		t.Fatal("a key that is too long was taken")
	}
	if err := l.w.Commit(l.s); err == nil {
		t.Fatal("committed after an error")
	}
}
