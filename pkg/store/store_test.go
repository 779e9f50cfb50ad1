package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/mmr"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	if dir := os.Getenv("HOLD_STORE_DIRECTORY"); dir != "" {
		hold(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// hold opens a directory and waits until standard input ends: the other
// process of the lock test.
func hold(dir string) {
	d, err := OpenDir(dir, Options{Identity: fixedIdentity, Create: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1))
	d.Close()
}

var (
	fixedIdentity    = Identity{Database: "any/fixed", OpSize: 16}
	variableIdentity = Identity{Database: "any/variable"}
)

// list is a run of operations.
type list [][]byte

func (l list) Len() int        { return len(l) }
func (l list) At(i int) []byte { return l[i] }

// testOp is operation loc: 16 bytes, or any number of them.
func testOp(id Identity, loc uint64) []byte {
	n := 16
	if id.OpSize == 0 {
		n = int(loc*7919%1000) + 8
		if loc%97 == 0 {
			n = 70_000 // larger than a bundle
		}
	}
	b := bytes.Repeat([]byte{byte(loc)}, n)
	binary.BigEndian.PutUint64(b, loc)
	return b
}

func testKey(id Identity, loc uint64) []byte {
	k := bytes.Repeat([]byte{byte(loc * 31 % 7)}, 16)
	if id.OpSize == 0 {
		return k[:loc%16]
	}
	return k
}

func openDir(t testing.TB, fs FS, id Identity) *Dir {
	t.Helper()
	d, err := OpenDir("db", Options{Identity: id, FS: fs, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// log drives a Writer the way a database does.
type log struct {
	t  testing.TB
	id Identity
	g  *Generation
	w  *Writer
	f  *mmr.Frontier
	s  State
}

func (l *log) append(n, expect int) {
	l.t.Helper()
	var ops list
	first := l.w.Next()
	for i := range uint64(n) {
		ops = append(ops, testOp(l.id, first+i))
	}
	if err := l.w.Append(ops, expect); err != nil {
		l.t.Fatal(err)
	}
	if err := l.f.Append(mmr.HashSpan(first, ops), l.w.Tile); err != nil {
		l.t.Fatal(err)
	}
	for i := range uint64(n) {
		if err := l.w.Index(testKey(l.id, first+i), first+i, byte(i%3)); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *log) commit(publish bool) {
	l.t.Helper()
	l.s.Stored = l.w.Next()
	if publish {
		l.s.Size, l.s.Root = l.s.Stored, l.f.Root(0)
	}
	if err := l.w.Commit(l.s); err != nil {
		l.t.Fatal(err)
	}
}

// later is a commit without publishing that is not waited for.
func (l *log) later() {
	l.t.Helper()
	l.s.Stored = l.w.Next()
	if err := l.w.CommitLater(l.s); err != nil {
		l.t.Fatal(err)
	}
}

func newLog(t testing.TB, d *Dir, id Identity) *log {
	t.Helper()
	g, err := d.CreateGeneration(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return continueLog(t, g, id)
}

func continueLog(t testing.TB, g *Generation, id Identity) *log {
	t.Helper()
	l := &log{t: t, id: id, g: g, s: g.State()}
	var err error
	if l.w, err = g.NewWriter(l.s); err != nil {
		t.Fatal(err)
	}
	start, pins := g.Retained()
	if l.f, err = mmr.LoadFrontier(l.s.Stored, start, pins, g.TileTop); err != nil {
		t.Fatal(err)
	}
	for at := l.f.Leaves(); at < l.s.Stored; at++ {
		if err := l.f.Append(mmr.HashSpan(at, list{testOp(id, at)}), nil); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *log) close() {
	l.t.Helper()
	if err := errors.Join(l.w.Close(), l.g.Close()); err != nil {
		l.t.Fatal(err)
	}
}

// verify reads everything back.
func (l *log) verify() {
	l.t.Helper()
	at := l.s.Start
	err := l.g.Bundles(l.s.Start, l.s.Stored, func(b *Bundle, i, j int) error {
		for k := i; k < j; k++ {
			if b.First+uint64(k) != at || !bytes.Equal(b.At(k), testOp(l.id, at)) {
				l.t.Fatalf("operation %d differs", at)
			}
			at++
		}
		return nil
	})
	if err != nil || at != l.s.Stored {
		l.t.Fatalf("read up to %d of %d: %v", at, l.s.Stored, err)
	}
	full := mmr.HashSpan(0, l.all())
	for h := uint8(mmr.TileFloor); h <= 16; h++ {
		for i := uint64(0); (i+1)<<h <= l.s.Stored; i++ {
			n := mmr.Node{Height: h, Index: i}
			if id, _ := mmr.TileOf(n); id.End() > l.s.Stored {
				continue
			}
			want, _ := full.Digest(n)
			var tile Tile
			id, at := mmr.TileOf(n)
			if err := l.g.Tile(&tile, id); err != nil || tile.Digest(at) != want {
				l.t.Fatalf("tile digest of %v: %v", n, err)
			}
		}
	}
	x, err := l.g.Index()
	if err != nil {
		l.t.Fatal(err)
	}
	defer x.Close()
	for _, size := range []uint64{0, 1, l.s.Stored / 2, l.s.Stored} {
		latest := map[string]uint64{}
		for loc := range size {
			latest[string(testKey(l.id, loc))] = loc
		}
		for key, want := range latest {
			loc, _, ok, err := x.Latest([]byte(key), size)
			if err != nil || !ok || loc != want {
				l.t.Fatalf("key %x at size %d: %d %v %v, want %d", key, size, loc, ok, err, want)
			}
		}
		n, last := 0, []byte(nil)
		err := x.Scan(nil, size, func(key []byte, loc uint64, _ byte) (bool, error) {
			if want, ok := latest[string(key)]; !ok || want != loc || n > 0 && bytes.Compare(last, key) >= 0 {
				l.t.Fatalf("scan at size %d: key %x at %d, want %d", size, key, loc, want)
			}
			n, last = n+1, bytes.Clone(key)
			return true, nil
		})
		if err != nil || n != len(latest) {
			l.t.Fatalf("scan found %d keys of %d: %v", n, len(latest), err)
		}
	}
	if _, _, ok, err := x.Latest(bytes.Repeat([]byte{0xaa}, 16), l.s.Stored); ok || err != nil {
		l.t.Fatalf("an absent key was found: %v", err)
	}
}

func (l *log) all() list {
	var ops list
	for loc := range l.s.Stored {
		ops = append(ops, testOp(l.id, loc))
	}
	return ops
}

func TestWriterReadsBackWhateverWayItTook(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			fs := MemFS()
			d := openDir(t, fs, id)
			l := newLog(t, d, id)
			number := l.g.Number()
			for i := range 40 {
				switch n := 1 + rng.IntN(120); {
				case i%10 == 9: // a large commit, known from the beginning
					l.append(n, bulkOperations)
				case i%10 == 7: // one that is written beside the next
					l.append(n, bulkOperations)
					l.later()
					l.append(600, bulkOperations)
				case i%10 == 5: // one that becomes large on the way
					l.append(n, 0)
					l.append(600, bulkOperations)
				default:
					l.append(n, 0)
				}
				l.commit(rng.IntN(2) == 0)
				if i%7 == 0 {
					l.verify()
					l.close()
					g, err := d.OpenGeneration(number)
					if err != nil {
						t.Fatal(err)
					}
					l = continueLog(t, g, id)
				}
			}
			l.verify()
			l.close()
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if names, _ := fs.List("db"); len(names) != 4 { // CURRENT HEAD LOCK gen-000001
				t.Fatalf("left behind: %v", names)
			}
		})
	}
}

func TestFragmentsFoldIntoOneBundle(t *testing.T) {
	d := openDir(t, MemFS(), fixedIdentity)
	l := newLog(t, d, fixedIdentity)
	bundles := func() (n int) {
		if err := l.g.Bundles(0, l.s.Stored, func(*Bundle, int, int) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 255 {
		l.append(1, 0)
		l.commit(true)
	}
	if n := bundles(); n != 255 {
		t.Fatalf("%d fragments after 255 commits of one operation", n)
	}
	l.append(2, 0)
	l.commit(true)
	if n := bundles(); n != 2 {
		t.Fatalf("%d bundles for 257 operations", n)
	}
	l.close()
	d.Close()
}

func TestTruncateLeavesWhatANewWriterWouldHaveWritten(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			d := openDir(t, MemFS(), id)
			l := newLog(t, d, id)
			l.append(700, 0)
			l.commit(true)
			keep := l.s
			l.append(9000, bulkOperations)
			l.commit(false)
			l.w.Close()
			s, err := l.g.Truncate(l.s, keep.Size, func(op []byte) ([]byte, bool, error) {
				return testKey(id, binary.BigEndian.Uint64(op)), true, nil
			})
			if err != nil || s != keep {
				t.Fatalf("%+v %v, want %+v", s, err, keep)
			}
			want := newLog(t, d, id)
			want.append(700, 0)
			want.commit(true)
			if got, want := dump(t, l.g), dump(t, want.g); got != want {
				t.Fatalf("truncated:\n%.2000s\nwritten:\n%.2000s", got, want)
			}
			l.g.Close()
			want.close()
			d.Close()
		})
	}
}

// dump prints every record of a generation.
func dump(t testing.TB, g *Generation) string {
	t.Helper()
	it, err := g.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var b strings.Builder
	for ok := it.First(); ok; ok = it.Next() {
		fmt.Fprintf(&b, "%x = %s\n", it.Key(), short(it.Value()))
	}
	return b.String()
}

func short(v []byte) string {
	if len(v) > 80 {
		return fmt.Sprintf("%x... (%d bytes)", v[:64], len(v))
	}
	return hex.EncodeToString(v)
}

// The disk format is a promise: a change of any record has to change
// FormatVersion, docs/format.md and this file.
func TestRecordsOnDiskAreAsDocumented(t *testing.T) {
	var b strings.Builder
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		fs := MemFS()
		d := openDir(t, fs, id)
		pins := []mmr.Digest{{0: 1}, {0: 2}}
		g, err := d.CreateGeneration(3, pins)
		if err != nil {
			t.Fatal(err)
		}
		l := &log{t: t, id: id, g: g, s: g.State()}
		l.w, _ = g.NewWriter(l.s)
		l.f, _ = mmr.NewFrontier(3, pins)
		l.append(251, 0) // up to 254
		l.commit(true)
		l.append(1, 0)
		l.commit(true)
		l.append(3, 0)
		if err := l.w.Note([]byte("k\x00ey"), []byte("value")); err != nil {
			t.Fatal(err)
		}
		l.commit(false)
		fmt.Fprintf(&b, "== %s\n%s", id.Database, dump(t, g))
		if err := d.SetCurrent(1); err != nil {
			t.Fatal(err)
		}
		d.Acknowledge(Head{Generation: 1, Size: 254, Root: mmr.Digest{0: 9}})
		l.close()
		d.Close()
		for _, name := range []string{"CURRENT", "HEAD"} {
			f, err := fs.Open("db/" + name)
			if err != nil {
				t.Fatal(err)
			}
			data := make([]byte, 4096)
			n, _ := f.Read(data)
			f.Close()
			fmt.Fprintf(&b, "-- %s\n%q\n", name, bytes.TrimRight(data[:n], "\x00"))
		}
	}
	golden := filepath.Join("testdata", "records.golden")
	if *update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != b.String() {
		t.Fatalf("records differ from %s (%v):\n%s", golden, err, b.String())
	}
}

func TestDirectoryErrorsNameTheirKind(t *testing.T) {
	fs := MemFS()
	if _, err := OpenDir("missing", Options{Identity: fixedIdentity, FS: fs}); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	if _, err := OpenDir("missing", Options{Identity: fixedIdentity, FS: fs, Create: true, ReadOnly: true}); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing, read-only: %v", err)
	}
	put := func(path, data string) {
		t.Helper()
		fs.MkdirAll(fs.PathDir(path), 0o755)
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(data))
		f.Close()
	}
	put("foreign/photo.jpg", "x")
	if _, err := OpenDir("foreign", Options{Identity: fixedIdentity, FS: fs, Create: true}); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "photo.jpg") {
		t.Errorf("foreign: %v", err)
	}
	if names, _ := fs.List("foreign"); len(names) != 1 {
		t.Errorf("a foreign directory was touched: %v", names)
	}
	put("pebble/CURRENT", "MANIFEST-000001\n")
	if _, err := OpenDir("pebble", Options{Identity: fixedIdentity, FS: fs, Create: true}); !errors.Is(err, ErrForeign) {
		t.Errorf("another program's CURRENT: %v", err)
	}
	if names, _ := fs.List("pebble"); len(names) != 1 {
		t.Errorf("another program's directory was touched: %v", names)
	}
	put("newer/CURRENT", "proofsync 2\nshape unknown\n")
	var ve *VersionError
	if _, err := OpenDir("newer", Options{Identity: fixedIdentity, FS: fs}); !errors.As(err, &ve) || ve.Held != 2 {
		t.Errorf("newer: %v", err)
	}
	fs.MkdirAll("volume/lost+found", 0o755)
	d, err := OpenDir("volume", Options{Identity: fixedIdentity, FS: fs, Create: true})
	if err != nil {
		t.Fatalf("an empty volume: %v", err)
	}
	var le *LockedError
	if _, err := OpenDir("volume", Options{Identity: fixedIdentity, FS: fs}); !errors.As(err, &le) {
		t.Errorf("locked: %v", err)
	}
	d.Close()
	var me *MismatchError
	if _, err := OpenDir("volume", Options{Identity: variableIdentity, FS: fs}); !errors.As(err, &me) || me.Held != "any/fixed" || me.Want != "any/variable" {
		t.Errorf("mismatch: %v", err)
	}
	if name, err := ReadIdentity(fs, "volume"); err != nil || name != "any/fixed" {
		t.Errorf("identity %q %v", name, err)
	}
	for name, tc := range map[string]struct{ held, want string }{
		"newer":   {"proofsync 2\nsomething else\n", "directory newer has disk format 2, this proofsync reads up to 1: use a newer one, or go back to a backup of before: proofsync restore BACKUP NEWDIR"},
		"ancient": {"proofsync 0\nsomething else\n", "directory ancient has disk format 0, this proofsync reads 1 and newer: serve it with an older one and sync from that: client --storage-dir NEWDIR --server HOST:PORT"},
	} {
		put(name+"/CURRENT", tc.held)
		for _, readOnly := range []bool{true, false} {
			_, err := OpenDir(name, Options{Identity: fixedIdentity, FS: fs, ReadOnly: readOnly, Create: !readOnly})
			if !errors.As(err, &ve) || err.Error() != tc.want {
				t.Errorf("%s: %v", name, err)
			}
			if names, _ := fs.List(name); !slices.Equal(names, []string{"CURRENT"}) {
				t.Errorf("%s was touched: %v", name, names)
			}
		}
	}
	put("flipped/CURRENT", strings.Replace(string(current{database: "any/fixed"}.encode()), "any", "anz", 1))
	if _, err := OpenDir("flipped", Options{Identity: fixedIdentity, FS: fs}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("flipped: %v", err)
	}
}

func TestTheEpochIsALineThatOlderReadersPassOver(t *testing.T) {
	fs := vfs.NewMem()
	fs.MkdirAll("db", 0o755)
	for _, c := range []current{{"any/fixed", 3, 0}, {"any/fixed", 3, 1<<63 - 1}} {
		if err := c.write(fs, "db"); err != nil {
			t.Fatal(err)
		}
		if got, err := readCurrent(fs, "db"); got != c || err != nil {
			t.Errorf("read %+v %v, wrote %+v", got, err, c)
		}
	}
	if text := string(current{"any/fixed", 3, 7}.encode()); !strings.HasPrefix(text, "proofsync 1\ndatabase any/fixed\ngeneration 3\nepoch 7\nchecksum ") {
		t.Error(text)
	}
	if text := string(current{"any/fixed", 3, 0}.encode()); strings.Contains(text, "epoch") {
		t.Error(text)
	}
	// A line that is not known, and epochs that are none.
	for line, want := range map[string]bool{"colour green": true, "epoch 0": false, "epoch -1": false, "epoch 7x": false, "epoch": false} {
		text := "proofsync 1\ndatabase any/fixed\ngeneration 3\n" + line + "\n"
		text += fmt.Sprintf("checksum %08x\n", crc32.Checksum([]byte(text), castagnoli))
		if err := writeFile(fs, "db", currentName, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := readCurrent(fs, "db"); (err == nil) != want || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", line, err)
		}
	}
	// The checksum covers it.
	flipped := strings.Replace(string(current{"any/fixed", 3, 7}.encode()), "epoch 7", "epoch 6", 1)
	if err := writeFile(fs, "db", currentName, []byte(flipped)); err != nil {
		t.Fatal(err)
	}
	if _, err := readCurrent(fs, "db"); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestAnotherProcessIsNamedAsHolder(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HOLD_STORE_DIRECTORY="+dir)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil || string(line) != "held\n" {
		t.Fatalf("%q %v", line, err)
	}
	_, err := OpenDir(dir, Options{Identity: fixedIdentity})
	var le *LockedError
	if !errors.As(err, &le) || !strings.Contains(le.Holder, fmt.Sprint("process ", cmd.Process.Pid)) {
		t.Fatalf("%v, held by %d", err, cmd.Process.Pid)
	}
}

func TestHeadSurvivesATornWriteAndKeepsTheNewest(t *testing.T) {
	fs := MemFS()
	w, err := openHead(fs, "HEAD", 0)
	if err != nil {
		t.Fatal(err)
	}
	for size := uint64(1); size <= 5; size++ {
		if err := w.write(Head{Generation: 2, Size: size}); err != nil {
			t.Fatal(err)
		}
		if h, seq, ok, err := readHead(fs, "HEAD"); err != nil || !ok || h.Size != size || seq != size {
			t.Fatalf("%+v %d %v %v", h, seq, ok, err)
		}
	}
	// The slot of the newest write is torn: the one before counts.
	if _, err := w.f.WriteAt([]byte("garbage"), slotSpace*int64(w.seq%2)+20); err != nil {
		t.Fatal(err)
	}
	if h, _, ok, err := readHead(fs, "HEAD"); err != nil || !ok || h.Size != 4 {
		t.Fatalf("%+v %v %v", h, ok, err)
	}
	if _, err := w.f.WriteAt([]byte("garbage"), slotSpace*int64((w.seq+1)%2)+20); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := readHead(fs, "HEAD"); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("two broken slots: %v", err)
	}
	w.f.Close()
}

func TestLeftoversOfACrashAreRemoved(t *testing.T) {
	fs := MemFS()
	d := openDir(t, fs, fixedIdentity)
	for range 3 {
		g, err := d.CreateGeneration(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		g.Close()
	}
	if err := d.SetCurrent(2); err != nil {
		t.Fatal(err)
	}
	d.Close()
	fs.MkdirAll("db/gen-000002.load", 0o755)
	d = openDir(t, fs, fixedIdentity)
	if n, err := d.Staged(); n != 3 || err != nil || d.Current() != 2 {
		t.Fatalf("staged %d current %d %v", n, d.Current(), err)
	}
	d.Close()
	names, _ := fs.List("db")
	for _, gone := range []string{"gen-000001", "gen-000002.load"} {
		for _, name := range names {
			if name == gone {
				t.Fatalf("%s is still there: %v", gone, names)
			}
		}
	}
}

func TestStateRecordsThatContradictThemselvesAreCorrupt(t *testing.T) {
	good := State{Start: 3, Size: 10, Floor: 4, Stored: 20}
	if s, err := decodeState(good.encode()); err != nil || s != good {
		t.Fatalf("%+v %v", s, err)
	}
	for _, s := range []State{
		{Start: 11, Size: 10, Stored: 20},
		{Start: 3, Size: 21, Stored: 20},
		{Start: 3, Size: 10, Floor: 10, Stored: 20},
		{Start: 3, Size: 10, Floor: 4, Stored: mmr.MaxLeaves + 1},
	} {
		if _, err := decodeState(s.encode()); err == nil {
			t.Errorf("%+v decoded", s)
		}
	}
	if _, err := decodeState(good.encode()[:20]); err == nil {
		t.Error("a short record decoded")
	}
}
