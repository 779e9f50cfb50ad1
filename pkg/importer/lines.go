package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
)

// lineReader parses lines on all cores and hands their records over in order:
//
//	r -> read: chunks of whole lines -> parse, side by side -> records, in order
//
// There are a few chunks, which are used again and again: whoever reads waits for one that
// is free. A line that does not fit into a chunk is read when all others are free.
type lineReader struct {
	path string
	r    io.Reader
	free chan *lineChunk
	stop chan struct{} // closed: nobody wants the rest
	work sync.WaitGroup
}

// lineChunk is some whole lines.
type lineChunk struct {
	data    []byte
	first   int64 // number of the first line
	err     error // ends the input: after the records, if there are any
	done    chan struct{}
	parser  objectParser
	records []record
	bytes   []byte // of keys and values
}

// chunkBytes is how much is parsed at a time, about, in bytes.
const chunkBytes = 256 << 10

func newLineReader(path string, r io.Reader) *lineReader {
	l := &lineReader{path: path, r: r, stop: make(chan struct{})}
	l.free = make(chan *lineChunk, runtime.GOMAXPROCS(0)+2)
	for range cap(l.free) {
		l.free <- &lineChunk{}
	}
	return l
}

// records yields all records, until fn returns an error.
func (l *lineReader) records(fn func(*record) error) error {
	queue := make(chan *lineChunk, cap(l.free))
	l.work.Go(func() {
		defer close(queue)
		l.read(queue)
	})
	defer l.work.Wait()
	defer close(l.stop)
	for c := range queue {
		<-c.done
		for i := range c.records {
			if err := fn(&c.records[i]); err != nil {
				return err
			}
		}
		if c.err != nil {
			return c.err
		}
		if len(c.data) > chunkBytes {
			*c = lineChunk{} // memory that few need
		}
		l.free <- c
	}
	return nil
}

// take returns a chunk that is free, or nil if nobody wants one.
func (l *lineReader) take() *lineChunk {
	select {
	case c := <-l.free:
		return c
	case <-l.stop:
		return nil
	}
}

// read cuts the input into chunks.
func (l *lineReader) read(queue chan<- *lineChunk) {
	line := int64(1)
	var rest []byte // of the chunk before: where a line begins
	for {
		c := l.take()
		if c == nil {
			return
		}
		c.data = append(c.data[:0], rest...)
		var others []*lineChunk // held back while this one is large
		err := fill(l.r, &c.data, chunkBytes)
		for from := 0; err == nil && len(c.data) < maxRecord && bytes.IndexByte(c.data[from:], '\n') < 0; {
			for len(others) < cap(l.free)-1 {
				other := l.take()
				if other == nil {
					return
				}
				others = append(others, other)
			}
			from = len(c.data)
			err = fill(l.r, &c.data, min(from+chunkBytes, maxRecord))
		}
		end := bytes.LastIndexByte(c.data, '\n') + 1
		if errors.Is(err, io.EOF) {
			end = len(c.data)
		}
		rest = append(rest[:0], c.data[end:]...)
		c.data, c.first = c.data[:end], line
		line += int64(bytes.Count(c.data, []byte{'\n'}))
		switch {
		case err == nil && end == 0:
			c.err = &InputError{File: l.path, Line: line, Reason: fmt.Sprintf("line of more than %d bytes", maxRecord)}
		case errors.Is(err, io.EOF): // no fault
		case err != nil && len(rest) == 0:
			c.err = readError(l.path, max(line-1, 1), err)
		case err != nil: // half a line
			c.err = readError(l.path, line, err)
		}
		last := err != nil || c.err != nil
		done := make(chan struct{}) // c is the other side's as soon as it is through
		c.done = done
		l.work.Go(func() {
			defer close(done)
			c.parse(l.path)
		})
		queue <- c // has room for all there are
		if last {
			return
		}
		if len(others) > 0 {
			<-done
			for _, other := range others {
				l.free <- other
			}
		}
	}
}

// fill reads until b has n bytes.
func fill(r io.Reader, b *[]byte, n int) error {
	*b = slices.Grow(*b, max(0, n-len(*b)))
	for idle := 0; len(*b) < n; idle++ {
		m, err := r.Read((*b)[len(*b):n])
		*b = (*b)[:len(*b)+m]
		if err != nil {
			return err
		}
		if m > 0 {
			idle = 0
		} else if idle == 100 {
			return io.ErrNoProgress
		}
	}
	return nil
}

// parse parses the lines of the chunk, up to the first one that is broken.
func (c *lineChunk) parse(path string) {
	c.records = c.records[:0]
	if cap(c.bytes) < len(c.data) {
		c.bytes = make([]byte, 0, len(c.data)) // unescaped and decoded, nothing becomes longer
	}
	c.bytes = c.bytes[:0]
	n := c.first - 1
	for data := c.data; len(data) > 0; {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		if n++; n == 1 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		rec := record{file: path, line: n}
		if err := c.parser.parse(line, &rec); err != nil {
			c.err = &InputError{File: path, Line: n, Reason: err.Error()}
			return
		}
		rec.key.bytes, rec.value.bytes = c.keep(rec.key.bytes), c.keep(rec.value.bytes)
		c.records = append(c.records, rec)
	}
}

func (c *lineChunk) keep(b []byte) []byte {
	n := len(c.bytes)
	c.bytes = append(c.bytes, b...)
	return c.bytes[n:len(c.bytes):len(c.bytes)]
}
