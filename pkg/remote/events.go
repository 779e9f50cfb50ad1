package remote

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// message is one of the server-sent events of a stream.
type message struct {
	name  string
	id    string
	hasID bool
	data  []byte
	retry time.Duration // what the server asks to wait before the next connection; 0: nothing
}

// messages reads a stream of server-sent events, each of at most max bytes.
type messages struct {
	r    *bufio.Reader
	max  int64
	beat func() // called for every line, those of heartbeats too
}

// next returns the next event; those without data are passed over, but for what
// they say about retry. io.EOF when the stream ends.
func (m *messages) next() (message, error) {
	var e message
	var data bytes.Buffer
	var size int64
	some := false
	for {
		line, err := m.line(&size)
		if err != nil {
			return e, err // an event that is not complete does not count
		}
		m.beat()
		if len(line) == 0 {
			if some {
				e.data = bytes.TrimSuffix(data.Bytes(), []byte("\n"))
				return e, nil
			}
			e, size = message{retry: e.retry}, 0
			data.Reset()
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			e.name = string(value)
		case "data":
			data.Write(value)
			data.WriteByte('\n')
			some = true
		case "id":
			e.id, e.hasID = string(value), true
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				e.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

// line reads a line without its end, and counts it in size.
func (m *messages) line(size *int64) ([]byte, error) {
	var line []byte
	for {
		part, err := m.r.ReadSlice('\n')
		if *size += int64(len(part)); *size > m.max {
			return nil, fmt.Errorf("%w: an event of more than %d bytes", ErrTooLarge, m.max)
		}
		line = append(line, part...)
		if err == nil {
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) && len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}
