package app

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
)

// unhooked is a lifecycle whose hooks the test calls itself.
type unhooked struct{}

func (unhooked) Append(fx.Hook) {}

// The database does not wait for its input for ever, and input that comes later
// does not end the process: it is imported when it is there.
func TestInputThatComesLateIsImportedThen(t *testing.T) {
	cfg := parseServer(t, "--encoding", "variable", "--import", "-")
	synctest.Test(t, func(t *testing.T) {
		var logs logBuffer
		stdin, late := io.Pipe()
		in := newImports(unhooked{}, cfg, stdin, logs.logger())
		began := time.Now()
		if err := in.start(t.Context()); err != nil || time.Since(began) != inputPatience {
			t.Fatalf("start: %v after %s", err, time.Since(began))
		}
		if !strings.Contains(logs.String(), "WARN import is still being checked") {
			t.Errorf("no warning:\n%s", logs.String())
		}
		if _, err := io.WriteString(late, `{"key":"a","value":"1"}`); err != nil {
			t.Fatal(err)
		}
		late.Close()
		db, err := database.Open("db", database.Options{Codec: cfg.Codec(), FS: store.MemFS(), CreateIfMissing: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := in.apply(t.Context(), db); err != nil {
			t.Error(err)
		}
		v, err := db.View()
		if err != nil {
			t.Fatal(err)
		}
		if e, err := v.Get([]byte("a")); err != nil || string(e.Value) != "1" {
			t.Errorf("got %q, %v", e.Value, err)
		}
		v.Close()
		if err := in.stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A database that exists is served while an import is checked: a broken one
// ends the process afterwards.
func TestABrokenImportIntoADatabaseThatExistsFailsInTheBackground(t *testing.T) {
	input := filepath.Join(t.TempDir(), "broken.jsonl")
	if err := os.WriteFile(input, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := parseServer(t, "--import", input)
	db, err := database.Open(string(cfg.StorageDir), database.Options{Codec: cfg.Codec(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), database.Batch{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var logs logBuffer
	if code := run(Server(cfg, nil, logs.logger()), logs.logger(), patience); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	if log := logs.String(); strings.Count(log, " ERROR ") != 1 || !strings.Contains(log, "background task failed") ||
		!strings.Contains(log, "broken.jsonl:1") || !strings.Contains(log, "server listening") {
		t.Errorf("want a server that serves, then one error naming the line:\n%s", log)
	}
}

// After a crash there may be an empty database: it stays so too.
func TestABrokenImportKeepsDemonstrationDataFromBeingWritten(t *testing.T) {
	input := filepath.Join(t.TempDir(), "broken.jsonl")
	if err := os.WriteFile(input, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := parseServer(t, "-i", "10", "--import", input)
	open := func() *database.DB {
		db, err := database.Open(string(cfg.StorageDir), database.Options{Codec: cfg.Codec(), CreateIfMissing: true})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	if err := open().Close(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if code := run(Server(cfg, nil, log), log, patience); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	db := open()
	defer db.Close()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Size() != 1 {
		t.Errorf("%d operations, the first commit alone expected", v.Size())
	}
}
