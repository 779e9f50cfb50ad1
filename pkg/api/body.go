package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// body is that of a request, and knows whether all of it was read.
type body struct {
	io.ReadCloser
	ended bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended = true
	}
	return n, err
}

// bodyKey is where the context of a request has its *body.
type bodyKey struct{}

// expectBody gives a body the time of its request to arrive. It comes before
// everything that may answer: net/http reads what a handler left of a body, and
// waits for it without end. Bodies that nobody wants, those of reads, end the
// connection, so that their answers do not wait either.
func (a *API) expectBody(w http.ResponseWriter, r *http.Request) *http.Request {
	a.limitBody(w)
	b := &body{ReadCloser: r.Body}
	r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, b))
	r.Body = b
	if r.Method != http.MethodPost {
		w.Header().Set("Connection", "close")
	}
	return r
}

// leaveBody prepares for an answer that does not depend on the rest of the
// body, if there is one: what is still to come is no request.
func (a *API) leaveBody(w http.ResponseWriter, r *http.Request) {
	if b, ok := r.Context().Value(bodyKey{}).(*body); ok && !b.ended {
		a.limitBody(w) // there may be none any more, see arrived and pause
		w.Header().Set("Connection", "close")
	}
}

func (a *API) limitBody(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.limits.RequestTime)) // what cannot have deadlines is a test
}
