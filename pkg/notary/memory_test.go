package notary

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/internal/durable"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
)

// remembering gives a notary a memory.
func remembering(t *testing.T, path string) func(*fixture, *Options) {
	return func(_ *fixture, o *Options) {
		m, err := OpenMemory(path, logName)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
		o.Memory = m
	}
}

// of makes the notary one of another database.
func of(db *database.DB) func(*fixture, *Options) {
	return func(f *fixture, o *Options) { f.db, o.DB = db, db }
}

// refused waits until the notary has refused to sign, for that reason.
func (f *fixture) refused(r reason) {
	f.t.Helper()
	eventually(f.t, "refused: "+r.String(), func() bool {
		return value(f.m.failures[r]) > 0 && strings.Contains(f.log.String(), "checkpoint not signed: it contradicts")
	})
	if f.Note(1) != nil || value(f.m.signed) != 0 {
		f.t.Errorf("signed: %s", f.Note(1))
	}
	if !strings.Contains(f.log.String(), "--epoch 1") {
		f.t.Errorf("it does not say what to do: %s", f.log.String())
	}
}

func writer(t *testing.T, commits ...uint64) *database.DB {
	db := sourcetest.Writer(t, anyFixed)
	for _, n := range commits {
		sourcetest.Commit(t, db, n, 1, 3)
	}
	return db
}

// signedOnce lets a notary sign a state and end.
func signedOnce(t *testing.T, path string, db *database.DB) {
	t.Helper()
	t.Run("before", func(t *testing.T) {
		f := start(t, of(db), remembering(t, path))
		f.signed(f.writer.public)
	})
}

func TestARestoredWriterSignsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		db   *database.DB
		want reason
	}{
		"shorter":               {writer(t, 1), reasonRollback},
		"other, of one size":    {writer(t, 1, 9), reasonFork},
		"other, and longer":     {writer(t, 1, 9, 10), reasonFork},
		"no commit at the size": {writer(t, 1), reasonFork},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "signed")
			signedOnce(t, path, writer(t, 1, 2))
			if name == "no commit at the size" {
				sourcetest.Commit(t, c.db, 9, 2, 7)
			}
			f := start(t, of(c.db), remembering(t, path))
			f.refused(c.want)
		})
	}
}

func TestAWriterThatGoesOnSigns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signed")
	db := writer(t, 1, 2)
	signedOnce(t, path, db)
	signedOnce(t, path, db)
	sourcetest.Commit(t, db, 3, 1, 3)
	signedOnce(t, path, db)
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if c, err := checkpoint.Peek(kept); err != nil || c.Target.End != v.Size() || c.Target.Root != v.Root() {
		t.Errorf("remembers %+v, %v", c, err)
	}
}

func TestADeclaredEpochIsSigned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signed")
	signedOnce(t, path, writer(t, 1, 2))
	restored := writer(t, 1)
	if err := restored.RaiseEpoch(1); err != nil {
		t.Fatal(err)
	}
	signedOnce(t, path, restored)
	t.Run("and the old one no more", func(t *testing.T) {
		f := start(t, of(writer(t, 1, 2, 3)), remembering(t, path))
		eventually(t, "refused", func() bool { return value(f.m.failures[reasonRollback]) > 0 })
	})
}

func TestWhatCannotBeRememberedIsNotShown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "signed")
	f := start(t, of(writer(t)), remembering(t, path), func(*fixture, *Options) {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	})
	sourcetest.Commit(t, f.db, 1, 1, 3)
	eventually(t, "failed", func() bool { return value(f.m.failures[reasonMemory]) > 0 })
	if f.Note(1) != nil {
		t.Error("shown all the same")
	}
}

func TestAMemoryThatCannotBeUsedIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signed")
	signedOnce(t, path, writer(t, 1))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{"empty": "", "text": "x\n", "cut": string(good[:len(good)/2])} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenMemory(path, logName); err == nil {
			t.Errorf("%s: opened", what)
		} else if e, ok := errors.AsType[*MemoryError](err); !ok || e.Path != path {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMemory(path, "example.org/other"); err == nil || !strings.Contains(err.Error(), "example.org/other") {
		t.Errorf("of another log: %v", err)
	}
	m, err := OpenMemory(path, logName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMemory(path, logName); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second process: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}
