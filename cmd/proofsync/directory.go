package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/remote"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// What the status of a directory that no process holds says of itself.
const (
	roleDirectory = "directory"
	stateClosed   = "closed"
)

// errStill: a directory alone does not change.
var errStill = errors.New("no process holds the directory, so nothing happens in it")

// inProcess opens a directory that nobody holds and answers from it with the
// same API that a server would offer, without a network in between. So there is
// one way to read a database, and one kind of answer.
func (a *access) inProcess(m mode) (*session, error) {
	codec, err := database.Detect(a.dir, nil)
	if err != nil {
		return nil, err
	}
	db, err := database.Open(a.dir, database.Options{Codec: codec, ReadOnly: m != writing})
	if err != nil {
		return nil, err
	}
	if m == watching {
		return nil, errors.Join(fmt.Errorf("directory %s: %w", a.dir, errStill), db.Close())
	}
	d := &directory{db: db}
	o := api.Options{DB: db, Status: d.status}
	if m == writing {
		if d.committer, err = committer.New(db, committer.Options{}); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		var ctx context.Context
		ctx, d.cancel = context.WithCancel(context.Background())
		d.ended = make(chan error, 1)
		go func() { d.ended <- d.committer.Run(ctx) }()
		o.Committer = d.committer
	}
	d.api = api.New(o)
	ro := a.options()
	ro.HTTPClient = &http.Client{Transport: within{d.api.Local()}}
	ro.Timeout, ro.Retries = -1, -1
	c, err := remote.New("http://directory", ro)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return &session{Client: c, where: a.dir, form: a.form, codec: &codec, stop: d.close}, nil
}

// directory is a database open in this process.
type directory struct {
	db        *database.DB
	api       *api.API
	committer *committer.Committer
	cancel    context.CancelFunc
	ended     chan error
}

func (d *directory) close() error {
	err := d.api.Shutdown(context.Background())
	if d.cancel != nil {
		d.cancel()
		if e := <-d.ended; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, d.db.Close())
}

// status is that of a directory; the API adds what it reads.
func (d *directory) status() document.Status {
	codec := d.db.Codec()
	s := document.Status{
		Role: roleDirectory, Version: telemetry.Build().Version,
		Family: codec.Family().String(), Encoding: codec.Encoding().String(),
		State: stateClosed, Message: "no process holds this directory", Started: time.Now(),
		Writes: d.committer != nil, Epoch: d.db.Epoch(),
	}
	if loads := d.db.Loads(); loads.Staged {
		s.Sync = &document.Sync{Phase: "interrupted", Stored: loads.StagedEnd}
	} else if loads.Published && loads.Stored > loads.Size {
		s.Sync = &document.Sync{Phase: "interrupted", Stored: loads.Stored}
	}
	return s
}

// within sends requests to a handler of this process. Answers are whole pages,
// so they are collected before they are handed on.
type within struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (t within) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	in.RequestURI, in.RemoteAddr = req.URL.RequestURI(), "directory"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	w := &collected{header: make(http.Header)}
	t.h.ServeHTTP(w, in)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req,
	}, nil
}

// collected is an http.ResponseWriter that keeps what it is given.
type collected struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (c *collected) Header() http.Header { return c.header }

// WriteHeader implements http.ResponseWriter.
func (c *collected) WriteHeader(status int) {
	if c.status == 0 && status >= 200 {
		c.status = status
	}
}

// Write implements http.ResponseWriter.
func (c *collected) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(b)
}
