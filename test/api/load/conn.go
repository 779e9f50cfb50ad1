package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// conn is a connection that is kept.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(s *settings) (*conn, error) {
	c, err := net.DialTimeout("tcp", s.host, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

// get makes the request for a target.
func (s *settings) get(target string) []byte {
	return []byte("GET " + target + " HTTP/1.1\r\nHost: " + s.host + "\r\n\r\n")
}

// post makes the request that writes a JSON document.
func (s *settings) post(dst []byte, body string) []byte {
	dst = append(dst, "POST /v1/batches HTTP/1.1\r\nHost: "...)
	dst = append(dst, s.host...)
	dst = append(dst, "\r\nAuthorization: Bearer "...)
	dst = append(dst, s.token...)
	dst = append(dst, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	return append(append(dst, "\r\n\r\n"...), body...)
}

// ask sends a request and reads the answer; the body is in buf until the next call.
func (c *conn) ask(request, buf []byte) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return buf, err
	}
	if _, err := c.Write(request); err != nil {
		return buf, err
	}
	status, length, err := c.header()
	if err != nil {
		return buf, err
	}
	if length < 0 {
		return buf, fmt.Errorf("status %d without a length", status)
	}
	if cap(buf) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if _, err := io.ReadFull(c.in, buf); err != nil {
		return buf, err
	}
	if status != 200 {
		return buf, fmt.Errorf("status %d: %.300s", status, buf)
	}
	return buf, nil
}

// header reads a header; length is -1 if it does not say.
func (c *conn) header() (status, length int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 {
		return 0, 0, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, err
	}
	length = -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return status, length, nil
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, 0, err
			}
		}
	}
}
