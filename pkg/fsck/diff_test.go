package fsck_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

func openLog(t *testing.T, fs store.FS, dir string) *fsck.Log {
	t.Helper()
	l, err := fsck.OpenLog(dir, fsck.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// firstDifference compares operation by operation.
func firstDifference(t *testing.T, a, b *fsck.Log) (uint64, bool) {
	t.Helper()
	from, to := max(a.Start(), b.Start()), min(a.Size(), b.Size())
	ops := func(l *fsck.Log) (all [][]byte) {
		err := l.Operations(from, to, func(_ uint64, op []byte) error { all = append(all, bytes.Clone(op)); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	oa, ob := ops(a), ops(b)
	for i := range oa {
		if !bytes.Equal(oa[i], ob[i]) {
			return from + uint64(i), true
		}
	}
	return 0, false
}

func TestTheFirstDifferenceIsFound(t *testing.T) {
	for _, c := range []operation.Codec{codecs[0], codecs[3]} {
		fs := store.MemFS()
		histories := [][]int{
			{3}, {3, 5}, {3, 6}, {700, 1}, {700, 1, 300}, {700, 2, 300}, {701}, {3, 5, 2000}, {3, 5, 2000, 1, 1, 1}, {3, 5, 2001, 800},
		}
		for i, h := range histories {
			write(t, fs, fmt.Sprint("w", i), c, h...)
		}
		logs := make([]*fsck.Log, 0, len(histories)+3)
		for i := range histories {
			for _, start := range []uint64{0, 1, 777} {
				name := fmt.Sprintf("r%d-%d", i, start)
				if i < 7 && start > 0 {
					continue
				}
				replicate(t, fs, fmt.Sprint("w", i), name, c, func(*database.View) uint64 { return start })
				logs = append(logs, openLog(t, fs, name))
			}
		}
		seen := map[fsck.Verdict]int{}
		for _, a := range logs {
			for _, b := range logs {
				at, differs := uint64(0), false
				if max(a.Start(), b.Start()) <= min(a.Size(), b.Size()) {
					at, differs = firstDifference(t, a, b)
				}
				for _, full := range []bool{false, true} {
					d, err := fsck.Diff(t.Context(), a, b, full, fsck.Options{})
					if err != nil {
						t.Fatal(err)
					}
					seen[d.Verdict]++
					what := fmt.Sprintf("%s, [%d, %d) and [%d, %d), full %v: %+v", c, a.Start(), a.Size(), b.Start(), b.Size(), full, d)
					if d.Digests || differs && (d.Verdict != fsck.Differ || d.Location != at || d.A.Operation == nil || bytes.Equal(d.A.Operation, d.B.Operation)) {
						t.Errorf("%s; they differ at %d", what, at)
					}
					if d.Verdict == fsck.Differ && !differs && !d.BeforeDiffers {
						t.Errorf("%s; they do not differ", what)
					}
					if (d.Verdict == fsck.Equal) != (a.Root() == b.Root()) && !differs {
						t.Errorf("%s; roots equal: %v", what, a.Root() == b.Root())
					}
					if d.Verdict == fsck.Prefix && a.Size() == b.Size() {
						t.Errorf("%s; they are of one size", what)
					}
				}
			}
		}
		for _, v := range []fsck.Verdict{fsck.Equal, fsck.Prefix, fsck.Differ, fsck.Apart} {
			if seen[v] == 0 {
				t.Errorf("%s: nothing is %s", c, v)
			}
		}
	}
}

func TestDigestsThatAreWrongAreNoDifference(t *testing.T) {
	c := codecs[0]
	fs := store.MemFS()
	write(t, fs, "a", c, 1000)
	write(t, fs, "b", c, 1000)
	storetest.Tamper(t, fs, "b/gen-000001", func(r storetest.Record) []storetest.Record {
		if r.Key[0] != inTile {
			return nil
		}
		for i := range r.Value {
			r.Value[i] ^= 1
		}
		return []storetest.Record{r}
	})
	d, err := fsck.Diff(t.Context(), openLog(t, fs, "a"), openLog(t, fs, "b"), false, fsck.Options{})
	if err != nil || d.Verdict != fsck.Equal || !d.Digests {
		t.Errorf("%+v, %v", d, err)
	}
}
