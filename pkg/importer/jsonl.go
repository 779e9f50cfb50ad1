package importer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
)

var byteOrderMark = []byte("\xEF\xBB\xBF")

// readJSONL yields the records of JSON Lines.
func readJSONL(path string, r io.Reader, fn func(*record) error) error {
	return newLineReader(path, r).records(fn)
}

// columns are the names a record may use, in JSON and in CSV.
const (
	columnKey         = "key"
	columnKeyBase64   = "key_base64"
	columnValue       = "value"
	columnValueBase64 = "value_base64"
	columnDelete      = "delete"
)

var strictBase64 = base64.StdEncoding.Strict() // a copy of its tables

// decodeBase64 decodes src into dst (which it returns, grown if needed).
func decodeBase64(dst, src []byte) ([]byte, error) {
	// The decoder of the standard library skips line breaks.
	if bytes.IndexByte(src, '\n') >= 0 || bytes.IndexByte(src, '\r') >= 0 {
		return dst, errors.New("line break in base64")
	}
	n := base64.StdEncoding.DecodedLen(len(src))
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	n, err := strictBase64.Decode(dst[:n], src)
	if err != nil {
		return dst, errors.New("not base64 (standard alphabet, padded)")
	}
	return dst[:n], nil
}
