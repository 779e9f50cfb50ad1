package importer_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/importer"
)

func TestPreparedInputIsAppliedLaterAndOnce(t *testing.T) {
	o := importer.Options{
		Paths: []string{"-", write(t, "x.csv", "key,value\nb,2\na,3\n")}, Stdin: strings.NewReader(`{"key":"a","value":"1"}`), TempDir: t.TempDir(),
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, err := importer.Prepare(ctx, anyVariable, o)
	cancel() // Apply has a context of its own
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	other := open(t, anyFixed)
	if _, err := p.Apply(t.Context(), other); err == nil || !strings.Contains(err.Error(), "any/variable, this one is of any/fixed") {
		t.Errorf("a database of another encoding: %v", err)
	}
	if n := size(t, other); n != 1 {
		t.Errorf("size %d, nothing should have been applied", n)
	}

	db := open(t, anyVariable)
	r, err := p.Apply(t.Context(), db)
	if err != nil || r.Records != 3 || r.Written != 2 || r.Duplicates != 1 || r.Duration <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	before := size(t, db)
	if r, err := p.Apply(t.Context(), db); err != nil || r.Unchanged != 2 || r.Written != 0 || size(t, db) != before {
		t.Errorf("again: %+v, %v", r, err)
	}
}

func TestInputThatCannotBePreparedLeavesNoFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"broken": "{\n", "good": `{"key":"a","value":"1"}`} {
		p, err := importer.Prepare(t.Context(), anyFixed, importer.Options{Paths: []string{"-"}, Stdin: strings.NewReader(text), TempDir: dir})
		if input := (*importer.InputError)(nil); errors.As(err, &input) != (name == "broken") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			p.Close()
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v %v", name, left, err)
		}
		// Nameless files are seen only where the system lists what a process has open.
		descriptors, _ := os.ReadDir("/proc/self/fd")
		for _, d := range descriptors {
			if target, _ := os.Readlink("/proc/self/fd/" + d.Name()); strings.HasPrefix(target, dir) {
				t.Errorf("%s: still open: %s", name, target)
			}
		}
	}
}
