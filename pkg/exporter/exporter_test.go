package exporter

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// liveOf is the live set of a database.
func liveOf(t interface{ Fatal(...any) }, db *database.DB) map[string]string {
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	live := map[string]string{}
	if err := v.Scan(nil, nil, func(key []byte, e database.Entry) bool { live[string(key)] = string(e.Value); return true }); err != nil {
		t.Fatal(err)
	}
	return live
}

// nasty are byte strings that formats trip over.
var nasty = []string{
	"", "\x00", "\x00\xff", "\xff\xfe", "\xef\xbb\xbf", "a\nb", "a\r\nb", "\r", "\n", `"`, `""`, `\`, `\u0000`, ",", "a,b", " a ", "\t", "\u2028", "é",
	"\xed\xa0\x80", "\x7f", "null", "true", "key", "=1+1", strings.Repeat("x", 32), strings.Repeat("\xff", 32), strings.Repeat("\"", 70_000)[:60_000],
}

func drawBytes(c operation.Codec) *rapid.Generator[string] {
	if c.Encoding() == operation.Fixed {
		return rapid.Map(rapid.SliceOfN(rapid.Byte(), 32, 32), func(b []byte) string { return string(b) })
	}
	return rapid.OneOf(
		rapid.SampledFrom(nasty), rapid.StringN(0, 20, 60),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }),
	)
}

func TestWhatIsExportedIsImportedToTheSameLiveSet(t *testing.T) {
	dir := t.TempDir()
	for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
		t.Run(e.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				family := rapid.SampledFrom([]operation.Family{operation.Any, operation.Immutable}).Draw(t, "family")
				format := rapid.SampledFrom([]Format{JSONL, CSV}).Draw(t, "format")
				roundTrip(t, operation.NewCodec(family, e), format, filepath.Join(dir, "x."+string(format)))
			})
		})
	}
}

func roundTrip(t *rapid.T, c operation.Codec, format Format, path string) {
	open := func() *database.DB {
		db, err := database.Open("db", database.Options{Codec: c, FS: store.MemFS(), CreateIfMissing: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	from, to := open(), open()
	model := map[string]string{}
	for range rapid.IntRange(0, 3).Draw(t, "batches") {
		b := database.Batch{}
		for k, v := range rapid.MapOfN(drawBytes(c), drawBytes(c), 0, 12).Draw(t, "writes") {
			_, has := model[k]
			switch {
			case c.Family() == operation.Immutable && has:
				continue
			case c.Family() == operation.Any && has && rapid.Bool().Draw(t, "delete"):
				delete(model, k)
				b.Writes = append(b.Writes, database.Write{Key: []byte(k), Delete: true})
				continue
			}
			model[k] = v
			b.Writes = append(b.Writes, database.Write{Key: []byte(k), Value: []byte(v)})
		}
		if _, err := from.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	text := format == CSV && c.Encoding() == operation.Variable && rapid.Bool().Draw(t, "text")
	var file bytes.Buffer
	w, err := NewWriter(&file, Options{Format: format, Encoding: c.Encoding(), Text: text})
	if err != nil {
		t.Fatal(err)
	}
	plain := true
	for k, v := range liveOf(t, from) {
		err := w.Write([]byte(k), []byte(v))
		if ok := utf8.ValidString(k+v) && utf8.ValidString(k) && !strings.Contains(k+v, "\r"); text && !ok {
			if !errors.Is(err, ErrNotText) {
				t.Fatalf("%q %q as text: %v", k, v, err)
			}
			plain = false
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil || w.Bytes() != uint64(file.Len()) {
		t.Fatal(err, w.Bytes(), file.Len())
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := importer.Run(context.Background(), to, importer.Options{Paths: []string{path}}); err != nil {
		t.Fatalf("%v\n%q", err, file.Bytes())
	}
	if got := liveOf(t, to); plain && !maps.Equal(got, model) {
		t.Fatalf("%q became %q by\n%q", model, got, file.Bytes())
	}
}

func TestTextIsForColumnsThatMayHaveIt(t *testing.T) {
	for _, o := range []Options{
		{Format: JSONL, Encoding: operation.Variable, Text: true},
		{Format: CSV, Encoding: operation.Fixed, Text: true},
	} {
		if _, err := NewWriter(new(bytes.Buffer), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	key, value := bytes.Repeat([]byte{0xab}, 32), bytes.Repeat([]byte{0xcd}, 32)
	for _, f := range []Format{JSONL, CSV} {
		b.Run(string(f), func(b *testing.B) {
			w, err := NewWriter(discard{}, Options{Format: f, Encoding: operation.Fixed})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := w.Write(key, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
