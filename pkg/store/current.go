package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/internal/durable"
)

const (
	currentName = "CURRENT"
	loadSuffix  = ".load" // tables of a commit under way
	dropSuffix  = ".drop" // a generation that is being deleted
)

// dirMode is that of directories made here: what is stored is nobody else's business,
// whatever the modes of the files inside.
const dirMode = 0o700

// current is the content of the file CURRENT: readable text, replaced by
// rename. docs/format.md section 1.
type current struct {
	database   string
	generation uint64 // 0: none in use yet
	epoch      uint64 // 0: none was ever declared
}

func generationName(n uint64) string { return fmt.Sprintf("gen-%06d", n) }

func parseGeneration(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, "gen-")
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, ok && err == nil && n > 0 && generationName(n) == name
}

func (c current) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "proofsync %d\ndatabase %s\ngeneration %d\n", FormatVersion, c.database, c.generation)
	if c.epoch > 0 {
		fmt.Fprintf(&b, "epoch %d\n", c.epoch)
	}
	fmt.Fprintf(&b, "checksum %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

func (c current) write(fs FS, dir string) error {
	if err := writeFile(fs, dir, currentName, c.encode()); err != nil {
		return fmt.Errorf("write %s: %w", fs.PathJoin(dir, currentName), err)
	}
	return nil
}

// ReadIdentity returns what a directory was made for, without opening or
// locking it. Errors: ErrNotFound, ErrForeign, ErrCorrupt, *VersionError.
func ReadIdentity(fs FS, dir string) (database string, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	c, err := readCurrent(fs, dir)
	if errors.Is(err, ErrNotFound) {
		names, e := fs.List(dir)
		if e == nil {
			e = generationsWithout(dir, names)
		}
		if errors.Is(e, ErrCorrupt) {
			err = e
		}
	}
	return c.database, err
}

// generationsWithout is the error that a directory without CURRENT has
// generations: CURRENT is written before them.
func generationsWithout(dir string, names []string) error {
	for _, name := range names {
		if _, ok := parseGeneration(name); ok {
			return corrupt(dir, "%s is there, the file %s is missing", name, currentName)
		}
	}
	return nil
}

func readCurrent(fs FS, dir string) (current, error) {
	path := fs.PathJoin(dir, currentName)
	f, err := fs.Open(path)
	if isNotExist(err) {
		return current{}, fmt.Errorf("%w: %s", ErrNotFound, dir)
	}
	if err != nil {
		return current{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return current{}, fmt.Errorf("read %s: %w", path, err)
	}
	var c current
	fields := map[string]string{}
	body := data
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), " ")
		fields[name] = value
	}
	if len(data) == 0 {
		return c, corrupt(path, "it is empty")
	}
	version, err := strconv.Atoi(fields["proofsync"])
	if err != nil {
		return c, fmt.Errorf("%w: %s is not a file of ours", ErrForeign, path)
	}
	if version < OldestFormatVersion || version > FormatVersion {
		return c, &VersionError{Dir: dir, Held: version}
	}
	if i := bytes.Index(body, []byte("checksum ")); i >= 0 {
		body = body[:i]
	}
	if sum := fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)); sum != fields["checksum"] {
		return c, corrupt(path, "checksum %q, computed %s", fields["checksum"], sum)
	}
	c.database = fields["database"]
	if c.generation, err = strconv.ParseUint(fields["generation"], 10, 63); err != nil || c.database == "" {
		return c, corrupt(path, "database %q generation %q", c.database, fields["generation"])
	}
	if epoch, ok := fields["epoch"]; ok {
		if c.epoch, err = strconv.ParseUint(epoch, 10, 63); err != nil || c.epoch == 0 {
			return c, corrupt(path, "epoch %q", epoch)
		}
	}
	return c, nil
}

// writeFile replaces a file by rename, durably.
func writeFile(fs FS, dir, name string, data []byte) error {
	return durable.Replace(fs, fs.PathJoin(dir, name), data)
}

// removeFile removes a file, durably, if there is one.
func removeFile(fs FS, dir, name string) error {
	path := fs.PathJoin(dir, name)
	if err := fs.Remove(path); err != nil {
		if isNotExist(err) {
			return nil
		}
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return syncDir(fs, dir)
}

// mkdirAll makes a directory and those above it, durably: a directory whose
// name is lost in a crash takes everything in it along.
func mkdirAll(fs FS, path string) error {
	var made []string
	for p := path; ; p = fs.PathDir(p) {
		_, err := fs.Stat(p)
		if err == nil {
			break
		}
		if !isNotExist(err) {
			return err
		}
		made = append(made, p)
		if fs.PathDir(p) == p || fs.PathDir(p) == "." {
			break
		}
	}
	if err := fs.MkdirAll(path, dirMode); err != nil {
		return err
	}
	for _, p := range made {
		if err := syncDir(fs, fs.PathDir(p)); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes created, renamed and removed names durable.
func syncDir(fs FS, dir string) error { return durable.SyncDir(fs, dir) }
