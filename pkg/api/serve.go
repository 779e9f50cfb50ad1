package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

// recorder sees what is sent: for metrics, the log, and to know whether a
// problem can still be written.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing was sent
	bytes  int64
	sent   func(n int) // counts bytes for limits; nil: there are none
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	if w.sent != nil {
		w.sent(n)
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush is for compression, which does not know Unwrap.
func (w *recorder) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

var recorders = sync.Pool{New: func() any { return new(recorder) }}

// serve answers a request, whatever happens.
func (t *route) serve(w http.ResponseWriter, r *http.Request, local bool) {
	a := t.a
	begun := time.Now()
	a.metrics.inFlight.Inc()
	rec, _ := recorders.Get().(*recorder)
	*rec = recorder{ResponseWriter: w}
	defer func() { // also when a handler gives up its connection
		a.metrics.inFlight.Dec()
		t.account(rec, r, time.Since(begun))
		*rec = recorder{}
		recorders.Put(rec)
	}()
	if local {
		r = r.WithContext(context.WithValue(r.Context(), localKey{}, true))
	}
	h := rec.Header()
	h["X-Content-Type-Options"] = nosniff
	if r.ContentLength != 0 {
		r = a.expectBody(rec, r)
	}
	if a.cors.enabled() && a.cors.answer(rec, r) {
		return
	}
	held, err := t.enter(rec, r, local)
	if err != nil {
		a.fail(rec, r, err)
		return
	}
	defer held.release()
	switch {
	case t.packed == nil:
		t.run(rec, r)
	case r.Header.Get("Accept-Encoding") == "": // as fast clients have it
		if h["Vary"] == nil {
			h["Vary"] = varyEncoding
		} else { // there is one of CORS
			h["Vary"] = append(h["Vary"], varyEncoding...)
		}
		t.run(rec, r)
	default:
		t.packed.ServeHTTP(rec, r)
	}
}

// Values of headers, made once; nobody changes them.
var (
	nosniff      = []string{"nosniff"}
	varyEncoding = []string{"Accept-Encoding"}
)

// enter says whether a request is to be answered at all.
func (t *route) enter(w *recorder, r *http.Request, local bool) (held seat, err error) {
	a := t.a
	if len(r.RequestURI) > a.limits.URLBytes {
		return seat{}, document.NewProblem(document.CodeTooLarge, "the URL has %d bytes, %d are allowed", len(r.RequestURI), a.limits.URLBytes)
	}
	if t.handlerOf(r.Method) == nil {
		if t == a.unknown && (r.URL.Path != "/" || a.o.Page == nil) {
			return seat{}, nothing(w, r) // whatever is to be done with it
		}
		w.Header().Set("Allow", t.allow)
		return seat{}, document.NewProblem(document.CodeMethodNotAllowed, "%.20q is not possible here, but: %s", r.Method, t.allow)
	}
	if !local {
		if w.sent, err = a.rate(w.Header(), r); err != nil {
			return seat{}, err
		}
	}
	switch {
	case t.stream && r.ContentLength != 0:
		// Reading it would hold up the stream, and not reading it hides that
		// the client has gone.
		return seat{}, document.NewProblem(document.CodeInvalidRequest, "a stream is asked for without a body")
	case t.stream:
		return a.admit.stream()
	case t.writes:
		held, err = a.admit.write(r.Context())
	default:
		held, err = a.admit.request(r.Context())
	}
	if err != nil {
		return seat{}, err
	}
	// Streams have deadlines of their own.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.limits.RequestTime)) // what cannot have deadlines is a test
	return held, nil
}

// run calls the handler. A panic becomes a problem, or ends the connection if
// the answer has begun.
func (t *route) run(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		t.a.metrics.panics.Inc()
		t.a.log.Error("request panicked", "method", r.Method, "path", clip(r.URL.Path), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if rec := recorderOf(w); rec == nil || rec.status != 0 {
			panic(http.ErrAbortHandler)
		}
		t.a.fail(w, r, document.NewProblem(document.CodeInternal, "the request could not be answered because of a mistake in the program, which was logged"))
	}()
	if err := t.handlerOf(r.Method)(w, r); err != nil {
		t.a.fail(w, r, err)
	}
}

// recorderOf finds the recorder below what compression put around it.
func recorderOf(w http.ResponseWriter) *recorder {
	for {
		if rec, ok := w.(*recorder); ok {
			return rec
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = u.Unwrap()
	}
}

// account writes metrics and the access log of an answer.
func (t *route) account(rec *recorder, r *http.Request, took time.Duration) {
	c := t.counts[r.Method]
	if c == nil {
		c = t.other
	}
	c.answered(rec.status, rec.bytes, took, t.stream)
	if ctx := r.Context(); t.a.log.Enabled(ctx, slog.LevelDebug) {
		t.a.log.DebugContext(ctx, "http request", "method", clip(r.Method), "path", clip(r.URL.Path),
			"status", rec.status, "bytes", rec.bytes, "duration", took, "peer", r.RemoteAddr)
	}
}

// clip bounds what peers write into the log.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
