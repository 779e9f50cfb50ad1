package fsck_test

import (
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestWhatIsRightIsClean(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			fs := store.MemFS()
			live := write(t, fs, "writer", c, 0, 1, 300, 20_000, 7, 255, 600)
			r := check(t, fs, "writer")
			wantClean(t, r)
			g := r.Generations[0]
			if g.LiveKeys != uint64(live) || g.Operations != g.Size || g.Notes != 7 || g.Tiles != g.Size/256 || r.Head == nil || r.Head.Root != g.Root {
				t.Errorf("%d live keys, want %d; %+v", g.LiveKeys, live, g)
			}
			for name, start := range map[string]func(*database.View) uint64{
				"all":   func(*database.View) uint64 { return 0 },
				"floor": func(v *database.View) uint64 { return v.Floor() },
				"odd":   func(v *database.View) uint64 { return v.Floor() / 3 },
			} {
				replicate(t, fs, "writer", name, c, start)
				r := check(t, fs, name)
				wantClean(t, r)
				if h := r.Generations[0]; h.Root != g.Root || h.Size != g.Size || name != "odd" && h.LiveKeys != g.LiveKeys && c.Family().String() == "any" {
					t.Errorf("%s: %+v, want %+v", name, h, g)
				}
			}
		})
	}
}
