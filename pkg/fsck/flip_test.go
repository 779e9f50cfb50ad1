package fsck_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// Flipped bits are where they may be: everywhere (in large files, at thousands
// of places) with PROOFSYNC_FLIPS=all, else at so many places of a file, spread evenly.
const sampledFlips = 8

// harmless are the files in which a flipped bit may go unnoticed, and why it
// does no harm. Whatever else was expected: what is read is right.
var harmless = []struct {
	file   string // expression for the name
	killed bool   // also if the writer was killed, so that commits are in the log only
	why    string
}{
	{`^HEAD$`, true, "a slot counts only with its checksum: the other one stands in, and what follows a slot is padding"},
	{`/OPTIONS-\d+$`, true, "the storage engine compares little of it; what counts are the options in the program"},
	{`/\d+\.log$`, false, "what it holds is in tables already; the file waits to be removed"},
	{`/MANIFEST-\d+$`, false, "without its last entries the log is replayed, if it is still there; if not, the state is missing"},
}

// image is a database as it lies on disk.
type image struct {
	name  string
	codec operation.Codec
	fs    store.FS
	dir   string
	root  string
	live  map[string]string // key and value
	ops   [][]byte
	start uint64

	killed bool // the writer was
	large  bool
}

// capture remembers what a database that is right holds.
func capture(t *testing.T, name string, fs store.FS, dir string, c operation.Codec) *image {
	t.Helper()
	m := &image{name: c.String() + " " + name, codec: c, fs: fs, dir: dir, live: map[string]string{}}
	if err := m.read(dir, func(v *database.View) { m.root, m.start = v.Root().String(), v.Start() },
		func(key, value []byte) { m.live[string(key)] = string(value) },
		func(_ uint64, op []byte) { m.ops = append(m.ops, bytes.Clone(op)) }); err != nil {
		t.Fatal(err)
	}
	return m
}

// read opens a directory and reads everything.
func (m *image) read(dir string, state func(*database.View), live func(key, value []byte), op func(loc uint64, op []byte)) (err error) {
	db, err := database.Open(dir, database.Options{Codec: m.codec, FS: m.fs, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer db.Close()
	v, err := db.View()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer v.Close()
	state(v)
	if err := v.Scan(nil, nil, func(key []byte, e database.Entry) bool { live(key, e.Value); return true }); err != nil {
		return err
	}
	if err := v.Operations(v.Start(), v.Size(), func(loc uint64, b []byte) bool { op(loc, b); return true }); err != nil {
		return err
	}
	for at := v.Start(); at < v.Size(); at += 97 {
		p, err := v.Prove(v.Size(), at, min(at+3, v.Size()))
		if err != nil {
			return err
		}
		ops, _, err := v.AppendOperations(nil, at, min(at+3, v.Size()), 1<<20)
		if err != nil {
			return err
		}
		run, err := m.codec.NewRun(ops)
		if err != nil {
			return err
		}
		if err := p.Verify(mmr.HashSpan(at, run), v.Root()); err != nil {
			return fmt.Errorf("proof of location %d: %w", at, err)
		}
	}
	return nil
}

// flip says what comes of one flipped bit: "open", "read", "fsck" or "harmless".
// It fails the test if anything that is read is wrong.
func (m *image) flip(t *testing.T, file string, at, bit int) (what string) {
	t.Helper()
	where := fmt.Sprintf("%s, %s byte %d bit %d", m.name, file, at, bit)
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v", where, r)
			what = "panic"
		}
	}()
	const dir = "flipped"
	link(t, m.fs, m.dir, dir, file)
	defer func() { _ = m.fs.RemoveAll(dir) }()
	data := bytes.Clone(storetest.ReadFile(t, m.fs, path.Join(m.dir, file)))
	data[at] ^= 1 << bit
	storetest.WriteFile(t, m.fs, path.Join(dir, file), data)

	seen, next := 0, m.start
	err := m.read(dir, func(v *database.View) {
		if v.Root().String() != m.root {
			t.Errorf("%s: root %s at size %d", where, v.Root(), v.Size())
		}
	}, func(key, value []byte) {
		if want, ok := m.live[string(key)]; !ok || want != string(value) {
			t.Errorf("%s: key %x has value %x", where, key, value)
		}
		seen++
	}, func(loc uint64, op []byte) {
		if loc != next || !bytes.Equal(op, m.ops[loc-m.start]) {
			t.Errorf("%s: operation %d is %x", where, loc, op)
		}
		next++
	})
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "open:"):
		what = "open"
	case err != nil:
		what = "read"
	case seen != len(m.live) || next != m.start+uint64(len(m.ops)):
		t.Errorf("%s: %d keys of %d, operations up to %d, without an error", where, seen, len(m.live), next)
	}
	r, ferr := fsck.Check(context.Background(), dir, fsck.Options{FS: m.fs, Workers: 1})
	found := ferr != nil || !r.Clean()
	switch {
	case err != nil && !found:
		t.Errorf("%s: fsck does not find what reading finds: %v", where, err)
	case err == nil && found:
		what = "fsck"
	case err == nil:
		what = "harmless"
	}
	return what
}

// link makes dir a copy of a directory that shares all files but those named, and
// LOCK files, which are not copied.
func link(t *testing.T, fs store.FS, from, to string, but ...string) {
	t.Helper()
	if err := fs.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range list(t, fs, from) {
		if slices.Contains(but, name) || path.Base(name) == "LOCK" {
			continue
		}
		if err := fs.MkdirAll(path.Join(to, path.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := fs.Link(path.Join(from, name), path.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// list are the files below a directory.
func list(t *testing.T, fs store.FS, dir string) (names []string) {
	t.Helper()
	entries, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(entries)
	for _, e := range entries {
		info, err := fs.Stat(path.Join(dir, e))
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsDir() {
			names = append(names, e)
			continue
		}
		for _, n := range list(t, fs, path.Join(dir, e)) {
			names = append(names, path.Join(e, n))
		}
	}
	return names
}

// kind is a file's name without what varies.
func kind(file string) string {
	return regexp.MustCompile(`\d{6}`).ReplaceAllString(file, "N")
}

// positions are the bytes of a file to try.
func (m *image) positions(size int) []int {
	var step int
	switch all := os.Getenv("PROOFSYNC_FLIPS") == "all"; {
	case all && m.large:
		step = max(1, size/100)
	case all:
		step = max(1, size/2000)
	case m.large:
		step = max(1, size/3)
	default:
		step = max(1, size/sampledFlips)
	}
	var out []int
	for at := 0; at < size; at += step {
		out = append(out, at)
	}
	if n := size - 1; n >= 0 && out[len(out)-1] != n {
		out = append(out, n)
	}
	return out
}

// images are small databases: of a writer that closed, of one that was killed
// after its last commit was acknowledged, and of replicas.
func images(t *testing.T) (all []*image) {
	for _, c := range codecs {
		fs := store.MemFS()
		write(t, fs, "closed", c, 1, 300, 40, 2)
		all = append(all, capture(t, "of a writer", fs, "closed", c))
		all = append(all, killed(t, c))
	}
	for _, c := range []operation.Codec{codecs[0], codecs[3]} {
		if c == codecs[3] && os.Getenv("PROOFSYNC_FLIPS") != "all" {
			break
		}
		fs := store.MemFS()
		write(t, fs, "source", c, 1, 700, 30_000, 3)
		replicate(t, fs, "source", "replica", c, func(v *database.View) uint64 { return v.Size() - 17_000 })
		m := capture(t, "of a replica", fs, "replica", c)
		m.large = true
		all = append(all, m)
	}
	return all
}

// killed is a database whose commits are in the log of the storage engine only,
// with a HEAD that knows of them all.
func killed(t *testing.T, c operation.Codec) *image {
	t.Helper()
	fs := store.MemFS()
	db, err := database.Open("live", database.Options{Codec: c, FS: fs, CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		var b database.Batch
		for n := range uint64(40) {
			b.Writes = append(b.Writes, database.Write{Key: key(c, 40*uint64(i)+n), Value: value(c, n)})
		}
		if _, err := db.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.MkdirAll("killed", 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, fs, "live", "killed") // HEAD may be missing: it is written once a second
	for _, name := range list(t, fs, "killed") {
		data := bytes.Clone(storetest.ReadFile(t, fs, path.Join("killed", name)))
		if err := fs.Remove(path.Join("killed", name)); err != nil {
			t.Fatal(err)
		}
		storetest.WriteFile(t, fs, path.Join("killed", name), data)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	storetest.WriteFile(t, fs, "killed/HEAD", storetest.ReadFile(t, fs, "live/HEAD"))
	m := capture(t, "of a writer that was killed", fs, "killed", c)
	m.killed = true
	return m
}

func TestNoFlippedBitGoesUnnoticed(t *testing.T) {
	for _, m := range images(t) {
		t.Run(m.name, func(t *testing.T) {
			table := map[string]map[string]int{}
			for _, file := range list(t, m.fs, m.dir) {
				size := len(storetest.ReadFile(t, m.fs, path.Join(m.dir, file)))
				if size == 0 {
					continue
				}
				outcomes := map[string]int{}
				var passed []int
				for i, at := range m.positions(size) {
					what := m.flip(t, file, at, i%8)
					outcomes[what]++
					if what == "harmless" {
						passed = append(passed, at)
					}
				}
				k := kind(file)
				if table[k] == nil {
					table[k] = map[string]int{}
				}
				for what, n := range outcomes {
					table[k][what] += n
				}
				may := false
				for _, h := range harmless {
					may = may || (h.killed || !m.killed) && regexp.MustCompile(h.file).MatchString(file)
				}
				if len(passed) > 0 && !may {
					t.Errorf("%s, %d bytes: nothing notices bits at %v", file, size, passed)
				}
			}
			for _, k := range slices.Sorted(maps.Keys(table)) {
				t.Logf("%-45s %v", k, table[k])
			}
		})
	}
}

// One bit in the middle of each table of a replica: what is lost is named with
// its file, the rest is still compared, and tiles and index are built anew.
func TestATableThatCannotBeReadIsNamedAndRebuiltIfItCanBe(t *testing.T) {
	c := codecs[0]
	fs := store.MemFS()
	write(t, fs, "source", c, 1, 700, 30_000, 3)
	replicate(t, fs, "source", "replica", c, func(v *database.View) uint64 { return v.Size() - 17_000 })
	good := check(t, fs, "replica").Generations[0]
	rebuilt, lost := 0, 0
	for _, file := range list(t, fs, "replica") {
		if !strings.HasSuffix(file, ".sst") {
			continue
		}
		link(t, fs, "replica", "flipped", file)
		data := bytes.Clone(storetest.ReadFile(t, fs, path.Join("replica", file)))
		data[len(data)/2] ^= 4
		storetest.WriteFile(t, fs, path.Join("flipped", file), data)
		r := check(t, fs, "flipped")
		if r.Clean() {
			t.Fatalf("%s: nothing found", file)
		}
		for _, f := range r.Findings {
			if f.Space == fsck.Operations && f.Problem == fsck.Unreadable {
				lost++
				if f.To-f.From > 256 || !strings.HasSuffix(f.File, path.Base(file)) || r.Repairable() {
					t.Errorf("%s: %s", file, f)
				}
				// Everything else leads to the root, with the digest stored for what is lost, if its slot is full.
				if f.To%256 == 0 && len(r.Findings) != 1 || r.Generations[0].Operations != good.Operations-(f.To-f.From) {
					t.Errorf("%s: %d operations of %d\n%s", file, r.Generations[0].Operations, good.Operations, lines(r))
				}
			}
		}
		after, err := fsck.Repair(t.Context(), "flipped", fsck.Options{FS: fs})
		switch {
		case errors.Is(err, fsck.ErrUnrepairable) && !r.Repairable():
		case err != nil:
			t.Errorf("%s: %v\n%s", file, err, lines(r))
		default:
			rebuilt++
			wantClean(t, after)
			if g := after.Generations[0]; g.Root != good.Root || g.LiveKeys != good.LiveKeys || g.Notes != good.Notes || g.Number != 2 {
				t.Errorf("%s: %+v, want %+v", file, g, good)
			}
		}
		if err := fs.RemoveAll("flipped"); err != nil {
			t.Fatal(err)
		}
	}
	if rebuilt == 0 || lost == 0 {
		t.Errorf("%d tables were rebuilt, operations of %d are lost: nothing was tested", rebuilt, lost)
	}
}
