package database

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

var anyFixed = operation.NewCodec(operation.Any, operation.Fixed)

// fill commits batches of n writes each.
func fill(t testing.TB, db *DB, batches, n int) (last Commit) {
	t.Helper()
	for i := range batches {
		var ws []Write
		for k := range n {
			ws = append(ws, Write{Key: testKey(db.Codec(), uint64(i*n+k)), Value: testValue(db.Codec(), uint64(i))})
		}
		var err error
		if last, err = db.Apply(context.Background(), Batch{Writes: ws}); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func rootAt(t testing.TB, fs store.FS, dir string) (size uint64, root mmr.Digest) {
	t.Helper()
	db, err := Open(dir, Options{Codec: anyFixed, FS: fs, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer closeDB(t, db)
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return v.Size(), v.Root()
}

// absent fails if any of the names is there.
func absent(t testing.TB, fs store.FS, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := fs.Stat(name); err == nil {
			t.Errorf("%s was left", name)
		}
	}
}

func TestABackupHoldsAStateThatWasCommittedWhileWritesGoOn(t *testing.T) {
	fs := store.MemFS()
	db := openAt(t, fs, anyFixed, true)
	defer closeDB(t, db)
	fill(t, db, 3, 10)
	var mu sync.Mutex
	roots := map[uint64]mmr.Digest{}
	note := func(c Commit) { mu.Lock(); roots[c.Size] = c.Root; mu.Unlock() }
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := uint64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			c, err := db.Apply(context.Background(), Batch{Writes: []Write{{Key: testKey(anyFixed, i), Value: testValue(anyFixed, i)}}})
			if err != nil {
				t.Error(err)
				return
			}
			note(c)
		}
	})
	var made []Backup
	for _, out := range []string{"/one", "/two", "/three"} {
		b, err := db.Backup(context.Background(), out, nil)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, b)
	}
	close(stop)
	writer.Wait()
	v, _ := db.View()
	defer v.Close()
	for i, b := range made {
		size, root := rootAt(t, fs, []string{"/one", "/two", "/three"}[i])
		want, err := v.RootAt(size)
		if err != nil || size != b.Size || root != b.Root || root != want {
			t.Errorf("backup %d: size %d root %s, reported %d %s, the log has %s there (%v)", i, size, root, b.Size, b.Root, want, err)
		}
		if i > 0 && b.Size < made[i-1].Size {
			t.Errorf("backup %d is older than the one before", i)
		}
	}
	absent(t, fs, "/one.partial", "db/gen-000001.backup.drop")
}

func TestABackupGoesOnAsAWriterOfItsOwn(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			fs := store.MemFS()
			db, m := openAt(t, fs, c, true), newModel(c)
			m.apply(nil, nil, nil)
			ws := []Write{{Key: testKey(c, 1), Value: testValue(c, 1)}, {Key: testKey(c, 2), Value: testValue(c, 2)}}
			if _, err := db.Apply(context.Background(), Batch{Writes: ws}); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Backup(context.Background(), "/out", nil); err != nil {
				t.Fatal(err)
			}
			a, err := db.Apply(context.Background(), Batch{Metadata: []byte("m")})
			if c.Encoding() == operation.Fixed {
				a, err = db.Apply(context.Background(), Batch{})
			}
			if err != nil {
				t.Fatal(err)
			}
			closeDB(t, db)
			out, err := Open("/out", Options{Codec: c, FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			defer closeDB(t, out)
			b, err := out.Apply(context.Background(), Batch{Metadata: []byte("m")})
			if c.Encoding() == operation.Fixed {
				b, err = out.Apply(context.Background(), Batch{})
			}
			if err != nil || a.Size != b.Size || a.Root != b.Root {
				t.Errorf("%+v after the backup, %+v in it: %v", a, b, err)
			}
		})
	}
}

func TestABackupThatLostItsEndDoesNotOpen(t *testing.T) {
	fs := store.MemFS()
	db := openAt(t, fs, anyFixed, true)
	fill(t, db, 5, 10)
	for _, out := range []string{"/early", "/out"} {
		if _, err := db.Backup(context.Background(), out, nil); err != nil {
			t.Fatal(err)
		}
		fill(t, db, 2, 10)
	}
	closeDB(t, db)
	// All its files are whole, but of an earlier moment than its HEAD.
	if err := errors.Join(fs.RemoveAll("/out/gen-000001"), fs.Rename("/early/gen-000001", "/out/gen-000001")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("/out", Options{Codec: anyFixed, FS: fs}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("opened without its end: %v", err)
	}
}

func TestBackupsLinkWhereTheyCanAndCopyWhereNot(t *testing.T) {
	for _, linked := range []bool{true, false} {
		disk := store.MemFS()
		fs := disk
		if !linked {
			fs = storetest.FailAt(disk, func(string) error { return nil })
			fs = storetest.NoLinks(fs)
		}
		db := openAt(t, fs, anyFixed, true)
		last := fill(t, db, 1, 20_000) // tables
		heard := int64(0)
		b, err := db.Backup(context.Background(), "/out", func(done, total int64) {
			if heard = done; done > total {
				t.Errorf("%d bytes of %d", done, total)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if (b.Files.Linked > 0) != linked || b.Files.Bytes < 1<<20 || heard != b.Files.Bytes {
			t.Errorf("links %v: %+v, heard of %d bytes", linked, b.Files, heard)
		}
		closeDB(t, db)
		if size, root := rootAt(t, disk, "/out"); size != last.Size || root != last.Root {
			t.Errorf("links %v: size %d root %s, want %d %s", linked, size, root, last.Size, last.Root)
		}
	}
}

func TestADirectoryThatNobodyHoldsIsBackedUpWithoutWritingToIt(t *testing.T) {
	fs := store.MemFS()
	db := openAt(t, fs, anyFixed, true)
	last := fill(t, db, 4, 10)
	closeDB(t, db)
	guarded := storetest.FailAt(fs, func(path string) error {
		if strings.HasPrefix(path, "db/") && !strings.HasSuffix(path, "LOCK") {
			return errors.New("written to " + path)
		}
		return nil
	})
	db, err := Open("db", Options{Codec: anyFixed, FS: guarded, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Backup(context.Background(), "/out", nil); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	if size, root := rootAt(t, fs, "/out"); size != last.Size || root != last.Root {
		t.Errorf("size %d root %s", size, root)
	}
}

func TestBackupsAreRefusedWhereTheyWouldDoHarm(t *testing.T) {
	fs := store.MemFS()
	db := openAt(t, fs, anyFixed, true)
	defer closeDB(t, db)
	fill(t, db, 1, 1)
	for _, dir := range []string{"/full/x", "/empty", "/mounted/lost+found", "/other.partial/gen-000001"} {
		if err := fs.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ out, want string }{
		{"/full", `is not empty: it holds "x"`},
		{"/nowhere/out", "does not exist"},
		{"db/backup", "lies in the storage directory itself"},
		{"db", "lies in the storage directory itself"},
		{"/other", `/other.partial: is in the way`},
		{"/empty", ""},
		{"/mounted", ""},
	} {
		_, err := db.Backup(context.Background(), tc.out, nil)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.out, err)
			}
			rootAt(t, fs, tc.out)
			continue
		}
		var target *store.TargetError
		if !errors.As(err, &target) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.out, err, tc.want)
		}
	}
	absent(t, fs, "/full.partial", "/nowhere", "/empty/unfinished.drop")
}

func TestABackupThatFailsLeavesNothing(t *testing.T) {
	disk := store.MemFS()
	full := errors.New("no space left on device")
	var fail atomic.Bool // the storage engine writes in the background too
	db := openAt(t, storetest.NoLinks(storetest.FailAt(disk, func(path string) error {
		if fail.Load() && strings.HasSuffix(path, ".sst") && strings.HasPrefix(path, "/out.partial") {
			return &fs.PathError{Op: "write", Path: path, Err: full} // as the system says it
		}
		return nil
	})), anyFixed, true)
	defer closeDB(t, db)
	fill(t, db, 1, 20_000)
	fail.Store(true)
	if _, err := db.Backup(context.Background(), "/out", nil); !errors.Is(err, full) || !strings.Contains(err.Error(), ".sst") {
		t.Errorf("%v, want the write that failed and its file", err)
	}
	fail.Store(false)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := db.Backup(ctx, "/out", func(_, _ int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	absent(t, disk, "/out", "/out.partial", "db/gen-000001.backup.drop")
	if _, err := db.Backup(context.Background(), "/out", nil); err != nil {
		t.Error(err)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	db := openAt(t, store.MemFS(), anyFixed, true)
	defer closeDB(t, db)
	var second error
	if _, err := db.Backup(context.Background(), "/one", func(_, _ int64) {
		if second == nil {
			_, second = db.Backup(context.Background(), "/two", nil)
		}
	}); err != nil || !errors.Is(second, ErrBackupRunning) {
		t.Errorf("%v, the second meanwhile: %v", err, second)
	}
}

func TestNothingIsBackedUpBeforeTheFirstSync(t *testing.T) {
	fs := store.MemFS()
	db := openAt(t, fs, anyFixed, false)
	defer closeDB(t, db)
	if _, err := db.Backup(context.Background(), "/out", nil); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
	absent(t, fs, "/out", "/out.partial")
}

func TestTheEpochRisesAndStays(t *testing.T) {
	fs := store.MemFS()
	at := func(n uint64) (*DB, error) {
		return Open("db", Options{Codec: anyFixed, FS: fs, CreateIfMissing: true, Epoch: n})
	}
	for _, tc := range []struct {
		ask, want uint64
		refused   bool
	}{{0, 0, false}, {2, 2, false}, {0, 2, false}, {2, 2, false}, {1, 2, true}, {7, 7, false}} {
		db, err := at(tc.ask)
		var back *store.EpochError
		if tc.refused {
			if !errors.As(err, &back) || back.Held != tc.want || !strings.Contains(err.Error(), "never goes back to 1") {
				t.Errorf("epoch %d: %v", tc.ask, err)
			}
			continue
		}
		if err != nil || db.Epoch() != tc.want {
			t.Fatalf("epoch %d: %v %d", tc.ask, err, db.Epoch())
		}
		closeDB(t, db)
	}
	// It outlives a change of the generation, and is in backups.
	db, _ := at(0)
	l, err := db.Stage(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := openAt(t, store.MemFS(), anyFixed, true)
	defer closeDB(t, src)
	copyLog(t, src, l)
	if b, err := db.Backup(context.Background(), "/out", nil); err != nil || b.Epoch != 7 {
		t.Errorf("%+v %v", b, err)
	}
	closeDB(t, db)
	for _, dir := range []string{"db", "/out"} {
		db, err := Open(dir, Options{Codec: anyFixed, FS: fs, ReadOnly: true})
		if err != nil || db.Epoch() != 7 {
			t.Fatalf("%s: %v", dir, err)
		}
		if v, _ := db.View(); v.Generation() != 2 {
			t.Errorf("%s: generation %d", dir, v.Generation())
			v.Close()
		} else {
			v.Close()
		}
		closeDB(t, db)
	}
}

// copyLog loads all of a database and publishes it.
func copyLog(t testing.TB, from *DB, l *Load) {
	t.Helper()
	v, _ := from.View()
	defer v.Close()
	span := new(mmr.Span)
	err := v.Operations(0, v.Size(), func(loc uint64, op []byte) bool {
		run, err := from.Codec().NewRun(op)
		if err != nil {
			t.Fatal(err)
		}
		span.Reset(loc, run)
		if err := l.Append(span, run); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(v.Root(), v.Size()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
