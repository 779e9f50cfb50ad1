package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/proofsync/proofsync/internal/durable"
)

// quarantineName is the folder of damaged data that was set aside.
const quarantineName = "quarantine"

// evidenceSuffix ends the name of the file that says why something was set aside.
const evidenceSuffix = ".json"

func isEvidence(name string) bool { return strings.HasSuffix(name, evidenceSuffix) }

// quarantined is the name under which something is set aside now.
func quarantined(name string) string {
	return name + "-" + time.Now().UTC().Format("20060102T150405Z")
}

// Quarantine sets a generation aside that nobody has open: it is renamed into the
// folder quarantine, durably, with a file beside it that says why. It takes the
// place of what was set aside before: damaged data must not fill the disk.
// The path is where it is now.
func (d *Dir) Quarantine(n uint64, evidence []byte) (path string, err error) {
	name := generationName(n)
	return quarantine(d.fs, d.path, []string{name}, quarantined(name), false, evidence)
}

// QuarantineDir sets everything aside that a damaged directory holds: CURRENT,
// HEAD and all generations. What is left can be opened, and is an empty replica,
// of the epoch that was recorded, if that can be read, and with the signed target
// that was accepted last. Nobody may have the directory open (*LockedError).
func QuarantineDir(fs FS, path string, evidence []byte) (where string, err error) {
	fs = orDefault(fs)
	lock, err := fs.Lock(fs.PathJoin(path, "LOCK"))
	if err != nil {
		if durable.IsLocked(err) {
			return "", &LockedError{Dir: path, Holder: holder(fs, fs.PathJoin(path, "LOCK"))}
		}
		return "", fmt.Errorf("lock storage directory: %w", err)
	}
	defer lock.Close()
	names, err := fs.List(path)
	if err != nil {
		return "", fmt.Errorf("read storage directory: %w", err)
	}
	// CURRENT goes last: until then it names a generation that is not there, so
	// what a crash leaves is damaged, too, and set aside again.
	var move []string
	last := []string{}
	for _, name := range names {
		switch _, generation := parseGeneration(name); {
		case generation, name == "HEAD":
			move = append(move, name)
		case name == currentName:
			last = append(last, name)
		}
	}
	// What was acknowledged is not forgotten with it, so far as that can be read.
	if h, _, ok, err := readHead(fs, fs.PathJoin(path, "HEAD")); err == nil && ok && h.Size > 0 {
		if err := keepLost(fs, path, Lost{h.Size, h.Root}); err != nil {
			return "", err
		}
	}
	as := quarantined("all")
	c, err := readCurrent(fs, path)
	if err != nil || c.epoch == 0 {
		return quarantine(fs, path, append(move, last...), as, true, evidence)
	}
	// CURRENT is copied and replaced in one step instead: no crash loses the epoch.
	if where, err = quarantine(fs, path, move, as, true, evidence); err != nil {
		return "", err
	}
	if err := c.write(fs, where); err != nil {
		return "", err
	}
	c.generation = 0
	return where, c.write(fs, path)
}

// quarantine moves names of dir to the folder quarantine: into a folder of the name
// as, or the only one of them under that name.
func quarantine(fs FS, dir string, names []string, as string, inside bool, evidence []byte) (string, error) {
	folder := fs.PathJoin(dir, quarantineName)
	path := fs.PathJoin(folder, as)
	err := clearQuarantine(fs, folder)
	if err == nil {
		err = mkdirAll(fs, folder)
	}
	into := folder
	if err == nil && inside {
		into, err = path, mkdirAll(fs, path)
	}
	for _, name := range names {
		to := path
		if inside {
			to = fs.PathJoin(path, name)
		}
		if err == nil {
			err = fs.Rename(fs.PathJoin(dir, name), to)
		}
	}
	if err == nil {
		err = errors.Join(syncDir(fs, into), syncDir(fs, dir))
	}
	if err == nil {
		err = writeFile(fs, folder, as+evidenceSuffix, evidence)
	}
	if err != nil {
		return "", fmt.Errorf("set damaged data aside in %s: %w", path, err)
	}
	return path, nil
}

// clearQuarantine removes what was set aside before.
func clearQuarantine(fs FS, folder string) error {
	names, err := fs.List(folder)
	if isNotExist(err) {
		return nil
	}
	for _, name := range names {
		err = errors.Join(err, fs.RemoveAll(fs.PathJoin(folder, name)))
	}
	return err
}

// Abandon makes no generation the one in use, durably: what was acknowledged is
// no longer there. The caller sets the generation aside.
func (d *Dir) Abandon() error {
	d.Acknowledge(Head{})
	if err := d.flushHead(); err != nil {
		return err
	}
	d.mu.Lock()
	d.newest = max(d.newest, d.generation)
	d.mu.Unlock()
	return d.SetCurrent(0)
}
