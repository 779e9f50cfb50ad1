package crash

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is the store with one mistake.
type mutant struct {
	name      string
	file      string // of pkg/store, or relative to it
	old, with string // occurs once
	run       string // tests that have to turn red
}

const (
	powerCuts = "^TestNothingIsLostByAPowerCut$/"
	switches  = "^TestAGenerationIsNotRemovedBeforeAnotherIsInUse$"
	failures  = "^TestAFailingDiskIsReportedAndNothingIsLost$/"
)

// mutants leave out what makes things durable, each in one place.
//
// Not among them, because no test turned red without them: the syncs of a new
// generation, of truncating, of a generation's removal and of the folder of new
// tables. As far as reading the code tells, what they make durable is made so again
// by the commit, by CURRENT or by pebble before anything is acknowledged, and they
// bound what has to be done again. An older HEAD notices less and loses nothing.
//
// Failures that nobody misses when they are ignored: of closing a small file, which
// was synced before, and of the first commit of a generation, without which the
// storage engine's log fails and the process has ended.
var mutants = []mutant{
	{"CURRENT is not synced", "../../internal/durable/durable.go", "err = f.Sync()", "err = nil", powerCuts + "creation"},
	{"CURRENT's name is not synced", "../../internal/durable/durable.go", "return SyncDir(fsys, fsys.PathDir(path))", "return nil", powerCuts + "creation"},
	{"the storage directory's name is not synced", "current.go", "syncDir(fs, fs.PathDir(p))", "syncDir(fs, p)", powerCuts + "creation"},
	{"small commits are not synced", "writer.go", "w.batch.Commit(pebble.Sync)", "w.batch.Commit(pebble.NoSync)", powerCuts + "commit_any"},
	{"markers come before what they name", "pebblefs.go", "syncDir(f.FS, f.PathDir(name))", "error(nil)", powerCuts + "(commit|prune|restart_after|moving)"},
	{"a directory cannot be looked at and is taken for there", "current.go", "		if !isNotExist(err) {\n			return err\n		}\n", "		if !isNotExist(err) {\n			break\n		}\n", failures + "creation"},
	{"a replaced generation goes before the new one is in use", "../database/load.go",
		"		if err := d.dir.SetCurrent(l.g.Number()); err != nil {\n",
		"		if d.gen != nil {\n			if err := d.dir.Remove(d.gen.Number()); err != nil {\n				return Commit{}, l.fail(err)\n			}\n		}\n		if err := d.dir.SetCurrent(l.g.Number()); err != nil {\n", switches},
	{"an interrupted switch removes before it names", "../database/database.go",
		"	if err := d.dir.SetCurrent(n); err != nil || old == 0 {\n		return err\n	}\n	return d.dir.Remove(old)\n",
		"	if err := d.dir.Remove(old); err != nil {\n		return err\n	}\n	return d.dir.SetCurrent(n)\n", switches},
	{"a repair removes before it names", "../fsck/repair.go",
		"	if err := d.SetCurrent(g.Number()); err != nil {\n", "	if err := errors.Join(d.Remove(n), d.SetCurrent(g.Number())); err != nil {\n", switches},
	{"the lock file of a restore is not durable", "target.go", "errors.Join(syncDir(fs, t.temp), syncDir(fs, fs.PathDir(t.temp)))", "error(nil)", powerCuts + "restore"},
	{"a failure to copy a backup's files is ignored", "backup.go", "if err := errors.Join(copying.folder(ctx, from, path), release()); err != nil {\n", "if err := errors.Join(copying.folder(ctx, from, path), release()); err != nil && from == \"\" {\n", failures + "backup"},
	{"a failure to take in tables is ignored", "bulk.go", "return classify(\"take in \"+b.dir, err)", "_ = err\n	return nil", failures + "bulk"},
	{"a failed write of a small file is ignored", "../../internal/durable/durable.go", "_, err = f.Write(", "_, _ = f.Write(", failures + "creation"},
	{"a failed rename of a small file is ignored", "../../internal/durable/durable.go", "	if err := fsys.Rename(path+Temporary, path); err != nil {\n		return err\n	}\n", "	_ = fsys.Rename(path+Temporary, path)\n", failures + "creation"},
	{"a failed sync of a directory is ignored", "../../internal/durable/durable.go", "	return errors.Join(d.Sync(), d.Close())", "	_ = d.Sync()\n	return d.Close()", failures + "creation"},
	{"a mark of damage that cannot be read is taken for none", "../../internal/durable/durable.go", "	if err != nil {\n		return nil, err\n	}\n	defer", "	if err != nil {\n		return nil, nil\n	}\n	defer", failures + "creation"},
	{"a failed write of HEAD is ignored", "head.go", "int64(seq%2)*slotSpace); err != nil {", "int64(seq%2)*slotSpace); false {", failures + "creation"},
	{"a failed sync of HEAD is ignored", "head.go", "	if err := w.f.Sync(); err != nil {", "	if err := w.f.Sync(); false {", failures + "creation"},
	{"logs may fail", "pebblefs.go", "err != nil && f.running.Load() && f.vital(name)", "false", failures + "creation"},
}

// A test that never failed has not been tested: leaving out a sync has to turn
// the tests red. It takes minutes, so it runs only when it is asked for.
func TestEverySyncIsNeeded(t *testing.T) {
	if os.Getenv("PROOFSYNC_MUTANTS") == "" {
		t.Skip("PROOFSYNC_MUTANTS=1 takes syncs out of the store, one by one, and expects red tests")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			out, red := m.tested(t)
			if !red {
				t.Errorf("nobody noticed\n%s", out)
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, "_test.go:") || strings.Contains(line, "panic:") {
					t.Logf("%.400s", strings.TrimSpace(line))
					break
				}
			}
		})
	}
}

// tested runs the tests on a mutant and says whether they turned red.
func (m mutant) tested(t *testing.T) (out string, red bool) {
	t.Helper()
	original, err := filepath.Abs(filepath.Join("..", "..", "pkg", "store", m.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Fatalf("%s has %q %d times", m.file, m.old, n)
	}
	folder := t.TempDir()
	broken, overlay := filepath.Join(folder, "broken.go"), filepath.Join(folder, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: broken}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{broken: []byte(strings.Replace(string(text), m.old, m.with, 1)), overlay: replace} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-count=1", "-vet=off", "-failfast", "-overlay", overlay, "-run", m.run, ".")
	cmd.Env = append(os.Environ(), "PROOFSYNC_CRASH=all", alone+"=1")
	b, err := cmd.CombinedOutput()
	if strings.Contains(string(b), "[build failed]") {
		t.Fatalf("it does not build:\n%s", b)
	}
	if strings.Contains(string(b), "no tests to run") {
		t.Fatalf("no test is called %s", m.run)
	}
	return string(b), err != nil
}
