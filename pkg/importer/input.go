package importer

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/proofsync/proofsync/pkg/operation"
)

// Format is the syntax of an imported file.
type Format string

// Formats. Auto goes by the file's name.
const (
	Auto  Format = ""
	JSONL Format = "jsonl"
	CSV   Format = "csv"
)

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case Auto, JSONL, CSV:
		return f, nil
	}
	return Auto, fmt.Errorf("format %q: jsonl or csv expected", s)
}

// formatOf goes by the name without .gz.
func formatOf(path string) Format {
	switch strings.ToLower(filepath.Ext(strings.TrimSuffix(path, ".gz"))) {
	case ".jsonl", ".ndjson":
		return JSONL
	case ".csv":
		return CSV
	}
	return Auto
}

// maxRecord bounds the bytes of one line or CSV record. The largest operation
// fits even if JSON escapes each of its bytes.
const maxRecord = 32 << 20

// input is one path of an import. records may be called several times and
// then yields the same records; an error of fn ends it and is returned.
type input interface {
	name() string
	records(ctx context.Context, fn func(*record) error) error
	skipped() int64 // files passed over by the last call of records
	close()
}

// openInputs opens every path before the first is read, so that a missing one
// is known at once. The inputs returned with an error are to be closed too.
func openInputs(ctx context.Context, o Options, codec operation.Codec) ([]input, error) {
	var inputs []input
	for _, path := range o.Paths {
		in, err := openInput(ctx, path, o, codec)
		if err != nil {
			return inputs, err
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

func openInput(ctx context.Context, path string, o Options, codec operation.Codec) (input, error) {
	format := Format(o.Format)
	if path == "-" {
		return spool(ctx, "standard input", o.Stdin, format, o.TempDir)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if info.IsDir() {
		return &tree{root: path, codec: codec}, nil
	}
	if format == Auto {
		format = formatOf(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.Mode().IsRegular() { // a pipe or a device cannot be read twice
		defer f.Close()
		return spool(ctx, path, f, format, o.TempDir)
	}
	if format == Auto {
		f.Close()
		return nil, &InputError{File: path, Reason: "unknown format: a name ending in .jsonl, .ndjson or .csv (and .gz), or the format by option, expected"}
	}
	return &file{path: path, file: f, format: format, gzip: strings.HasSuffix(path, ".gz")}, nil
}

// unreadable is the InputError for an error of the file system.
func unreadable(path string, err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return &InputError{File: path, Reason: err.Error()}
}

// file is a regular file of records.
type file struct {
	path   string
	file   *os.File
	format Format
	gzip   bool
	remove bool // a spooled copy
}

// spool copies a stream to a temporary file.
func spool(ctx context.Context, name string, r io.Reader, format Format, dir string) (input, error) {
	if format == Auto {
		format = JSONL
	}
	f, err := createTemp(dir)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", name, err)
	}
	spooled := &file{path: name, file: f, format: format, remove: true, gzip: strings.HasSuffix(name, ".gz")}
	if _, err := io.Copy(f, &contextReader{ctx: ctx, r: r}); err != nil {
		spooled.close()
		return nil, fmt.Errorf("spool %s: %w", name, err)
	}
	return spooled, nil
}

// createTemp makes a temporary file and removes its name at once where the
// system allows it, so that not even a killed process leaves one behind. Where
// it does not, the file is removed when it is closed.
func createTemp(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "proofsync-import-*")
	if err == nil {
		os.Remove(f.Name())
	}
	return f, err
}

func (f *file) name() string   { return f.path }
func (f *file) skipped() int64 { return 0 }

func (f *file) close() {
	f.file.Close()
	if f.remove {
		os.Remove(f.file.Name())
	}
}

func (f *file) records(ctx context.Context, fn func(*record) error) error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return unreadable(f.path, err)
	}
	var r io.Reader = &contextReader{ctx: ctx, r: f.file}
	if f.gzip {
		z, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			return unreadable(f.path, err)
		}
		r = z
	}
	if f.format == CSV {
		return readCSV(f.path, r, fn)
	}
	return readJSONL(f.path, r, fn)
}

// contextReader ends with the context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// readError passes a cancelled context through and blames the file otherwise.
func readError(path string, line int64, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := func() *InputError {
		target := &InputError{}
		_ = errors.As(unreadable(path, err), &target)
		return target
	}()
	e.Line = line
	return e
}
