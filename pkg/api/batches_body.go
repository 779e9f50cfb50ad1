package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/proofsync/proofsync/pkg/document"
)

// readBody reads the document of a request, at most limits.BodyBytes of it. The
// time it may take was set when the request was let in.
func (a *API) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	most := a.limits.BodyBytes
	if r.ContentLength > most {
		return nil, a.bodyProblem(errTooLarge)
	}
	body, done, err := a.unpacked(r, r.Body)
	if err != nil {
		return nil, err
	}
	defer done()
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, 1<<20)) + bytes.MinRead) // the rest as it arrives
	}
	if _, err := buf.ReadFrom(&bounded{r: body, left: most}); err != nil {
		return nil, a.bodyProblem(err)
	}
	a.arrived(w)
	return buf.Bytes(), nil
}

var errTooLarge = errors.New("too large")

// bounded reads at most left bytes, and fails if there are more.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// unpacked is a body without its content coding. done gives back what
// unpacking needs.
func (a *API) unpacked(r *http.Request, body io.Reader) (_ io.Reader, done func(), err error) {
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "", "identity":
		return body, func() {}, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, nil, a.bodyProblem(err)
		}
		return z, func() { _ = z.Close() }, nil
	case "zstd":
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, nil, a.bodyProblem(err)
		}
		return z, z.Close, nil
	default:
		return nil, nil, document.NewProblem(document.CodeUnsupportedType, "Content-Encoding %.40q: gzip, zstd or none expected", coding)
	}
}

// bodyProblem says why a body could not be read.
func (a *API) bodyProblem(err error) *document.Problem {
	switch {
	case errors.Is(err, errTooLarge):
		return document.NewProblem(document.CodeTooLarge, "the body has more than %d bytes; longer ones can be sent as a stream of %s", a.limits.BodyBytes, typeLines)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return document.NewProblem(document.CodeTimeout, "the body did not arrive in time")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return document.NewProblem(document.CodeInvalidRequest, "the body ends in the middle")
	}
	return document.NewProblem(document.CodeInvalidRequest, "the body cannot be read: %.200s", err)
}

// paced sets a deadline for what is to be read next, so that a stream may take
// as long as it likes but not stand still. It counts time spent reading only.
type paced struct {
	body io.Reader
	c    *http.ResponseController
	wait time.Duration
	set  time.Time // when the deadline was set last; zero: not at all
}

func (p *paced) Read(b []byte) (int, error) {
	// A deadline is moved only when it is a little out of date: it costs a lock.
	if now := time.Now(); now.Sub(p.set) > p.wait/8 {
		p.set = now
		_ = p.c.SetReadDeadline(now.Add(p.wait)) // what cannot have deadlines is a test
	}
	return p.body.Read(b)
}

// pause takes the deadline away while nobody reads: net/http reads ahead to see
// whether the client is still there, and takes a deadline for its end.
func (p *paced) pause() {
	p.set = time.Time{}
	_ = p.c.SetReadDeadline(time.Time{})
}

// arrived ends the time the body had: what follows is ours to do, and net/http
// would take the deadline for the client being gone.
func (a *API) arrived(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	a.extend(w)
}

// extend gives the answer its time: committing had no bound.
func (a *API) extend(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.limits.RequestTime))
}
