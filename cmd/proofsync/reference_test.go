package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// referenceModel is where the reference model is: what REFERENCE_MODEL names,
// or beside the checkout. Without it tests skip, unless it must be there.
func referenceModel(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("REFERENCE_MODEL")
	switch dir {
	case "none":
		t.Skip("REFERENCE_MODEL is none")
	case "":
		dir = filepath.Join("..", "..", "..", "shared", "spec", "reference")
	}
	_, err := os.Stat(filepath.Join(dir, "mmr.py"))
	if err == nil {
		_, err = exec.LookPath("python3")
	}
	if err != nil && os.Getenv("REFERENCE_MODEL") == "" {
		t.Skipf("no reference model: %v", err)
	}
	if err != nil {
		t.Fatalf("REFERENCE_MODEL is set: %v", err)
	}
	return dir
}

// fsck and the writer share the code that hashes and encodes. This is the
// check that they are not wrong together.
func TestTheReferenceModelComesToTheSameRoot(t *testing.T) {
	model := referenceModel(t)
	for _, f := range []operation.Family{operation.Any, operation.Immutable} {
		for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
			c := operation.NewCodec(f, e)
			t.Run(c.String(), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "data")
				writeHistory(t, dir, c)
				recompute(t, model, dir)
				replica := filepath.Join(t.TempDir(), "replica")
				copyFrom(t, dir, replica, c, 300)
				recompute(t, model, replica)
			})
		}
	}
}

// recompute compares what fsck says of a directory with what the model makes of its operations.
func recompute(t *testing.T, model, dir string) {
	t.Helper()
	code, raw, errs := execute(t, "log", "--raw", dir)
	if code != 0 {
		t.Fatal(errs)
	}
	code, out, errs := execute(t, "fsck", "-o", "json", dir)
	var r fsck.Report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || len(r.Generations) != 1 {
		t.Fatalf("fsck: code %d, %v: %s%s", code, err, errs, out)
	}
	g := r.Generations[0]
	cmd := exec.Command("python3", "testdata/recompute.py", model)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin = strings.NewReader(raw)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	want := fmt.Sprintf("size %d\nfloor %d\nroot %s\n", g.Size, g.Floor, g.Root)
	if g.Start == 0 {
		want += fmt.Sprintf("live %d\n", g.LiveKeys)
	}
	if string(got) != want {
		t.Errorf("the model says\n%s\nfsck\n%s", got, want)
	}
}

// writeHistory makes a database of some hundred operations in commits of every size.
func writeHistory(t *testing.T, dir string, c operation.Codec) {
	t.Helper()
	db, err := database.Open(dir, database.Options{Codec: c, CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	n := 0
	for i := range 30 {
		var b database.Batch
		for range rng.IntN(60) {
			n++
			w := database.Write{Key: item(c, fmt.Sprint("key ", n)), Value: item(c, fmt.Sprint("value ", n))}
			if c.Family() == operation.Any && n > 5 && rng.IntN(2) == 0 {
				w.Key = item(c, fmt.Sprint("key ", rng.IntN(n)))
				if rng.IntN(3) == 0 {
					w = database.Write{Key: w.Key, Delete: true}
				}
			}
			b.Writes = append(b.Writes, w)
		}
		if i%3 == 0 {
			b.Metadata = item(c, fmt.Sprint("commit ", i))
		}
		if _, err := db.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// item is a text as a key or value of the encoding.
func item(c operation.Codec, s string) []byte {
	if c.Encoding() == operation.Variable {
		return []byte(s)
	}
	b := make([]byte, operation.ItemSize)
	copy(b, s)
	return b
}

// copyFrom makes a replica of the log from start on.
func copyFrom(t *testing.T, from, to string, c operation.Codec, start uint64) {
	t.Helper()
	src, err := database.Open(from, database.Options{Codec: c, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	v, err := src.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	pins, err := v.Pins(start)
	if err != nil {
		t.Fatal(err)
	}
	var ops []byte
	if err := v.Operations(start, v.Size(), func(_ uint64, op []byte) bool { ops = append(ops, op...); return true }); err != nil {
		t.Fatal(err)
	}
	run, err := c.NewRun(ops)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := database.Open(to, database.Options{Codec: c})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	l, err := dst.Stage(start, pins)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Append(mmr.HashSpan(start, run), run); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(v.Root(), v.Size()); err != nil {
		t.Fatal(err)
	}
}
