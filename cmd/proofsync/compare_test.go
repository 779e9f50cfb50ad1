package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// imported is a new directory with the lines imported one after the other.
func imported(t *testing.T, lines ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	for _, line := range lines {
		file := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(file, []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := execute(t, "import", "-d", dir, file); code != 0 {
			t.Fatal(errs)
		}
	}
	return dir
}

// observed is what observe writes about a directory as its process's metrics tell it.
func observed(t *testing.T, dir string) (file string) {
	t.Helper()
	db, err := database.Open(dir, database.Options{Codec: operation.NewCodec(operation.Any, operation.Fixed)})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(db.Collector())
	server := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	file = filepath.Join(t.TempDir(), "seen.json")
	code, _, errs := execute(t, "observe", "--out", file, strings.TrimPrefix(server.URL, "http://"))
	server.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Fatal(errs)
	}
	return file
}

func TestCompare(t *testing.T) {
	const a, b, c = `{"key":"a","value":"1"}`, `{"key":"b","value":"2"}`, `{"key":"b","value":"3"}`
	seen := observed(t, imported(t, a, b))
	for _, tc := range []struct {
		name, dir string
		code      int
		want      string
	}{
		{"the same log", imported(t, a, b), 0, "1 roots equal ours"},
		{"a newer one", imported(t, a, b, c), 0, "1 roots equal ours"},
		{"another one of the same size", imported(t, a, c), 1, "1 of 1 roots differ"},
		{"an older one", imported(t, a), 1, "our log"},
		{"none", filepath.Join(t.TempDir(), "missing"), 1, "missing"},
	} {
		code, out, errs := execute(t, "compare", "--storage-dir", tc.dir, seen)
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit code %d, %s%s", tc.name, code, out, errs)
		}
	}
}

func TestObserveSaysWhoDoesNotAnswer(t *testing.T) {
	for args, want := range map[string]string{
		"observe":                             "HOST:PORT is missing",
		"observe here":                        `"here": host:port expected`,
		"observe 127.0.0.1:1":                 "127.0.0.1:1",
		"compare x.json":                      "--storage-dir is missing",
		"compare -d " + os.TempDir() + " nil": "nil",
	} {
		if code, _, errs := execute(t, strings.Fields(args)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %s", args, code, errs)
		}
	}
}

// answering is the HTTP API of a directory.
func answering(t *testing.T, dir string) (url string) {
	t.Helper()
	db, err := database.Open(dir, database.Options{Codec: operation.NewCodec(operation.Any, operation.Fixed)})
	if err != nil {
		t.Fatal(err)
	}
	a := api.New(api.Options{DB: db})
	server := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := errors.Join(a.Shutdown(context.Background()), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return server.URL
}

func TestCompareReads(t *testing.T) {
	const a, b, c = `{"key":"a","value":"1"}`, `{"key":"b","value":"2"}`, `{"key":"b","value":"3"}`
	ours := imported(t, a, b)
	for _, tc := range []struct {
		name, dir, url string
		code           int
		want           string
	}{
		{"the same log", ours, answering(t, imported(t, a, b)), 0, "has our value, proven under our root"},
		{"a newer one, at our size", ours, answering(t, imported(t, a, b, c)), 0, "has our value, proven under our root"},
		{"another one of the same size", ours, answering(t, imported(t, a, c)), 1, "not proven"},
		{"an older one", ours, answering(t, imported(t, a)), 1, "beyond"},
		{"nobody there", ours, "http://127.0.0.1:1", 1, "127.0.0.1:1"},
		{"no address", ours, "nowhere", 2, "http://host:port"},
	} {
		code, out, errs := execute(t, "compare", "--storage-dir", tc.dir, "--wait", "50ms", "--read", tc.url)
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit code %d, %s%s", tc.name, code, out, errs)
		}
	}
}
