package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/proofsync/proofsync/pkg/document"
)

// ErrTooLarge: an answer is larger than Options.MaxAnswer.
var ErrTooLarge = errors.New("answer is too large")

// ErrAnswer: an answer is no document of the API.
var ErrAnswer = errors.New("answer is not understood")

// StatusError is an answer without success that is no problem document: what
// answers is not the API, or a proxy before it.
type StatusError struct {
	Status int    // HTTP status
	Body   string // beginning of the answer, one printable line; may be empty
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	if e.Body != "" {
		s += ": " + e.Body
	}
	return s + " (no answer of the proofsync API)"
}

// Bounds of what an answer without success is read of.
const (
	maxProblem = 1 << 20 // it may name a key of the largest size
	maxSnippet = 120
)

// parameters are those of a query; what is zero is left out.
type parameters struct {
	url.Values
	form document.Bytes
	err  error
}

func (c *Client) parameters() *parameters {
	p := &parameters{Values: make(url.Values), form: c.opts.Bytes}
	if p.form != document.Base64URL {
		p.Set("bytes", string(p.form))
	}
	return p
}

func (p *parameters) number(name string, n uint64) {
	if n > 0 {
		p.Set(name, strconv.FormatUint(n, 10))
	}
}

// bytes adds a byte string that is not nil.
func (p *parameters) bytes(name string, b []byte) {
	if b == nil || p.err != nil {
		return
	}
	s, err := p.form.Encode(b)
	if err != nil {
		p.err = fmt.Errorf("%s: %w", name, err)
		return
	}
	p.Set(name, s)
}

func (p *parameters) flag(name string, set bool) {
	if set {
		p.Set(name, "true")
	}
}

// path is where on the server; it begins with /v1.
func (p *parameters) path(path string) (string, error) {
	if len(p.Values) > 0 {
		path += "?" + p.Encode()
	}
	return path, p.err
}

// request makes one for a path and query below the client's address.
func (c *Client) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	req.Header.Set("Accept", "application/json, "+document.ProblemType)
	if c.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	return req, nil
}

// send returns an answer of success, whose body the caller closes.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		// The address alone: a path may hold a key of pages.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		if cause := context.Cause(req.Context()); cause != nil && errors.Is(err, req.Context().Err()) {
			err = cause
		}
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// refusedError is a refusal that says when to come back.
type refusedError struct {
	error
	after time.Duration
}

func (e *refusedError) Unwrap() error { return e.error }

// refusal reads an answer without success.
func refusal(resp *http.Response) error {
	var err error
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what has arrived of it says enough
	p := new(document.Problem)
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == document.ProblemType && json.Unmarshal(body, p) == nil && p.Code != "" {
		if p.Status == 0 {
			p.Status = resp.StatusCode
		}
		if p.Detail == "" {
			p.Detail = fmt.Sprintf("%d %s (%s)", resp.StatusCode, http.StatusText(resp.StatusCode), p.Code)
		}
		err = p
	} else {
		err = &StatusError{Status: resp.StatusCode, Body: snippet(body)}
	}
	if seconds, e := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); e == nil {
		return &refusedError{err, time.Duration(seconds) * time.Second}
	}
	return err
}

// snippet is the beginning of a text as one line that is safe to print.
func snippet(body []byte) string {
	s := strings.ToValidUTF8(string(body[:min(len(body), maxSnippet)]), "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
}

// bounded is a context for one request.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.opts.Timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.opts.Timeout, fmt.Errorf("no answer within %s: %w", c.opts.Timeout, context.DeadlineExceeded))
}

// get reads the document at a path.
func (c *Client) get(ctx context.Context, path string, into any) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return c.exchange(req, into)
}

// expected bounds the memory, in bytes, that is set aside for an answer of which nothing but
// its length has come: about that of the largest page of small values.
const expected = 4 << 20

// exchange sends a request and reads the document it is answered with.
func (c *Client) exchange(req *http.Request, into any) error {
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	b.Grow(int(min(max(resp.ContentLength, 0), expected, c.opts.MaxAnswer)) + bytes.MinRead)
	_, err = b.ReadFrom(io.LimitReader(resp.Body, c.opts.MaxAnswer+1))
	body := b.Bytes()
	if err != nil {
		if cause := context.Cause(req.Context()); cause != nil {
			err = cause
		}
		return fmt.Errorf("%s: answer broken off: %w", c.name, err)
	}
	if int64(len(body)) > c.opts.MaxAnswer {
		return fmt.Errorf("%s: %w: more than %d bytes", c.name, ErrTooLarge, c.opts.MaxAnswer)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/json" {
		return fmt.Errorf("%s: %w: of type %.80q: %s", c.name, ErrAnswer, kind, snippet(body))
	}
	if err := jsonv2.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w: %w", c.name, ErrAnswer, err)
	}
	return nil
}

// checkForm says whether byte strings are written as the client asked for.
func (c *Client) checkForm(f document.Bytes) error {
	if f != c.opts.Bytes {
		return fmt.Errorf("%s: %w: byte strings are written as %.40q, not as %s", c.name, ErrAnswer, f, c.opts.Bytes)
	}
	return nil
}
