package store

import (
	"strings"
	"testing"
	"time"
)

func TestAMarkOfDamageIsKeptForItsGeneration(t *testing.T) {
	fs := MemFS()
	d := openDir(t, fs, fixedIdentity)
	g, err := d.CreateGeneration(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetCurrent(g.Number()); err != nil {
		t.Fatal(err)
	}
	d.MarkDamaged(Mark{Generation: g.Number(), Time: time.Unix(1, 0).UTC(), Error: strings.Repeat("x", 1<<20)})
	d.MarkDamaged(Mark{Generation: g.Number() + 1, Error: "another generation"})
	reopen := func() {
		t.Helper()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = openDir(t, fs, fixedIdentity)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	reopen()
	if m := d.Marked(); m == nil || m.Generation != 1 || !m.Time.Equal(time.Unix(1, 0)) || !strings.HasPrefix(m.Error, "xxx") || len(m.Error) > 2<<10 {
		t.Fatalf("remembered: %+v", m)
	}
	// What cannot be read counts.
	if err := writeFile(fs, d.path, damageName, []byte("{")); err != nil {
		t.Fatal(err)
	}
	reopen()
	if m := d.Marked(); m == nil || m.Generation != 1 {
		t.Fatalf("a torn mark: %+v", m)
	}
	// Another generation was never found to be damaged.
	if err := d.SetCurrent(2); err != nil {
		t.Fatal(err)
	}
	if m := d.Marked(); m != nil {
		t.Errorf("after the switch: %+v", m)
	}
	if _, err := fs.Stat(d.join(damageName)); !isNotExist(err) {
		t.Errorf("its file is left: %v", err)
	}
	// Nor does one that a crash has left beside it say anything.
	if err := writeFile(fs, d.path, damageName, []byte(`{"generation": 1}`)); err != nil {
		t.Fatal(err)
	}
	reopen()
	if m := d.Marked(); m != nil {
		t.Errorf("of another generation: %+v", m)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
