package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/store"
)

// retryAfter is how many seconds a client should wait that was told to come
// back: for a turn, a first sync or a restart.
const retryAfter = 1

// retryFull is the same for a disk that is nearly full, which people have to
// look after.
const retryFull = 10

// maxEcho is about how much of a request its problem repeats, in bytes: the
// longest key, and the longest detail.
const maxEcho = 1 << 10

// brief is p without what would make it large. p may be shared and stays as
// it is.
func brief(p *document.Problem) *document.Problem {
	if len(p.Key) <= maxEcho && len(p.Detail) <= maxEcho {
		return p
	}
	short := *p
	if len(p.Key) > maxEcho {
		short.Key = "" // who sent it has it
	}
	if len(p.Detail) > maxEcho {
		short.Detail = strings.ToValidUTF8(p.Detail[:maxEcho], "") + "…"
	}
	return &short
}

// fail answers with a problem. err is a *document.Problem, or what the
// database says.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problemOf(err, nil)
	if r.Context().Err() != nil && p.Status >= 500 {
		// Whoever asked is gone; net/http needs an end, not an answer.
		p = document.NewProblem(document.CodeTimeout, "the request ended before its answer was ready")
	}
	p = brief(p)
	a.leaveBody(w, r)
	body, err := document.Marshal(p)
	if err != nil { // a problem is strings and numbers
		panic(err)
	}
	h := w.Header()
	h.Del("Etag")
	h["Content-Type"] = problemType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"] = noCache
	if p.Head != nil {
		h["Proofsync-Root"] = []string{p.Root}
		h["Proofsync-Size"] = []string{strconv.FormatUint(p.Size, 10)}
	}
	switch p.Code {
	case document.CodeEmpty, document.CodeUnavailable, document.CodeTooMany:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", strconv.Itoa(retryAfter))
		}
	case document.CodeDiskFull:
		h.Set("Retry-After", strconv.Itoa(retryFull))
	case document.CodeUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="proofsync"`)
	case document.CodeTooLarge, document.CodeTimeout:
		h.Set("Connection", "close") // there may be more of the request than anybody wants to read
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // who does not read an answer is gone
	}
}

var problemType = []string{document.ProblemType}

// problemOf puts an error into the words of the API. head is the state that was
// read, nil if there is none. What is not the request's fault is logged here
// and said to the client without its details.
func (a *API) problemOf(err error, head *document.Head) *document.Problem {
	if p, ok := errors.AsType[*document.Problem](err); ok {
		return p
	}
	p := a.databaseProblem(err)
	p.Head = head
	return p
}

func (a *API) databaseProblem(err error) *document.Problem {
	switch {
	case errors.Is(err, store.ErrCorrupt): // first: it may wrap any of the others
		a.metrics.corrupt.Inc()
		a.db.NoteDamage(0, err)
		a.notes.Error("stored data is damaged", "error", err)
		return document.NewProblem(document.CodeDatabase, "what is stored could not be read; the log of the process says more")
	case errors.Is(err, database.ErrEmpty):
		return document.NewProblem(document.CodeEmpty, "nothing is readable yet: the first sync is not complete")
	case errors.Is(err, database.ErrClosed):
		return document.NewProblem(document.CodeUnavailable, "the process is ending")
	case errors.Is(err, database.ErrPruned):
		return document.NewProblem(document.CodeGone, "%s", err)
	case errors.Is(err, database.ErrNotBoundary):
		return document.NewProblem(document.CodeNotBoundary, "%s", err)
	case errors.Is(err, database.ErrBeyond):
		return document.NewProblem(document.CodeBeyond, "%s", err)
	case errors.Is(err, document.ErrNotUTF8):
		return document.NewProblem(document.CodeNotText, "%s", err)
	}
	a.metrics.failed.Inc()
	a.notes.Error("request not answered", "error", err)
	return document.NewProblem(document.CodeDatabase, "the database could not be read; the log of the process says more")
}

// noteInterval is the shortest time between two log lines about trouble that
// every request may run into again; metrics count all of it.
const noteInterval = time.Minute
