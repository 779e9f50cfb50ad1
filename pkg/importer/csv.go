package importer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readCSV yields the records of a CSV file with a header.
func readCSV(path string, r io.Reader, fn func(*record) error) error {
	limited := &recordLimit{r: skipMark(r)}
	rows := csv.NewReader(limited)
	rows.ReuseRecord = true
	limited.left = maxRecord
	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return &InputError{File: path, Line: 1, Reason: "no header: the columns key and value expected"}
	}
	if err != nil {
		return csvError(path, 1, err)
	}
	cols, err := parseHeader(header)
	if err != nil {
		return &InputError{File: path, Line: 1, Reason: err.Error()}
	}
	rec := record{file: path}
	var buf csvBuffers
	for {
		limited.left = maxRecord
		row, err := rows.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return csvError(path, max(rec.line, 1)+1, err)
		}
		line, _ := rows.FieldPos(0)
		rec.line = int64(line)
		if err := cols.record(row, &rec, &buf); err != nil {
			return &InputError{File: path, Line: rec.line, Reason: err.Error()}
		}
		if err := fn(&rec); err != nil {
			return err
		}
	}
}

// csvError gives an error of the CSV reader the form of ours. line is the
// first one the record may begin at, for errors that do not say.
func csvError(path string, line int64, err error) error {
	var parse *csv.ParseError
	switch {
	case errors.Is(err, errRecordLimit):
		return &InputError{File: path, Line: line, Reason: errRecordLimit.Error()}
	case errors.As(err, &parse):
		reason := parse.Err.Error()
		if errors.Is(err, csv.ErrFieldCount) {
			reason = "another number of fields than the header has"
		}
		return &InputError{File: path, Line: int64(parse.StartLine), Reason: reason}
	}
	return readError(path, line, err)
}

// csvColumns are the positions of the columns in a row, -1 if missing.
type csvColumns struct {
	key, value, delete     int
	keyBase64, valueBase64 bool
}

func parseHeader(header []string) (csvColumns, error) {
	cols := csvColumns{key: -1, value: -1, delete: -1}
	set := func(col *int, at int, what string) error {
		if *col >= 0 {
			return fmt.Errorf("header: more than one column for the %s", what)
		}
		*col = at
		return nil
	}
	for i, name := range header {
		var err error
		switch strings.TrimSpace(name) {
		case columnKey:
			err = set(&cols.key, i, "key")
		case columnKeyBase64:
			err, cols.keyBase64 = set(&cols.key, i, "key"), true
		case columnValue:
			err = set(&cols.value, i, "value")
		case columnValueBase64:
			err, cols.valueBase64 = set(&cols.value, i, "value"), true
		case columnDelete:
			err = set(&cols.delete, i, "delete flag")
		default:
			err = fmt.Errorf("header: unknown column %.40q: key, key_base64, value, value_base64 and delete are known", name)
		}
		if err != nil {
			return cols, err
		}
	}
	switch {
	case cols.key < 0:
		return cols, errors.New("header: no column key or key_base64")
	case cols.value < 0 && cols.delete < 0:
		return cols, errors.New("header: no column value or value_base64")
	}
	return cols, nil
}

type csvBuffers struct{ key, value, keyBytes, valueBytes []byte }

func (c csvColumns) record(row []string, rec *record, buf *csvBuffers) (err error) {
	rec.delete, rec.value = false, field{}
	if c.delete >= 0 {
		switch flag := row[c.delete]; flag {
		case "true":
			rec.delete = true
		case "", "false":
		default:
			return fmt.Errorf("delete: %.40q, true, false or nothing expected", flag)
		}
	}
	if rec.key, err = csvField(row[c.key], c.keyBase64, &buf.key, &buf.keyBytes); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if rec.delete {
		// A cell cannot be missing: an empty one is none here.
		return checkFields(true, c.value >= 0 && row[c.value] != "", true, true)
	}
	if c.value < 0 {
		return checkFields(true, false, true, false)
	}
	if rec.value, err = csvField(row[c.value], c.valueBase64, &buf.value, &buf.valueBytes); err != nil {
		return fmt.Errorf("value: %w", err)
	}
	return nil
}

func csvField(s string, isBase64 bool, text, decoded *[]byte) (field, error) {
	*text = append((*text)[:0], s...)
	if !isBase64 {
		return field{bytes: *text}, checkText(*text)
	}
	var err error
	*decoded, err = decodeBase64(*decoded, *text)
	return field{bytes: *decoded, raw: true}, err
}

var errRecordLimit = fmt.Errorf("record of more than %d bytes (a quote without an end?)", maxRecord)

// recordLimit bounds what the CSV reader takes in for one record: its buffers
// grow until the closing quote.
type recordLimit struct {
	r    io.Reader
	left int
}

func (l *recordLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errRecordLimit
	}
	n, err := l.r.Read(p)
	l.left -= n
	return n, err
}

// skipMark drops a byte order mark.
func skipMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if mark, err := b.Peek(len(byteOrderMark)); err == nil && bytes.Equal(mark, byteOrderMark) {
		_, _ = b.Discard(len(byteOrderMark)) // it is in the buffer
	}
	return b
}
