package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Transfer counts what a backup or a restore has taken over.
type Transfer struct {
	Files  int
	Bytes  int64 // of all files
	Linked int64 // of those, bytes shared with where they come from, by hard links
}

// transfer takes over the files of a generation.
type transfer struct {
	Transfer
	fs       FS
	link     bool // share tables, which never change, where the file system can
	progress func(done, total int64)

	total int64
	buf   []byte
}

// copyBuffer is how much is read at a time, and between two looks at the context.
const copyBuffer = 1 << 20

// folder takes over a generation's files, durably.
func (t *transfer) folder(ctx context.Context, from, to string) error {
	names, err := t.fs.List(from)
	if err != nil {
		return err
	}
	files := names[:0]
	for _, name := range names {
		info, err := t.fs.Stat(t.fs.PathJoin(from, name))
		if err != nil {
			return err
		}
		if name == "LOCK" || info.IsDir() {
			continue
		}
		t.total += info.Size()
		files = append(files, name)
	}
	if err := t.fs.MkdirAll(to, dirMode); err != nil {
		return err
	}
	for _, name := range files {
		if err := t.file(ctx, t.fs.PathJoin(from, name), t.fs.PathJoin(to, name)); err != nil {
			return err
		}
	}
	return syncDir(t.fs, to)
}

// file takes over one file. Only tables are shared: the others are written to by
// whoever opens the directory they lie in.
func (t *transfer) file(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.Files++
	if t.link && filepath.Ext(from) == ".sst" {
		if err := t.fs.Link(from, to); err == nil {
			info, err := t.fs.Stat(to)
			if err != nil {
				return err
			}
			t.Linked += info.Size()
			t.count(info.Size())
			return nil
		}
		t.link = false // another file system, or one without links: the next one would fare no better
	}
	return t.copy(ctx, from, to)
}

// copy copies a file, durably.
func (t *transfer) copy(ctx context.Context, from, to string) (err error) {
	src, err := t.fs.Open(from, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := t.fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if t.buf == nil {
		t.buf = make([]byte, copyBuffer)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := src.Read(t.buf)
		if n > 0 {
			if _, err := dst.Write(t.buf[:n]); err != nil {
				return fmt.Errorf("write %s: %w", to, err)
			}
			t.count(int64(n))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
	}
	if err := dst.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return nil
}

func (t *transfer) count(n int64) {
	t.Bytes += n

	if t.progress != nil {
		t.progress(t.Bytes, t.total)
	}
}
