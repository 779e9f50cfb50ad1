package targets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/document"
)

// place is where a note can be had from. fetch is called by one at a time. Where the
// note is still the one that it brought before, it may wait for another one for
// so long, if the place knows how to.
type place interface {
	String() string
	fetch(ctx context.Context, wait time.Duration) ([]byte, error)
}

// CheckPlace says what is wrong with the URL or path of a checkpoint.
func CheckPlace(s string) error {
	_, err := newPlace(s, nil)
	return err
}

// newPlace reads a URL, http or https, or else a path.
func newPlace(s string, client *http.Client) (place, error) {
	switch {
	case s == "":
		return nil, errors.New("place of checkpoints is empty: a URL or path expected")
	case !strings.Contains(s, "://"):
		return filePlace(s), nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%.200q: http(s)://host[:port]/path or the path of a file expected", s)
	}
	return &webPlace{url: u.String(), client: client}, nil
}

// filePlace is a file that somebody replaces.
type filePlace string

func (p filePlace) String() string { return string(p) }

func (p filePlace) fetch(context.Context, time.Duration) ([]byte, error) {
	info, err := os.Stat(string(p))
	switch {
	case err != nil:
		return nil, reason(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file") // opening a pipe would wait for ever
	}
	f, err := os.Open(string(p))
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	return readNote(f)
}

// reason is an error of the file system without the path, which is named anyway.
func reason(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

func readNote(r io.Reader) ([]byte, error) {
	note, err := io.ReadAll(io.LimitReader(r, checkpoint.MaxNote+1))
	switch {
	case err != nil:
		return nil, reason(err)
	case len(note) > checkpoint.MaxNote:
		return nil, &checkpoint.FormatError{Reason: fmt.Sprintf("more than %d bytes", checkpoint.MaxNote)}
	case len(note) == 0:
		return nil, &checkpoint.FormatError{Reason: "it is empty"}
	}
	return note, nil
}

// webPlace is a URL. The newest answer is kept, to be told that it is still the newest.
type webPlace struct {
	url    string
	client *http.Client
	etag   string
	note   []byte
}

func (p *webPlace) String() string { return p.url }

func (p *webPlace) fetch(ctx context.Context, wait time.Duration) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/plain")
	if p.etag != "" {
		r.Header.Set("If-None-Match", p.etag)
		if wait > 0 {
			r.Header.Set("Prefer", document.PreferWait(wait))
		}
	}
	answer, err := p.client.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the URL is named anyway
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no answer in time")
		}
		return nil, err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusNotModified && p.etag != "":
		return p.note, nil
	case answer.StatusCode == http.StatusNotFound:
		return nil, errors.New("there is no checkpoint (404): does the server sign, and is the path right?")
	case answer.StatusCode >= 300 && answer.StatusCode < 400 && answer.StatusCode != http.StatusNotModified:
		return nil, fmt.Errorf("redirects to %.200q, which is not followed: name that", answer.Header.Get("Location"))
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("answered %.60s", answer.Status)
	}
	note, err := readNote(answer.Body)
	if err != nil {
		p.etag, p.note = "", nil
		return nil, err
	}
	p.note, p.etag = note, answer.Header.Get("ETag")
	if len(p.etag) > 1024 {
		p.etag = ""
	}
	return note, nil
}
