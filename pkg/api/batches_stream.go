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
// cuts follow from the lines alone. Under an idempotency key the commits are
// the parts of one sequence, which is remembered as a whole, for its time from
// its last commit on: a stream that is sent again is read up to where it
// came the first time, compared there, and goes on. One that is different, or
// shorter or longer than one that was complete, is refused.
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
	writes  []committer.Write
	lines   []uint64 // of writes
	keys    map[string]struct{}
	pending int // bytes of their lines

	done   document.Committed
	chunks uint32
	fresh  int // of them not replayed

	// How much of what was read is known to be what was committed.
	prior    [32]byte // fingerprint at the end of it; zero: the last part was skipped
	known    int      // writes
	doubtful uint64   // line from which on parts were skipped; 0: none was
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
			return s.commit(false)
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
		if err := s.commit(true); err != nil {
			return err
		}
	}
	s.writes, s.lines = append(s.writes, w), append(s.lines, s.line)
	s.keys[string(w.Key)] = struct{}{}
	s.pending += len(line)
	if s.key != "" {
		s.print.Write(line)
		s.print.Write([]byte{'\n'})
	}
	return nil
}

// commit commits what was read; more says whether there are lines after it.
func (s *lineStream) commit(more bool) error {
	if len(s.writes) == 0 {
		return nil
	}
	s.src.pause()
	b := committer.Batch{Writes: s.writes}
	if s.key != "" {
		b.IdempotencyKey, b.Fingerprint = s.key, [32]byte(s.print.Sum(nil))
		b.Part = committer.Part{Index: s.chunks, More: more, Prior: s.prior, Earlier: uint64(s.done.Operations)}
	}
	res, err := s.a.commit(s.r.Context(), b)
	if err != nil {
		return s.commitProblem(err)
	}
	s.chunks++
	if !res.Replayed {
		s.fresh++
		s.a.metrics.batch.writes.Add(float64(len(s.writes)))
	}
	s.done.Writes += len(s.writes)
	s.done.Commits++
	if res.Skipped {
		s.prior = [32]byte{}
		if s.doubtful == 0 {
			s.doubtful = s.lines[0]
		}
	} else { // the last part is never skipped
		s.done.Root, s.done.Size, s.done.Location = res.Root.String(), res.Size, res.Location
		s.done.Operations = s.earlier(res) + res.Operations
		s.prior, s.known, s.doubtful = b.Fingerprint, s.done.Writes, 0
	}
	// The committer may still look at the slices of a call that was given up,
	// but not of one that was answered.
	clear(s.writes)
	clear(s.keys)
	s.writes, s.lines, s.pending = s.writes[:0], s.lines[:0], 0
	return nil
}

// earlier is the number of operations of the commits before that of res.
func (s *lineStream) earlier(res committer.Result) int {
	if s.key == "" {
		return s.done.Operations
	}
	return int(res.Earlier)
}

// commitProblem names the line of the write that is to blame, if one is.
func (s *lineStream) commitProblem(err error) error {
	p := s.a.batchProblem(err, s.writes, s.form)
	s.line = s.lines[0]
	if errors.Is(err, committer.ErrReused) && s.doubtful > 0 {
		s.line, s.done.Writes = s.doubtful, s.known
	}
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
