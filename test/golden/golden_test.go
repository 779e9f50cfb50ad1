package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

var update = flag.Bool("update", false, "write the directories of the newest format anew")

// golden is what a directory has to show: the file beside it.
type golden struct {
	Database   string            `json:"database"`
	Epoch      uint64            `json:"epoch"`
	Generation uint64            `json:"generation"`
	Size       uint64            `json:"size"`
	Start      uint64            `json:"start"`
	Floor      uint64            `json:"floor"`
	Stored     uint64            `json:"stored"` // beyond size, if a load was interrupted
	Root       string            `json:"root"`
	Commits    map[uint64]string `json:"commits"` // roots of the retained states
	Live       []entry           `json:"live"`    // in order
	Absent     [][]byte          `json:"absent"`
	NextSize   uint64            `json:"next_size"` // after a commit of nextBatch
	NextRoot   string            `json:"next_root"`
}

type entry struct {
	Key      []byte `json:"key"`
	Value    []byte `json:"value"`
	Location uint64 `json:"location"`
}

// observe reads everything there is, and what a commit on top leads to.
func observe(t *testing.T, dir string, c operation.Codec) golden {
	t.Helper()
	db := open(t, dir, database.Options{Codec: c, ReadOnly: true})
	g := golden{Database: c.String(), Epoch: db.Epoch(), Stored: db.Loads().Stored, Commits: map[uint64]string{}}
	read(t, db, &g)
	closed(t, db)

	db = open(t, dir, database.Options{Codec: c})
	defer closed(t, db)
	next, err := db.Apply(context.Background(), nextBatch(c, g.Floor))
	if err != nil {
		t.Fatal(err)
	}
	// What a replica had begun to load is forgotten.
	g.NextSize, g.NextRoot = next.Size, next.Root.String()
	return g
}

// read fills in what a view shows.
func read(t *testing.T, db *database.DB, g *golden) {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	g.Generation, g.Size, g.Start, g.Floor, g.Root = v.Generation(), v.Size(), v.Start(), v.Floor(), v.Root().String()
	if _, err := v.Commits(v.Size(), 1<<40, func(x database.CommitInfo) bool {
		root, err := v.RootAt(x.Size)
		if err != nil {
			t.Fatal(err)
		}
		g.Commits[x.Size] = root.String()
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if err := v.Scan(nil, nil, func(k []byte, e database.Entry) bool {
		g.Live = append(g.Live, entry{bytes.Clone(k), e.Value, e.Location})
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		switch _, err := v.Get(key(db.Codec(), i)); {
		case errors.Is(err, database.ErrKeyNotFound) && len(g.Absent) < 5:
			g.Absent = append(g.Absent, key(db.Codec(), i))
		case err != nil && !errors.Is(err, database.ErrKeyNotFound):
			t.Fatal(err)
		}
	}
}

func TestDirectoriesOfEveryFormatThatIsReadGoOn(t *testing.T) {
	newest := filepath.Join("testdata", fmt.Sprintf("v%d", database.FormatVersion))
	if *update {
		for _, k := range kinds {
			t.Run("update "+k.name, func(t *testing.T) { write(t, newest, k) })
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if !slices.Contains(files, filepath.Join(newest, k.name+".json")) {
			t.Errorf("no %s of the newest format: go test ./test/golden -update makes it", k.name)
		}
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.ToSlash(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want golden
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "dir")
			copyDir(t, strings.TrimSuffix(file, ".json"), dir)
			goesOn(t, dir, want)
		})
	}
}

// goesOn opens a directory as readers and writers do.
func goesOn(t *testing.T, dir string, want golden) {
	t.Helper()
	c, err := database.Detect(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	engine := formatMarker(t, dir)
	checked(t, dir)
	prove(t, dir, c, want)
	got := observe(t, dir, c)
	if a, b := text(t, got), text(t, want); a != b {
		t.Errorf("shows\n%s\nwant\n%s", a, b)
	}
	checked(t, dir)
	// Having been opened with this version, it still opens with the one that wrote it.
	if now := formatMarker(t, dir); now != engine {
		t.Errorf("the storage engine's format was %s, now it is %s", engine, now)
	}
}

func text(t *testing.T, g golden) string {
	t.Helper()
	b, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checked has fsck look at it.
func checked(t *testing.T, dir string) {
	t.Helper()
	r, err := fsck.Check(t.Context(), dir, fsck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Clean() {
		t.Errorf("fsck: %v", r.Findings)
	}
}

// prove proves every retained state by all of its operations, and the newest one
// by single ones.
func prove(t *testing.T, dir string, c operation.Codec, g golden) {
	t.Helper()
	db := open(t, dir, database.Options{Codec: c, ReadOnly: true})
	defer closed(t, db)
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for size, text := range g.Commits {
		root, err := v.RootAt(size)
		if err != nil || root.String() != text {
			t.Fatalf("root at %d: %s %v, want %s", size, root, err, text)
		}
		proven(t, v, size, g.Start, size, root)
	}
	for at := g.Start; at < g.Size; at += 7 {
		proven(t, v, g.Size, at, at+1, v.Root())
	}
}

func proven(t *testing.T, v *database.View, size, start, end uint64, root mmr.Digest) {
	t.Helper()
	p, err := v.Prove(size, start, end)
	if err != nil {
		t.Fatal(err)
	}
	pins, err := v.Pins(start)
	if err != nil {
		t.Fatal(err)
	}
	ops, _, err := v.AppendOperations(nil, start, end, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	run, err := v.Codec().NewRun(ops)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.VerifyPins(mmr.HashSpan(start, run), pins, root); err != nil {
		t.Errorf("[%d, %d) at %d: %v", start, end, size, err)
	}
}

// formatMarker is the storage engine's file that says its format.
func formatMarker(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "gen-*", "marker.format-version.*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%q %v", names, err)
	}
	return filepath.Base(names[len(names)-1])
}
