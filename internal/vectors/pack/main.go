// Command pack writes the archives that package vectors embeds:
//
//	go run ./internal/vectors/pack DIR
//
// run from the module's root. DIR is a directory of vectors as recorded from
// the published peers (commonware-sync and commonware-storage 2026.7.1):
// conformance.json, and below vectors/ the captures (*.json) and the database
// workloads (database/*.json). Files of families this module does not have are
// left out, and so is what captures say twice (the decoded form of their
// frames). The same input gives the same archives.
package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const out = "internal/vectors/testdata"

var databases = []string{
	"any_fixed", "any_variable_bytes", "immutable_fixed", "immutable_variable_bytes", "op_codecs", "proofs",
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./internal/vectors/pack DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string) error {
	captures, err := filepath.Glob(filepath.Join(dir, "vectors", "*.json"))
	if err != nil {
		return err
	}
	if len(captures) == 0 {
		return fmt.Errorf("no captures in %s", filepath.Join(dir, "vectors"))
	}
	// Next to each other, a capture and the negative cases derived from it
	// share most of their bytes.
	slices.SortFunc(captures, func(a, b string) int {
		a, b = filepath.Base(a), filepath.Base(b)
		if c := strings.Compare(strings.TrimPrefix(a, "negative-"), strings.TrimPrefix(b, "negative-")); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	if err := pack("captures.tar.zst", captures); err != nil {
		return err
	}
	files := []string{filepath.Join(dir, "conformance.json")}
	for _, name := range databases {
		files = append(files, filepath.Join(dir, "vectors", "database", name+".json"))
	}
	return pack("database.tar.zst", files)
}

func pack(name string, files []string) (err error) {
	f, err := os.Create(filepath.Join(out, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(32<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if data, err = strip(data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := t.WriteHeader(&tar.Header{Name: filepath.Base(path), Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		if _, err := t.Write(data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// strip drops the decoded form of the frames from a capture and writes the
// document without white space; every other value stays as it is.
func strip(data []byte) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if raw, ok := doc["cases"]; ok {
		var cases []map[string]json.RawMessage
		if err := json.Unmarshal(raw, &cases); err != nil {
			return nil, err
		}
		for _, c := range cases {
			delete(c, "decoded")
		}
		var err error
		if doc["cases"], err = json.Marshal(cases); err != nil {
			return nil, err
		}
	}
	return json.Marshal(doc)
}
