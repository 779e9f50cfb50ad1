package importer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/proofsync/proofsync/pkg/operation"
)

// tree is a directory: its files are the records.
type tree struct {
	root   string
	codec  operation.Codec
	passed int64

	content []byte // of the file at hand
}

func (t *tree) name() string   { return t.root }
func (t *tree) skipped() int64 { return t.passed }
func (t *tree) close()         {}

func (t *tree) records(ctx context.Context, fn func(*record) error) error {
	t.passed = 0
	// A root that is a symbolic link was named on purpose; those below it are not followed.
	root, err := filepath.EvalSymlinks(t.root)
	if err != nil {
		return unreadable(t.root, err)
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return readError(path, 0, err)
		}
		if entry.IsDir() {
			return nil
		}
		if !entry.Type().IsRegular() {
			t.passed++
			return nil
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return readError(path, 0, err)
		}
		value, err := t.read(ctx, path)
		if err != nil {
			return err
		}
		return fn(&record{
			file:  path,
			key:   field{bytes: []byte(filepath.ToSlash(relative))},
			value: field{bytes: value, raw: true},
		})
	})
}

// read returns the content of a file, or the digest of it in the encoding fixed.
func (t *tree) read(ctx context.Context, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	r := &contextReader{ctx: ctx, r: f}
	if t.codec.Encoding() == operation.Fixed {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return nil, readError(path, 0, err)
		}
		return h.Sum(t.content[:0]), nil
	}
	// One byte more than may be stored, so that a file growing meanwhile is seen.
	limited := io.LimitReader(r, operation.MaxOperation+1)
	t.content = t.content[:0]
	for {
		if len(t.content) == cap(t.content) {
			t.content = append(t.content, 0)[:len(t.content)]
		}
		n, err := limited.Read(t.content[len(t.content):cap(t.content)])
		t.content = t.content[:len(t.content)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, readError(path, 0, err)
		}
	}
	if len(t.content) > operation.MaxOperation {
		return nil, &InputError{File: path, Reason: fmt.Sprintf(
			"file larger than an operation may be (%d bytes); the encoding fixed stores digests of files of any size", operation.MaxOperation)}
	}
	return t.content, nil
}
