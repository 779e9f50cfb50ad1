package store

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestTheAcceptedCheckpointIsDurableWhenItIsKept(t *testing.T) {
	fs := vfs.NewCrashableMem()
	o := Options{FS: fs, Create: true, Identity: Identity{Database: "any/fixed", OpSize: 65}}
	d, err := OpenDir("db", o)
	if err != nil {
		t.Fatal(err)
	}
	if note, err := d.ReadCheckpoint(); note != nil || err != nil {
		t.Fatalf("a new directory remembers %q, %v", note, err)
	}
	for _, note := range []string{"first", "second"} {
		if err := d.KeepCheckpoint([]byte(note)); err != nil {
			t.Fatal(err)
		}
		// The power is cut: nothing that was not synced is there.
		o.FS = fs.CrashClone(vfs.CrashCloneCfg{})
		after, err := OpenDir("db", o)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := after.ReadCheckpoint(); string(got) != note || err != nil {
			t.Errorf("after a power cut %q, %v; want %q", got, err, note)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, note := range [][]byte{nil, make([]byte, mostCheckpoint+1)} {
		if err := d.KeepCheckpoint(note); err == nil {
			t.Errorf("%d bytes are kept", len(note))
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, garbage := range [][]byte{{}, make([]byte, mostCheckpoint+1)} {
		if err := writeFile(fs, "db", checkpointName, garbage); err != nil {
			t.Fatal(err)
		}
		if note, err := readCheckpoint(fs, "db"); err == nil {
			t.Errorf("%d bytes are read as %d", len(garbage), len(note))
		}
	}
}

func TestADirectoryThatWasSetAsideKeepsItsEpochAndItsCheckpoint(t *testing.T) {
	identity := Identity{Database: "any/fixed", OpSize: 65}
	for _, epoch := range []uint64{0, 3} {
		mem := vfs.NewCrashableMem()
		d, err := OpenDir("db", Options{FS: mem, Create: true, Identity: identity})
		if err != nil {
			t.Fatal(err)
		}
		g, err := d.CreateGeneration(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(d.SetCurrent(g.Number()), g.Close(), d.RaiseEpoch(epoch), d.KeepCheckpoint([]byte("note")), d.Close())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := QuarantineDir(mem, "db", []byte("why")); err != nil {
			t.Fatal(err)
		}
		for _, fs := range []FS{mem, mem.CrashClone(vfs.CrashCloneCfg{})} {
			d, err := OpenDir("db", Options{FS: fs, Create: true, Identity: identity})
			if err != nil {
				t.Fatal(err)
			}
			note, err := d.ReadCheckpoint()
			if d.Epoch() != epoch || d.Current() != 0 || string(note) != "note" || err != nil {
				t.Errorf("epoch %d, generation %d, note %q, %v; want epoch %d", d.Epoch(), d.Current(), note, err, epoch)
			}
			aside := names(t, fs, "db/quarantine")
			if len(aside) != 2 || len(names(t, fs, "db/quarantine/"+aside[0])) < 2 {
				t.Errorf("set aside: %q", aside)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestABackupAndWhatIsRestoredFromItRememberTheCheckpoint(t *testing.T) {
	for _, note := range [][]byte{nil, []byte("note")} {
		fs := MemFS()
		d := openDir(t, fs, fixedIdentity)
		l := newLog(t, d, fixedIdentity)
		l.append(3, 0)
		l.commit(true)
		if note != nil {
			if err := d.KeepCheckpoint(note); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := d.Backup(t.Context(), l.g, "backup", nil); err != nil {
			t.Fatal(err)
		}
		l.close()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), RestoreOptions{From: "backup", To: "restored", FS: fs}); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"backup", "restored"} {
			if got, err := readCheckpoint(fs, dir); !bytes.Equal(got, note) || err != nil {
				t.Errorf("%s remembers %q, %v; want %q", dir, got, err, note)
			}
		}
	}
}

func TestADirectoryThatHoldsNothingButACheckpointMayBecomeADatabase(t *testing.T) {
	fs := MemFS()
	if err := errors.Join(mkdirAll(fs, "db"), writeFile(fs, "db", checkpointName, []byte("note")), writeFile(fs, "db", checkpointName+".tmp", []byte("no"))); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir("db", Options{FS: fs, Create: true, Identity: fixedIdentity})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if note, err := d.ReadCheckpoint(); string(note) != "note" || err != nil {
		t.Errorf("remembers %q, %v", note, err)
	}
}
