package importer

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
)

func TestSpilledKeysAreFoundAgain(t *testing.T) {
	const n = 150_000 // several full buffers for each partition
	dir := t.TempDir()
	l := newKeyLog(dir)
	defer l.close()
	for i := range n {
		key := fmt.Sprintf("key %d", i)
		if i%1000 == 999 {
			key = fmt.Sprintf("key %d", i-500)
		}
		value := "v"
		if i == 70_999 || i == 90_999 {
			value = "w"
		}
		if err := l.add(database.Write{Key: []byte(key), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	if l.file == nil {
		t.Fatal("nothing was spilled: the test shows nothing")
	}
	last, _, err := l.resolve(false)
	if err != nil {
		t.Fatal(err)
	}
	first, conflict, err := l.resolve(true)
	if err != nil {
		t.Fatal(err)
	}
	if conflict != 70_999 {
		t.Errorf("conflict at %d", conflict)
	}
	for i := range int64(n) {
		if last.has(i) != (i%1000 == 499) || first.has(i) != (i%1000 == 999) {
			t.Fatalf("record %d: superseded %t (last wins), %t (first wins)", i, last.has(i), first.has(i))
		}
	}
	if last.count != n/1000 || first.count != n/1000 {
		t.Errorf("counts %d and %d", last.count, first.count)
	}
	l.close()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What the parser accepts means the same to encoding/json.
func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{"key":"a","value":"b"}`, `{"key":"\ud83d\ude00\u00e9","delete":true}`, `{"key_base64":"YQ==","value_base64":""}`,
		`{"key":"a","value":"\"\\\/\b\f\n\r\t"}`, `{}`, `{"key":"a","key":"b"}`, ` { "delete" : false , "key" : "" , "value" : "" } `, `{"key":"\`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var p objectParser
		var rec record
		if p.parse(line, &rec) != nil {
			return
		}
		var want struct {
			Key         *string `json:"key"`
			KeyBase64   []byte  `json:"key_base64"`
			Value       *string `json:"value"`
			ValueBase64 []byte  `json:"value_base64"`
			Delete      bool    `json:"delete"`
		}
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		text := func(s *string, b []byte) string {
			if s != nil {
				return *s
			}
			return string(b)
		}
		if string(rec.key.bytes) != text(want.Key, want.KeyBase64) || rec.key.raw != (want.Key == nil) ||
			string(rec.value.bytes) != text(want.Value, want.ValueBase64) || rec.delete != want.Delete {
			t.Fatalf("got %+v, want %+v", rec, want)
		}
	})
}
