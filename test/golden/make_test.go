package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// kind is a directory that is kept.
type kind struct {
	name   string
	codec  operation.Codec
	make   func(t *testing.T, dir string, c operation.Codec)
	killed bool // it is taken before the process has closed it
}

var (
	anyFixed          = operation.NewCodec(operation.Any, operation.Fixed)
	anyVariable       = operation.NewCodec(operation.Any, operation.Variable)
	immutableFixed    = operation.NewCodec(operation.Immutable, operation.Fixed)
	immutableVariable = operation.NewCodec(operation.Immutable, operation.Variable)
)

var kinds = []kind{
	{name: "writer-any-fixed", codec: anyFixed, make: writer},
	{name: "writer-any-variable", codec: anyVariable, make: writer},
	{name: "writer-immutable-fixed", codec: immutableFixed, make: writer},
	{name: "writer-immutable-variable", codec: immutableVariable, make: writer},
	{name: "killed-any-fixed", codec: anyFixed, make: writer, killed: true},
	{name: "killed-immutable-variable", codec: immutableVariable, make: writer, killed: true},
	{name: "pruned-any-fixed", codec: anyFixed, make: pruned},
	{name: "replica-any-fixed", codec: anyFixed, make: replica},
	{name: "replica-immutable-variable", codec: immutableVariable, make: replica},
}

func key(c operation.Codec, i int) []byte {
	if c.Encoding() == operation.Fixed {
		return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 16)
	}
	return []byte([]string{"", "\x00", "a\x00b", "é", "\xff\xfe", "key"}[i%6] + strings.Repeat("k", i/6%7) + strconv.Itoa(i/42))
}

func value(c operation.Codec, i int) []byte {
	if c.Encoding() == operation.Fixed {
		return bytes.Repeat([]byte{byte(i), 0xee}, 16)
	}
	return bytes.Repeat([]byte{byte(i)}, i*7%40)
}

// nextBatch is what a test commits on top.
func nextBatch(c operation.Codec, floor uint64) database.Batch {
	b := database.Batch{Writes: []database.Write{{Key: key(c, 30_001), Value: value(c, 1)}}}
	if c.Encoding() == operation.Variable {
		b.Writes[0].Key, b.Metadata = []byte("thirty thousand and one"), []byte("of another version")
	}
	if c.Family() == operation.Immutable {
		b.Floor = &floor
	}
	return b
}

// apply makes ten commits: small ones, which leave fragments, and larger ones,
// which close bundles and fill tiles.
func apply(t *testing.T, db *database.DB, from int) {
	t.Helper()
	c := db.Codec()
	for i := from; i < from+10; i++ {
		var b database.Batch
		for k := range []int{3, 60, 1, 40, 30, 2, 34, 1, 23, 5}[i%10] {
			n := 150*i + k
			if c.Family() == operation.Any {
				n %= 110 // keys get several values, and some are deleted
			}
			w := database.Write{Key: key(c, n), Value: value(c, i+k)}
			if c.Family() == operation.Any && k%11 == 5 {
				w = database.Write{Key: key(c, n), Delete: true}
			}
			b.Writes = append(b.Writes, w)
		}
		if c.Family() == operation.Immutable {
			v, err := db.View()
			if err != nil {
				t.Fatal(err)
			}
			floor := v.Floor() + (v.Size()-v.Floor())/5
			b.Floor = &floor
			v.Close()
		}
		if c.Encoding() == operation.Variable && i%3 == 0 {
			b.Metadata = fmt.Appendf(nil, "commit %d", i)
		}
		if _, err := db.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string, o database.Options) *database.DB {
	t.Helper()
	db, err := database.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func closed(t *testing.T, db *database.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func writer(t *testing.T, dir string, c operation.Codec) {
	db := open(t, dir, database.Options{Codec: c, CreateIfMissing: true, Epoch: 3})
	apply(t, db, 0)
	closed(t, db)
	db = open(t, dir, database.Options{Codec: c})
	t.Cleanup(func() { closed(t, db) })
	apply(t, db, 10)
}

// pruned has lost its beginning, and has not deleted all of it yet.
func pruned(t *testing.T, dir string, c operation.Codec) {
	db := open(t, dir, database.Options{Codec: c, CreateIfMissing: true})
	t.Cleanup(func() { closed(t, db) })
	for i := range 3 {
		apply(t, db, 10*i)
	}
	retain := func(share uint64) {
		v, err := db.View()
		if err != nil {
			t.Fatal(err)
		}
		floor := v.Floor()
		v.Close()
		if start, err := db.Retain(floor / share); err != nil || start == 0 {
			t.Fatalf("retained from %d below %d: %v", start, floor, err)
		}
	}
	retain(2)
	if _, err := db.PruneStep(context.Background()); err != nil {
		t.Fatal(err)
	}
	retain(1)
}

// replica holds a log from a floor on, in a second generation, followed further
// in small steps, with an end that is stored but not readable yet.
func replica(t *testing.T, dir string, c operation.Codec) {
	src := open(t, t.TempDir(), database.Options{Codec: c, CreateIfMissing: true})
	defer closed(t, src)
	db := open(t, dir, database.Options{Codec: c})
	t.Cleanup(func() { closed(t, db) })
	for i, step := range []struct{ stage, publish bool }{{true, true}, {true, true}, {false, true}, {false, false}} {
		apply(t, src, 10*i)
		follow(t, db, src, step.stage, step.publish)
	}
}

// follow takes over what src has more.
func follow(t *testing.T, db, src *database.DB, stage, publish bool) {
	t.Helper()
	v, err := src.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var l *database.Load
	if stage {
		start := v.Floor() / 2
		var pins []mmr.Digest
		if pins, err = v.Pins(start); err == nil {
			l, err = db.Stage(start, pins)
		}
	} else {
		l, err = db.Extend()
	}
	if err != nil {
		t.Fatal(err)
	}
	ops, _, err := v.AppendOperations(nil, l.End(), v.Size(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	run, err := db.Codec().NewRun(ops)
	if err == nil {
		err = l.Append(mmr.HashSpan(l.End(), run), run)
	}
	if err == nil && publish {
		_, err = l.Publish(v.Root(), v.Size())
	} else if err == nil {
		err = l.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// write makes a directory of the newest format and the file beside it.
func write(t *testing.T, dir string, k kind) {
	t.Helper()
	made := filepath.Join(t.TempDir(), "made")
	to := filepath.Join(dir, k.name)
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	t.Run("make", func(t *testing.T) {
		k.make(t, made, k.codec)
		if k.killed {
			copyDir(t, made, to)
		}
	}) // closes it
	if !k.killed {
		closed(t, open(t, made, database.Options{Codec: k.codec})) // removes logs that are not needed any more
		copyDir(t, made, to)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	copyDir(t, to, copied)
	data, err := json.Marshal(observe(t, copied, k.codec))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".json", append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// copyDir copies files, but for locks.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "LOCK" {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
