// Package vectors holds what other implementations of the format were recorded
// to do, for tests to compare with: wire captures of the reference server and
// client, batches with the operations, roots and proofs they led to, near
// misses of operation encodings, and the published conformance hashes with the
// generators of their inputs (format.md section 7).
//
// Only tests import it, so none of its data gets into a binary. It imports
// nothing of this module, so every package's tests can use it; bytes are
// slices, digests are arrays and codecs are named by their strings. Values
// returned are shared between callers and must not be changed.
//
//	testdata/captures.tar.zst -> Captures
//	testdata/database.tar.zst -> Workloads, ProofWorkloads, OperationCodecs, Published
//	seed -> Arbitrary, KeyedBatches, ImmutableBatches -> case -> Conformance.Check
//
// The archives are written by the command in pack.
package vectors

import (
	"archive/tar"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

//go:embed testdata/*.tar.zst
var archives embed.FS

// TB is the part of testing.TB that the loaders need.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

type file struct {
	name string // without its extension
	data []byte
}

// unpack reads all files of an archive, in the archive's order.
func unpack(name string) ([]file, error) {
	f, err := archives.Open("testdata/" + name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var files []file
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, h.Name, err)
		}
		files = append(files, file{strings.TrimSuffix(h.Name, ".json"), data})
	}
}

var databaseFiles = sync.OnceValues(func() (map[string][]byte, error) {
	files, err := unpack("database.tar.zst")
	m := make(map[string][]byte, len(files))
	for _, f := range files {
		m[f.name] = f.data
	}
	return m, err
})

// decodeDatabaseFile reads a file of the database archive as JSON.
func decodeDatabaseFile(name string, v any) error {
	files, err := databaseFiles()
	if err != nil {
		return err
	}
	data, ok := files[name]
	if !ok {
		return fmt.Errorf("no vectors %q", name)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("vectors %q: %w", name, err)
	}
	return nil
}

// Bytes are hexadecimal in JSON.
type Bytes []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	*b = make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(*b, text)
	return err
}

// Digest is 32 bytes, hexadecimal in JSON.
type Digest [32]byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("digest %q", text)
	}
	_, err := hex.Decode(d[:], text)
	return err
}
