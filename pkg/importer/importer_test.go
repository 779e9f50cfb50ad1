package importer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/operation"
)

func TestFieldsAreStoredAsTheEncodingSays(t *testing.T) {
	raw := strings.Repeat("\xff\x00", 16)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	lines := strings.Join([]string{
		`{"key":"text","value":"vä\u006c\ud83d\ude00\n\/"}`,
		`{"key_base64":"` + b64(raw) + `","value_base64":"` + b64(raw) + `"}`,
		`{"key_base64":"` + b64("\xfe") + `","value_base64":""}`,
		` { "value" : "", "key" : "" , "delete" : false } `,
		`{"key":"` + strings.Repeat("k", 32) + `","value":"` + strings.Repeat("v", 32) + `"}`,
	}, "\r\n")
	plain := map[string]string{
		"text": "väl😀\n/", raw: raw, "\xfe": "", "": "",
		strings.Repeat("k", 32): strings.Repeat("v", 32),
	}
	hashed := map[string]string{}
	for k, v := range plain {
		if k == raw { // 32 bytes of base64 go in as they are, 32 of text do not
			hashed[k] = v
			continue
		}
		hashed[digest(k)] = digest(v)
	}
	for c, want := range map[operation.Codec]map[string]string{
		anyFixed: hashed, immutableFixed: hashed, anyVariable: plain, immutableVariable: plain,
	} {
		db := open(t, c)
		r := run(t, db, importer.Options{Paths: []string{write(t, "x.jsonl", "\ufeff"+lines)}})
		if got := content(t, db); !maps.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", c, got, want)
		}
		if r.Written != 5 || r.Batches != 1 {
			t.Errorf("%s: %+v", c, r)
		}
		if c.Encoding() == operation.Fixed && string(importer.StoredKey(c, []byte("text"), false)) != digest("text") {
			t.Error("StoredKey differs from what an import stores")
		}
	}
}

func TestSameRecordsInEveryFormatGiveTheSameContent(t *testing.T) {
	jsonl := `{"key":"a","value":"1"}` + "\n" + `{"key":"b,\"","value":"2\n3"}` + "\n"
	csv := "value,key\n1,a\n\"2\n3\",\"b,\"\"\"\n"
	want := map[string]string{"a": "1", "b,\"": "2\n3"}
	for name, o := range map[string]importer.Options{
		"jsonl":       {Paths: []string{write(t, "x.jsonl", jsonl)}},
		"ndjson":      {Paths: []string{write(t, "x.NDJSON", jsonl)}},
		"csv":         {Paths: []string{write(t, "x.csv", "\ufeff"+csv)}},
		"jsonl.gz":    {Paths: []string{write(t, "x.jsonl.gz", gzipped(jsonl))}},
		"csv.gz":      {Paths: []string{write(t, "x.csv.gz", gzipped(csv))}},
		"by option":   {Paths: []string{write(t, "x.data", csv)}, Format: "csv"},
		"stdin":       {Paths: []string{"-"}, Stdin: strings.NewReader(jsonl)},
		"stdin csv":   {Paths: []string{"-"}, Stdin: strings.NewReader(csv), Format: "csv"},
		"CRLF":        {Paths: []string{write(t, "x.csv", strings.ReplaceAll(csv, "\n", "\r\n"))}},
		"two inputs":  {Paths: []string{write(t, "x.csv", csv), write(t, "y.jsonl", jsonl)}},
		"empty extra": {Paths: []string{write(t, "x.csv", csv), write(t, "y.jsonl", "\n \n")}},
	} {
		db := open(t, anyVariable)
		run(t, db, o)
		if got := content(t, db); !maps.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestDirectoryTree(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"a": "1", "b/c.txt": "two", "b/d/e": "", ".hidden": "h"}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A loop, if it were followed.
	if err := os.Symlink("..", filepath.Join(dir, "b", "up")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{dir, link} {
		db := open(t, anyVariable)
		r := run(t, db, importer.Options{Paths: []string{root}})
		if got := content(t, db); !maps.Equal(got, files) {
			t.Errorf("got %q, want %q", got, files)
		}
		if r.Skipped != 1 || r.Records != 4 {
			t.Errorf("%+v", r)
		}
	}
	want := map[string]string{}
	for k, v := range files {
		want[digest(k)] = digest(v)
	}
	db := open(t, immutableFixed)
	run(t, db, importer.Options{Paths: []string{dir}})
	if got := content(t, db); !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestImportingAgainChangesNothing(t *testing.T) {
	path := write(t, "x.jsonl", `{"key":"a","value":"old"}
{"key":"b","value":"2"}
{"key":"c","value":"3"}
{"key":"a","value":"new"}
{"key":"c","delete":true}
`)
	db := open(t, anyVariable)
	if r := run(t, db, importer.Options{Paths: []string{path}, BatchSize: 1}); r.Written != 2 || r.Absent != 1 || r.Duplicates != 2 || r.Batches != 2 {
		t.Errorf("first: %+v", r)
	}
	before := size(t, db)
	if r := run(t, db, importer.Options{Paths: []string{path}, BatchSize: 1}); r.Unchanged != 2 || r.Absent != 1 || r.Batches != 0 {
		t.Errorf("again: %+v", r)
	}
	if size(t, db) != before {
		t.Error("the second import added operations")
	}
	other := write(t, "y.csv", "key,value,delete\nb,,true\nc,4,\n")
	if r := run(t, db, importer.Options{Paths: []string{other}}); r.Deleted != 1 || r.Written != 1 || r.Batches != 1 || r.Commit.Size != size(t, db) {
		t.Errorf("changes: %+v", r)
	}
	if got, want := content(t, db), map[string]string{"a": "new", "c": "4"}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestImmutableKeysStayAsTheyAre(t *testing.T) {
	db := open(t, immutableVariable)
	run(t, db, importer.Options{Paths: []string{write(t, "x.jsonl", `{"key":"a","value":"1"}`)}})
	again := write(t, "y.jsonl", `{"key":"a","value":"2"}
{"key":"b","value":"3"}
{"key":"b","value":"3"}
`)
	if r := run(t, db, importer.Options{Paths: []string{again}}); r.Conflicts != 1 || r.Written != 1 || r.Duplicates != 1 {
		t.Errorf("%+v", r)
	}
	if got, want := content(t, db), map[string]string{"a": "1", "b": "3"}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFloorPolicyDecidesTheFloorOfImmutableCommits(t *testing.T) {
	policy, err := database.ParseFloorPolicy("retain:3")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for i := range 20 {
		fmt.Fprintf(&lines, "{\"key\":\"%d\",\"value\":\"v\"}\n", i)
	}
	path := write(t, "x.jsonl", lines.String())
	db := open(t, immutableFixed)
	r := run(t, db, importer.Options{Paths: []string{path}, BatchSize: 7, FloorPolicy: policy})
	// 1 + (7+1) + (7+1) + (6+1) operations; the last commit is at 23.
	if want := policy.Next(0, 23); r.Commit.Size != 24 || r.Commit.Floor != want || want == 0 {
		t.Errorf("size %d floor %d, want 24 and %d", r.Commit.Size, r.Commit.Floor, want)
	}
	db = open(t, immutableFixed)
	if r := run(t, db, importer.Options{Paths: []string{path}, BatchSize: 7}); r.Commit.Floor != 0 {
		t.Errorf("floor %d without a policy", r.Commit.Floor)
	}
}

func TestCancelledImportLeavesWholeBatches(t *testing.T) {
	var lines strings.Builder
	for i := range 100 {
		fmt.Fprintf(&lines, "{\"key\":\"%d\",\"value\":\"v\"}\n", i)
	}
	db := open(t, anyVariable)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The input is read twice; cancelling while the second pass reads the
	// first bytes leaves what these bytes held.
	changed := db.Changed()
	go func() { <-changed; cancel() }()
	path := write(t, "x.jsonl", lines.String())
	r, err := importer.Run(ctx, db, importer.Options{Paths: []string{path}, BatchSize: 1})
	if err == nil && r.Batches != 100 || err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("%v %+v", err, r)
	}
	if got := content(t, db); int64(len(got)) != r.Written {
		t.Errorf("%d keys, %d reported", len(got), r.Written)
	}
}

// The dumb model: a map, and every record applied in order.
func TestImportEqualsNaiveMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		codec := rapid.SampledFrom([]operation.Codec{anyFixed, anyVariable}).Draw(rt, "codec")
		db := open(rt, codec)
		model := map[string]string{}
		stored := func(s string, raw bool) string {
			if codec.Encoding() == operation.Variable || raw && len(s) == 32 {
				return s
			}
			return digest(s)
		}
		word := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b", "c", strings.Repeat("r", 32)}), rapid.StringN(0, 5, 20))
		for range rapid.IntRange(1, 3).Draw(rt, "imports") {
			var text bytes.Buffer
			before := maps.Clone(model)
			for range rapid.IntRange(0, 40).Draw(rt, "records") {
				key, raw := word.Draw(rt, "key"), rapid.Bool().Draw(rt, "raw")
				rec := map[string]any{"key": key}
				if raw {
					rec = map[string]any{"key_base64": []byte(key)}
				}
				if rapid.Bool().Draw(rt, "delete") {
					rec["delete"] = true
					delete(model, stored(key, raw))
				} else {
					value := word.Draw(rt, "value")
					rec["value"] = value
					model[stored(key, raw)] = stored(value, false)
				}
				if err := json.NewEncoder(&text).Encode(rec); err != nil {
					rt.Fatal(err)
				}
			}
			was := size(rt, db)
			r, err := importer.Run(context.Background(), db, importer.Options{
				Paths: []string{"-"}, Stdin: &text, BatchSize: rapid.IntRange(1, 20).Draw(rt, "batch"),
			})
			if err != nil {
				rt.Fatal(err)
			}
			if got := content(rt, db); !maps.Equal(got, model) {
				rt.Fatalf("got %q, want %q", got, model)
			}
			if maps.Equal(before, model) != (size(rt, db) == was) {
				rt.Fatalf("operations added: %t, content changed: %t (%+v)", size(rt, db) != was, !maps.Equal(before, model), r)
			}
		}
	})
}
