package importer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/operation"
)

func TestMalformedInputNamesFileLineAndReasonAndAppliesNothing(t *testing.T) {
	const good = `{"key":"a","value":"1"}` + "\n"
	large := strings.Repeat("x", operation.MaxKey+1)
	for _, tc := range []struct {
		name, file, text string
		line             int64
		reason           string
		codec            operation.Codec
	}{
		{"no object", "x.jsonl", good + "[1]\n", 2, "a JSON object expected", anyFixed},
		{"plain text", "x.jsonl", good + good + "hello\n", 3, "a JSON object expected", anyFixed},
		{"cut off", "x.jsonl", good + `{"key":"b","va`, 2, "string without an end", anyFixed},
		{"cut off after a backslash", "x.jsonl", `{"key":"b\`, 1, "string without an end", anyFixed},
		{"cut off in an escape", "x.jsonl", `{"key":"b\u00`, 1, "string without an end", anyFixed},
		{"no closing brace", "x.jsonl", `{"key":"b","value":"c"`, 1, "line ends where a comma or a closing brace is expected", anyFixed},
		{"text after the object", "x.jsonl", `{"key":"b","value":"c"} x`, 1, "text after the object", anyFixed},
		{"two objects", "x.jsonl", `{"key":"b","value":"c"}{}`, 1, "text after the object", anyFixed},
		{"trailing comma", "x.jsonl", `{"key":"b","value":"c",}`, 1, `'}' at byte 24 where a string is expected`, anyFixed},
		{"no colon", "x.jsonl", `{"key" "b"}`, 1, "where a colon is expected", anyFixed},
		{"no key", "x.jsonl", "\n\n" + `{"value":"c"}`, 3, "no key", anyFixed},
		{"empty object", "x.jsonl", `{}`, 1, "no key", anyFixed},
		{"no value", "x.jsonl", `{"key":"b"}`, 1, "no value", anyFixed},
		{"unknown field", "x.jsonl", `{"key":"b","valeu":"c"}`, 1, `unknown field "valeu"`, anyFixed},
		{"field of other case", "x.jsonl", `{"Key":"b","value":"c"}`, 1, `unknown field "Key"`, anyFixed},
		{"key twice", "x.jsonl", `{"key":"b","key":"c","value":"d"}`, 1, "more than one key", anyFixed},
		{"key in both forms", "x.jsonl", `{"key":"b","key_base64":"","value":"d"}`, 1, "more than one key", anyFixed},
		{"value twice", "x.jsonl", `{"key":"b","value":"c","value_base64":""}`, 1, "more than one value", anyFixed},
		{"delete twice", "x.jsonl", `{"key":"b","delete":true,"delete":true}`, 1, "more than one delete", anyFixed},
		{"number as value", "x.jsonl", `{"key":"b","value":1}`, 1, `'1' at byte 20 where a string is expected`, anyFixed},
		{"null as value", "x.jsonl", `{"key":"b","value":null}`, 1, "where a string is expected", anyFixed},
		{"delete as text", "x.jsonl", `{"key":"b","delete":"true"}`, 1, "where true or false is expected", anyFixed},
		{"delete and value", "x.jsonl", `{"key":"b","delete":true,"value":"c"}`, 1, "a value together with delete", anyFixed},
		{"delete false alone", "x.jsonl", `{"key":"b","delete":false}`, 1, "delete is false and there is no value", anyFixed},
		{"bad base64", "x.jsonl", `{"key_base64":"a*==","value":"c"}`, 1, "key_base64: not base64", anyFixed},
		{"base64 without padding", "x.jsonl", `{"key":"a","value_base64":"YQ"}`, 1, "value_base64: not base64", anyFixed},
		{"base64 with stray bits", "x.jsonl", `{"key":"a","value_base64":"YR=="}`, 1, "value_base64: not base64", anyFixed},
		{"base64 with a line break", "x.jsonl", `{"key":"a","value_base64":"YQ=\n="}`, 1, "line break in base64", anyFixed},
		{"bad escape", "x.jsonl", `{"key":"\x","value":"c"}`, 1, `unknown escape \x`, anyFixed},
		{"bad unicode escape", "x.jsonl", `{"key":"\u00zz","value":"c"}`, 1, "four hexadecimal digits", anyFixed},
		{"half a surrogate pair", "x.jsonl", `{"key":"\ud800","value":"c"}`, 1, "half a surrogate pair", anyFixed},
		{"surrogates the wrong way round", "x.jsonl", `{"key":"\udc00\ud800","value":"c"}`, 1, "half a surrogate pair", anyFixed},
		{"control character", "x.jsonl", "{\"key\":\"a\tb\",\"value\":\"c\"}", 1, "control character", anyFixed},
		{"invalid UTF-8", "x.jsonl", "{\"key\":\"\xff\",\"value\":\"c\"}", 1, "invalid UTF-8", anyFixed},
		{"key too large", "x.jsonl", `{"key":"` + large + `","value":"c"}`, 1, "key of 65537 bytes, at most 65536", anyVariable},
		{"value too large", "x.jsonl", good + `{"key":"b","value":"` + strings.Repeat("x", operation.MaxOperation) + `"}`, 2, "at most 4194304", anyVariable},
		{"endless line", "x.jsonl", good + `{"key":"` + strings.Repeat("x", 33<<20), 2, "line of more than 33554432 bytes", anyFixed},
		{"delete in an immutable database", "x.jsonl", good + `{"key":"b","delete":true}`, 2, "cannot be deleted", immutableFixed},
		{"contradiction in an immutable database", "x.jsonl", good + good + `{"key":"a","value":"2"}`, 3, "occurs before with another value", immutableVariable},

		{"empty CSV", "x.csv", "", 1, "no header", anyFixed},
		{"unknown column", "x.csv", "key,val\na,b\n", 1, `unknown column "val"`, anyFixed},
		{"no key column", "x.csv", "value\na\n", 1, "no column key", anyFixed},
		{"no value column", "x.csv", "key\na\n", 1, "no column value", anyFixed},
		{"two key columns", "x.csv", "key,key_base64,value\na,b,c\n", 1, "more than one column for the key", anyFixed},
		{"too few fields", "x.csv", "key,value\na,b\nc\n", 3, "another number of fields than the header", anyFixed},
		{"too many fields", "x.csv", "key,value\na,b,c\n", 2, "another number of fields than the header", anyFixed},
		{"bare quote", "x.csv", "key,value\na,b\"c\n", 2, `bare "`, anyFixed},
		{"quote without an end", "x.csv", "key,value\n\"a\nb\",c\nd,\"e\nf", 4, `"`, anyFixed},
		{"endless record", "x.csv", "key,value\na,b\nc,\"" + strings.Repeat(strings.Repeat("x", 1023)+"\n", 33<<10), 3, "record of more than 33554432 bytes", anyFixed},
		{"delete column", "x.csv", "key,value,delete\na,b,\na,,yes\n", 3, `delete: "yes", true, false or nothing expected`, anyFixed},
		{"delete with value", "x.csv", "key,value,delete\na,b,true\n", 2, "a value together with delete", anyFixed},
		{"nothing to write", "x.csv", "key,delete\na,false\n", 2, "no value", anyFixed},
		{"CSV key base64", "x.csv", "key_base64,value\n!,b\n", 2, "key: not base64", anyFixed},
		{"CSV value base64", "x.csv", "key,value_base64\na,b\n", 2, "value: not base64", anyFixed},
		{"CSV UTF-8", "x.csv", "key,value\na,\xff\n", 2, "value: invalid UTF-8", anyFixed},
		{"CSV delete in an immutable database", "x.csv", "key,delete\na,true\n", 2, "cannot be deleted", immutableFixed},

		{"unknown format", "x.txt", good, 0, "unknown format", anyFixed},
		{"no gzip", "x.jsonl.gz", good, 0, "gzip: invalid header", anyFixed},
		{"cut gzip", "x.jsonl.gz", gzipped(strings.Repeat(good, 1000))[:30], 1, "unexpected EOF", anyFixed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			db := open(t, tc.codec)
			before := size(t, db)
			path := write(t, tc.file, tc.text)
			// A batch size of one would show anything applied too early.
			r, err := importer.Run(context.Background(), db, importer.Options{Paths: []string{path}, BatchSize: 1})
			var input *importer.InputError
			if !errors.As(err, &input) {
				t.Fatalf("got %v (%+v), an InputError expected", err, r)
			}
			if input.File != path || input.Line != tc.line || !strings.Contains(input.Reason, tc.reason) {
				t.Errorf("got %s, line %d and %q expected", strings.ReplaceAll(err.Error(), path, tc.file), tc.line, tc.reason)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if size(t, db) != before {
				t.Errorf("size is %d, %d before: something was applied", size(t, db), before)
			}
		})
	}
}

func TestContradictionIsFoundAcrossInputs(t *testing.T) {
	db := open(t, immutableFixed)
	first := write(t, "first.jsonl", `{"key":"a","value":"1"}`+"\n"+`{"key":"b","value":"1"}`)
	second := write(t, "second.csv", "key,value\nc,1\nb,2\na,2\n")
	_, err := importer.Run(context.Background(), db, importer.Options{Paths: []string{first, second}})
	var input *importer.InputError
	if !errors.As(err, &input) || input.File != second || input.Line != 3 {
		t.Errorf("got %v, line 3 of the second file expected", err)
	}
}

func TestErrorInLastInputKeepsFirstFromBeingApplied(t *testing.T) {
	db := open(t, anyFixed)
	good := write(t, "good.jsonl", `{"key":"a","value":"1"}`)
	for name, bad := range map[string]string{
		"broken":  write(t, "bad.jsonl", `{`),
		"missing": filepath.Join(t.TempDir(), "missing.jsonl"),
	} {
		_, err := importer.Run(context.Background(), db, importer.Options{Paths: []string{good, bad}})
		var input *importer.InputError
		if !errors.As(err, &input) || input.File != bad {
			t.Errorf("%s: got %v", name, err)
		}
		if n := size(t, db); n != 1 {
			t.Errorf("%s: size %d, nothing should have been applied", name, n)
		}
	}
}

func TestFileTooLargeForAnOperationIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "large")
	if err := os.WriteFile(path, make([]byte, operation.MaxOperation), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := importer.Run(context.Background(), open(t, anyVariable), importer.Options{Paths: []string{dir}})
	var input *importer.InputError
	if !errors.As(err, &input) || input.File != path || !strings.Contains(input.Reason, "4194304") {
		t.Errorf("exactly the size of an operation: got %v", err)
	}
	if err := os.WriteFile(path, make([]byte, operation.MaxOperation+1), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = importer.Run(context.Background(), open(t, anyVariable), importer.Options{Paths: []string{dir}})
	if !errors.As(err, &input) || input.File != path || !strings.Contains(input.Reason, "file larger than") {
		t.Errorf("more than an operation: got %v", err)
	}
	db := open(t, anyFixed)
	run(t, db, importer.Options{Paths: []string{dir}})
	if got, want := content(t, db)[digest("large")], digest(string(make([]byte, operation.MaxOperation+1))); got != want {
		t.Errorf("fixed: got %x, the digest %x of the file expected", got, want)
	}
}

func TestOptionsOutOfRangeAreNamed(t *testing.T) {
	for want, o := range map[string]importer.Options{
		"nothing to import":   {},
		"batch size -1":       {Paths: []string{"x"}, BatchSize: -1},
		"once only":           {Paths: []string{"-", "-"}, Stdin: strings.NewReader("")},
		"not available":       {Paths: []string{"-"}},
		`format "xml"`:        {Paths: []string{"x"}, Format: "xml"},
		`path "": a file`:     {Paths: []string{""}},
		"jsonl or csv expect": {Paths: []string{"x"}, Format: "JSONL"},
	} {
		_, err := importer.Run(context.Background(), open(t, anyFixed), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, %q expected", o, err, want)
		}
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}
