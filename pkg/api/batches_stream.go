package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/document"
)

const (
	// defaultCommitEvery and maxCommitEvery are the writes of a stream that
	// are committed together.
	defaultCommitEvery = 10_000
	maxCommitEvery     = 100_000
	// streamBytes of lines are committed together at most, whatever their number.
	streamBytes = 4 << 20
)

// lineStream takes a stream of writes: JSON Lines, one document.Write each.
// The stream as a whole is not atomic. It is cut into commits where the number
// or size of writes says so, and before a line that writes a key again: so the
// cuts follow from the lines alone, and a stream that is sent again
// under the same idempotency key finds the commits it made the first time.
type lineStream struct {
	a   *API
	r   *http.Request
	in  *bufio.Reader
	src *paced

	form  document.Bytes
	every int
	key   string    // idempotency key; "": none
	print hash.Hash // of everything so far that decides what is written

	line    uint64 // number of the last line read
	long    []byte // a line longer than the reader's buffer
	docs    []document.Write
	writes  []committer.Write
	lines   []uint64 // of writes
	keys    map[string]struct{}
	pending int // bytes of their lines

	done   document.Committed
	chunks int
	fresh  int // of them not replayed
}

// takeLines commits a stream of writes.
func (a *API) takeLines(w http.ResponseWriter, r *http.Request, key string) error {
	p, err := parseParams(r, "bytes", "commit_every")
	if err != nil {
		return err
	}
	every, given, err := p.number("commit_every", 1, maxCommitEvery)
	if err != nil {
		return err
	}
	if !given {
		every = defaultCommitEvery
	}
	release, err := a.bodyRoom(r, streamBytes+a.limits.BodyBytes)
	if err != nil {
		return err
	}
	defer release()
	a.metrics.batch.streams.Inc()
	defer a.metrics.batch.streams.Dec()

	src := &paced{body: r.Body, c: http.NewResponseController(w), wait: a.limits.RequestTime}
	body, closeBody, err := a.unpacked(r, src)
	if err != nil {
		return err
	}
	defer closeBody()
	s := &lineStream{
		a: a, r: r, in: bufio.NewReaderSize(body, 64<<10), src: src,
		form: p.form, every: int(every), key: key, print: sha256.New(),
		keys: make(map[string]struct{}),
	}
	fmt.Fprintf(s.print, "%s\n%s\n%d\n", typeLines, s.form, s.every)
	if err := s.run(); err != nil {
		return s.problem(err)
	}
	src.pause()
	return s.answer(w)
}

func (s *lineStream) run() error {
	for {
		line, err := s.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 {
			if err := s.add(line); err != nil {
				return err
			}
		}
		if err != nil {
			return s.commit()
		}
	}
}

// next reads a line without its end; the slice is valid until the next call.
// io.EOF comes with the last one. What a client that vanished had begun is not
// a line: reading it fails with another error.
func (s *lineStream) next() ([]byte, error) {
	s.line++
	s.long = s.long[:0]
	for {
		part, err := s.in.ReadSlice('\n')
		if int64(len(s.long)+len(part)) > s.a.limits.BodyBytes {
			return nil, document.NewProblem(document.CodeTooLarge, "a line has more than %d bytes", s.a.limits.BodyBytes)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			s.long = append(s.long, part...)
			continue
		}
		if len(s.long) > 0 {
			s.long = append(s.long, part...)
			part = s.long
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, s.a.bodyProblem(err)
		}
		return bytes.Trim(part, " \t\r\n"), err
	}
}

// add takes the write of a line, after committing those before it if they are
// enough.
func (s *lineStream) add(line []byte) error {
	var d document.Write
	if err := decodeStrictly(line, &d); err != nil {
		return err
	}
	var w committer.Write
	if err := convertWrite(&w, &d, s.form); err != nil {
		return err
	}
	_, again := s.keys[string(w.Key)]
	if again || len(s.writes) >= s.every || s.pending+len(line) > streamBytes {
		if err := s.commit(); err != nil {
			return err
		}
	}
	s.docs, s.writes, s.lines = append(s.docs, d), append(s.writes, w), append(s.lines, s.line)
	s.keys[string(w.Key)] = struct{}{}
	s.pending += len(line)
	if s.key != "" {
		s.print.Write(line)
		s.print.Write([]byte{'\n'})
	}
	return nil
}

// commit commits what was read.
func (s *lineStream) commit() error {
	if len(s.writes) == 0 {
		return nil
	}
	s.src.pause()
	b := committer.Batch{Writes: s.writes}
	if s.key != "" {
		b.IdempotencyKey, b.Fingerprint = s.key, [32]byte(s.print.Sum(nil))
		if s.chunks > 0 { // no header can hold such a key
			b.IdempotencyKey = fmt.Sprintf("%s\x00%d", s.key, s.chunks)
		}
	}
	res, err := s.a.o.Committer.Commit(s.r.Context(), b)
	if err != nil {
		return s.commitProblem(err)
	}
	s.chunks++
	if !res.Replayed {
		s.fresh++
		s.a.metrics.batch.writes.Add(float64(len(s.writes)))
	}
	s.done.Root, s.done.Size, s.done.Location = res.Root.String(), res.Size, res.Location
	s.done.Operations += res.Operations
	s.done.Writes += len(s.writes)
	s.done.Commits++
	// The committer may still look at the slices of a call that was given up,
	// but not of one that was answered.
	clear(s.docs)
	clear(s.writes)
	clear(s.keys)
	s.docs, s.writes, s.lines, s.pending = s.docs[:0], s.writes[:0], s.lines[:0], 0
	return nil
}

// commitProblem names the line of the write that is to blame, if one is.
func (s *lineStream) commitProblem(err error) error {
	p := s.a.batchProblem(err, s.docs)
	s.line = s.lines[0]
	if e, ok := errors.AsType[*committer.PreconditionError](err); ok && e.Index >= 0 {
		s.line = s.lines[e.Index]
	}
	if e, ok := errors.AsType[*committer.WriteError](err); ok {
		s.line = s.lines[e.Index]
	}
	return p
}

// problem completes a problem with how far the stream came.
func (s *lineStream) problem(err error) error {
	p := s.a.problemOf(err, nil)
	p.Line = s.line
	p.Applied = &s.done.Writes
	return p
}

func (s *lineStream) answer(w http.ResponseWriter) error {
	if s.done.Commits == 0 { // no lines: nothing was written, and this is where it was not
		v, err := s.a.db.View()
		if err != nil {
			return err
		}
		defer v.Close()
		s.done.Root, s.done.Size, s.done.Location = v.Root().String(), v.Size(), v.Size()-1
	}
	s.done.Replayed = s.done.Commits > 0 && s.fresh == 0
	return s.a.committed(w, s.r, s.done)
}
