// Package exporter writes keys and values as files that pkg/importer reads back
// to the same keys and values. It knows no database: whoever has one walks it.
//
//	keys, values (as stored) --Writer--> JSON Lines or CSV --importer--> the same, as stored
//
// In JSON Lines a key or value is text where it is valid UTF-8, and base64 where
// it is not. CSV has one notation for a whole column: base64, or text if every
// record is known to be some. In the encoding fixed, where keys and values are 32
// bytes that an import would hash if they were text, everything is base64.
package exporter

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/proofsync/proofsync/pkg/operation"
)

// Format is the syntax of an exported file.
type Format string

// Formats.
const (
	JSONL Format = "jsonl"
	CSV   Format = "csv"
)

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case JSONL, CSV:
		return f, nil
	}
	return "", fmt.Errorf("format %.40q: jsonl or csv expected", s)
}

// ErrNotText: a key or value cannot be written as text in CSV so that it would
// be read back the same.
var ErrNotText = errors.New("is no text that CSV can hold (UTF-8 without carriage returns)")

// Options configure a Writer.
type Options struct {
	Format   Format
	Encoding operation.Encoding // of the database that the records are of
	// Text makes the columns of CSV key and value, in text, instead of
	// key_base64 and value_base64. A record that is none is ErrNotText. It is
	// for the encoding variable only.
	Text bool
}

// Validate says what does not fit together.
func (o Options) Validate() error {
	switch {
	case o.Text && o.Format != CSV:
		return errors.New("text is for CSV: JSON Lines have text wherever there is some")
	case o.Text && o.Encoding == operation.Fixed:
		return errors.New("text is not for the encoding fixed: an import would hash it")
	}
	return nil
}

// Writer writes records. It is not safe for concurrent use.
type Writer struct {
	w   io.Writer
	o   Options
	buf []byte

	records, bytes uint64
}

// flushBytes is how much is collected before it is written.
const flushBytes = 256 << 10

// NewWriter writes to w; Flush ends it. Errors are those of Options.Validate.
func NewWriter(w io.Writer, o Options) (*Writer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &Writer{w: w, o: o}
	if o.Format == CSV {
		header := "key_base64,value_base64\n"
		if o.Text {
			header = "key,value\n"
		}
		e.buf = append(e.buf, header...)
	}
	return e, nil
}

// Records is the number of records written.
func (w *Writer) Records() uint64 { return w.records }

// Bytes is the number of bytes written, or about to be.
func (w *Writer) Bytes() uint64 { return w.bytes + uint64(len(w.buf)) }

// Write adds a record: a key and its value as the database stores them. It keeps
// neither slice. Errors: ErrNotText, and those of the underlying writer.
func (w *Writer) Write(key, value []byte) error {
	var err error
	if w.o.Format == CSV {
		err = w.row(key, value)
	} else {
		w.object(key, value)
	}
	if err != nil {
		return err
	}
	w.records++
	if len(w.buf) >= flushBytes {
		return w.Flush()
	}
	return nil
}

// Flush hands on what was collected.
func (w *Writer) Flush() error {
	n, err := w.w.Write(w.buf)
	w.bytes += uint64(n)
	w.buf = w.buf[:0]
	return err
}

func (w *Writer) object(key, value []byte) {
	w.buf = append(w.buf, '{')
	w.member("key", key)
	w.buf = append(w.buf, ',')
	w.member("value", value)
	w.buf = append(w.buf, '}', '\n')
}

func (w *Writer) member(name string, b []byte) {
	w.buf = append(append(w.buf, '"'), name...)
	if w.o.Encoding == operation.Variable && utf8.Valid(b) {
		w.buf = append(w.buf, '"', ':')
		w.buf = appendString(w.buf, b)
		return
	}
	w.buf = append(w.buf, `_base64":"`...)
	w.buf = append(base64.StdEncoding.AppendEncode(w.buf, b), '"')
}

// appendString appends text as a JSON string.
func appendString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func (w *Writer) row(key, value []byte) error {
	if !w.o.Text {
		w.buf = append(base64.StdEncoding.AppendEncode(w.buf, key), ',')
		w.buf = append(base64.StdEncoding.AppendEncode(w.buf, value), '\n')
		return nil
	}
	for _, f := range []struct {
		what string
		b    []byte
	}{{"key", key}, {"value", value}} {
		// A reader takes a carriage return for a part of the line break.
		if !utf8.Valid(f.b) || bytes.IndexByte(f.b, '\r') >= 0 {
			return fmt.Errorf("%s %.80q: %w", f.what, f.b, ErrNotText)
		}
	}
	w.buf = append(appendQuoted(w.buf, key), ',')
	w.buf = append(appendQuoted(w.buf, value), '\n')
	return nil
}

// appendQuoted appends text as a quoted field (RFC 4180).
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
