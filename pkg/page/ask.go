package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/proofsync/proofsync/pkg/document"
)

// maxAnswer is the longest answer that is taken from the API, in bytes: a value
// of the largest size, twice, with its proof.
const maxAnswer = 16 << 20

var errTooLong = errors.New("the answer is too long for this page")

// answer keeps what the API writes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(b) > maxAnswer {
		return 0, errTooLong
	}
	return a.body.Write(b)
}

// get asks the API in process. An error is a *document.Problem where the API says
// what is wrong.
func (h *handler) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	if h.o.API == nil {
		return nil, errors.New("there is no API")
	}
	// The path holds a key: the URL is put together, never parsed.
	r := (&http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query.Encode()}, Host: "localhost",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, RemoteAddr: "@",
	}).WithContext(ctx)
	r.RequestURI = r.URL.RequestURI()
	w := &answer{header: http.Header{}}
	h.o.API().ServeHTTP(w, r)
	if w.status != http.StatusOK {
		p := new(document.Problem)
		if err := json.Unmarshal(w.body.Bytes(), p); err != nil || p.Code == "" {
			return nil, fmt.Errorf("the API answers %d", w.status)
		}
		return nil, p
	}
	return w.body.Bytes(), nil
}

// ask asks the API for a JSON document. Its error is that of get.
func ask[T any](ctx context.Context, h *handler, path string, query url.Values) (*T, error) {
	body, err := h.get(ctx, path, query)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return nil, fmt.Errorf("the API's answer does not parse: %w", err)
	}
	return v, nil
}
