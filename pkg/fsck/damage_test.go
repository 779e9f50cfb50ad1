package fsck_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// Key spaces, see docs/format.md section 3.
const (
	inState  = 0x01
	inBundle = 0x02
	inTile   = 0x03
	inIndex  = 0x04
)

// only changes the n-th record of a space.
func only(space byte, n int, change func(r storetest.Record) []storetest.Record) func() func(storetest.Record) []storetest.Record {
	return func() func(storetest.Record) []storetest.Record {
		seen := 0
		return func(r storetest.Record) []storetest.Record {
			if r.Key[0] != space {
				return nil
			}
			if seen++; seen-1 != n {
				return nil
			}
			return change(r)
		}
	}
}

func remove(r storetest.Record) []storetest.Record { return []storetest.Record{{Key: r.Key}} }

func flip(at int) func(r storetest.Record) []storetest.Record {
	return func(r storetest.Record) []storetest.Record {
		r.Value[(at+len(r.Value))%len(r.Value)] ^= 1
		return []storetest.Record{r}
	}
}

func TestEachDamageIsNamedAndWhatCanBeRebuiltIs(t *testing.T) {
	loc := func(f fsck.Finding) string {
		return fmt.Sprintf("%s %s %d-%d %s", f.Space, f.Problem, f.From, f.To, f.Tile)
	}
	anyIndex := func() func(storetest.Record) []storetest.Record {
		return func(r storetest.Record) []storetest.Record {
			if r.Key[0] == inIndex {
				return remove(r)
			}
			return nil
		}
	}
	for _, d := range []struct {
		name       string
		tamper     func() func(storetest.Record) []storetest.Record
		want       string // of the first finding; "" any
		findings   int    // 0: more than 100
		repairable bool
	}{
		{"a tile is missing", only(inTile, 1, remove), "tiles missing 256-512 0/1", 1, true},
		{"a digest of a tile differs", only(inTile, 2, flip(32*8)), "tiles different 576-584 0/2", 1, true},
		{"the top of a tile differs", only(inTile, 0, flip(-1)), "tiles different 0-256 0/0", 1, true},
		{"a tile has another length", only(inTile, 0, func(r storetest.Record) []storetest.Record {
			return []storetest.Record{{Key: r.Key, Value: r.Value[1:]}}
		}), "tiles unreadable 0-256 0/0", 1, true},
		{"a tile too many", only(inTile, 0, func(r storetest.Record) []storetest.Record {
			return []storetest.Record{{Key: append(bytes.Clone(r.Key[:9]), 200), Value: r.Value}}
		}), "tiles extra 0-0 0/200", 1, true},
		{"an entry is missing", only(inIndex, 17, remove), "index missing", 1, true},
		{"an entry too many", only(inIndex, 17, func(r storetest.Record) []storetest.Record {
			k := bytes.Clone(r.Key)
			k[len(k)-1] ^= 0x20
			return []storetest.Record{{Key: k, Value: r.Value}}
		}), "index extra", 1, true},
		{"an entry of another kind", only(inIndex, 17, flip(0)), "index different", 1, true},
		{"an entry without a kind", only(inIndex, 17, func(r storetest.Record) []storetest.Record {
			return []storetest.Record{{Key: r.Key, Value: []byte{}}}
		}), "", 2, true},
		{"no index", anyIndex, "", 0, true},
		{"a bundle is missing", only(inBundle, 2, remove), "operations missing 512-768", 0, false},
		{"a bit of an operation differs", only(inBundle, 1, flip(-20)), "", 0, false},
		{"the floor differs", only(inState, 1, flip(24)), "state different", 0, false},
		{"the root differs", only(inState, 1, flip(40)), "", 0, false},
	} {
		for _, c := range codecs {
			t.Run(c.String()+"/"+d.name, func(t *testing.T) {
				fs := store.MemFS()
				write(t, fs, "db", c, 1, 700, 400)
				good := check(t, fs, "db")
				wantClean(t, good)
				storetest.Tamper(t, fs, "db/gen-000001", d.tamper())
				r := check(t, fs, "db")
				if r.Clean() {
					t.Fatal("nothing found")
				}
				damages := slices.DeleteFunc(slices.Clone(r.Findings), func(f fsck.Finding) bool { return f.Severity == fsck.Note })
				if r.Repairable() != d.repairable {
					t.Fatalf("repairable: %v\n%s", r.Repairable(), lines(r))
				}
				if d.findings > 0 && len(damages) != d.findings {
					t.Errorf("%d findings, want %d:\n%s", len(damages), d.findings, lines(r))
				}
				if got := loc(damages[0]); c.Encoding() == operation.Fixed && got[:min(len(got), len(d.want))] != d.want {
					t.Errorf("first finding is %s, want %s", got, d.want)
				}
				after, err := fsck.Repair(t.Context(), "db", fsck.Options{FS: fs})
				if !d.repairable {
					if !errors.Is(err, fsck.ErrUnrepairable) || after.Clean() {
						t.Fatalf("repair: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				wantClean(t, after)
				g, h := good.Generations[0], after.Generations[0]
				h.Number, h.Bundles = g.Number, g.Bundles // which may differ
				if g != h || len(after.Repaired) == 0 {
					t.Errorf("%+v after the repair (%q), %+v before the damage", h, after.Repaired, g)
				}
				wantClean(t, check(t, fs, "db"))
			})
		}
	}
}

func TestAnOperationThatIsWrongIsFoundByTheDigestsStored(t *testing.T) {
	c := codecs[0]
	fs := store.MemFS()
	write(t, fs, "db", c, 1, 700, 400)
	storetest.Tamper(t, fs, "db/gen-000001", only(inBundle, 1, flip(65*77+40))())
	r := check(t, fs, "db")
	for _, f := range r.Findings {
		if f.Space == fsck.Operations && f.Problem == fsck.Different && f.From == 256+72 && f.To == 256+80 {
			return
		}
	}
	t.Errorf("operations 328 to 335 are not named:\n%s", lines(r))
}

func TestAcknowledgedOperationsThatAreMissingAreFound(t *testing.T) {
	c := codecs[0]
	fs := store.MemFS()
	write(t, fs, "db", c, 10)
	state := storetest.ReadFile(t, fs, "db/HEAD")
	write(t, fs, "db", c, 10) // both slots are of this state or the one before
	ahead := storetest.ReadFile(t, fs, "db/HEAD")
	if bytes.Equal(state, ahead) {
		t.Fatal("HEAD did not move")
	}
	other := store.MemFS()
	write(t, other, "db", c, 10)
	storetest.WriteFile(t, other, "db/HEAD", ahead)
	r := check(t, other, "db")
	if r.Clean() || r.Findings[0].Space != fsck.Head || r.Repairable() {
		t.Errorf("clean %v:\n%s", r.Clean(), lines(r))
	}
}

func TestAHeadThatIsBehindIsComparedToo(t *testing.T) {
	c := codecs[2]
	fs, other := store.MemFS(), store.MemFS()
	write(t, fs, "db", c, 10)
	old := storetest.ReadFile(t, fs, "db/HEAD")
	write(t, fs, "db", c, 10)
	storetest.WriteFile(t, fs, "db/HEAD", old)
	wantClean(t, check(t, fs, "db"))
	write(t, other, "db", c, 4, 5, 20) // another history, with a commit where that one had one
	storetest.WriteFile(t, other, "db/HEAD", old)
	r := check(t, other, "db")
	if len(r.Findings) != 1 || r.Findings[0].Space != fsck.Head || r.Findings[0].Problem != fsck.Different || r.Findings[0].To != 12 {
		t.Errorf("findings:\n%s", lines(r))
	}
}
