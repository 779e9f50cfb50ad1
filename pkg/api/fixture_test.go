package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// No goroutine of an API outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	anyFixed     = operation.NewCodec(operation.Any, operation.Fixed)
	anyVariable  = operation.NewCodec(operation.Any, operation.Variable)
	immutableVar = operation.NewCodec(operation.Immutable, operation.Variable)
)

// fixture is an API over a database, reached without a network.
type fixture struct {
	t   testing.TB
	db  *database.DB
	api *API
	reg *prometheus.Registry
	log *lines
	h   http.Handler
}

func newFixture(t testing.TB, c operation.Codec, change ...func(*Options)) *fixture {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: c, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return fixtureOf(t, db, change...)
}

func fixtureOf(t testing.TB, db *database.DB, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, db: db, reg: prometheus.NewRegistry(), log: new(lines)}
	o := Options{DB: db, Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: NewMetrics(f.reg)}
	for _, c := range change {
		c(&o)
	}
	f.api = New(o)
	f.h = f.api.Handler()
	t.Cleanup(func() {
		if err := f.api.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// put commits key, value, key, value.
func (f *fixture) put(kv ...string) database.Commit {
	f.t.Helper()
	var b database.Batch
	for i := 0; i < len(kv); i += 2 {
		b.Writes = append(b.Writes, database.Write{Key: []byte(kv[i]), Value: []byte(kv[i+1])})
	}
	c, err := f.db.Apply(context.Background(), b)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// do sends a request with headers name, value, name, value.
func (f *fixture) do(method, target string, headers ...string) *http.Response {
	f.t.Helper()
	return f.to(f.h, method, target, "", headers...)
}

func (f *fixture) to(h http.Handler, method, target, body string, headers ...string) *http.Response {
	f.t.Helper()
	r := httptest.NewRequest(method, "http://api.example"+target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// get reads a document that there has to be.
func get[T any](f *fixture, target string) T {
	f.t.Helper()
	r := f.do(http.MethodGet, target)
	return decode[T](f.t, r, http.StatusOK)
}

// problem reads a problem that there has to be.
func (f *fixture) problem(code document.Code, method, target string, headers ...string) document.Problem {
	f.t.Helper()
	return decodeProblem(f.t, f.do(method, target, headers...), code)
}

func decodeProblem(t testing.TB, r *http.Response, code document.Code) document.Problem {
	t.Helper()
	p := decode[document.Problem](t, r, code.Status())
	if p.Code != code || p.Status != r.StatusCode || p.Detail == "" || p.Title == "" || p.Type != "urn:proofsync:problem:"+string(code) {
		t.Errorf("problem %+v, want code %s", p, code)
	}
	if got := r.Header.Get("Content-Type"); got != document.ProblemType {
		t.Errorf("problem sent as %q", got)
	}
	return p
}

func decode[T any](t testing.TB, r *http.Response, status int) T {
	t.Helper()
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", r.StatusCode, status, body)
	}
	// What is short is counted by the http.Server, which is not here.
	if want := r.Header.Get("Content-Length"); want != fmt.Sprint(len(body)) && (want != "" || len(body) > selfCounted) {
		t.Errorf("%d bytes sent, %q announced", len(body), want)
	}
	var doc T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return doc
}

// check verifies a proof with nothing but the root.
func check(t testing.TB, p *document.Proof, h document.Head) []operation.Operation {
	t.Helper()
	if p == nil {
		t.Fatal("no proof")
	}
	if p.Kind != document.ProofOperation || p.Root != h.Root || p.Size != h.Size {
		t.Fatalf("proof of %s at root %s size %d, document says %s %d", p.Kind, p.Root, p.Size, h.Root, h.Size)
	}
	family, err := operation.ParseFamily(p.Family)
	if err != nil {
		t.Fatal(err)
	}
	encoding, err := operation.ParseEncoding(p.Encoding)
	if err != nil {
		t.Fatal(err)
	}
	c := operation.NewCodec(family, encoding)
	var raw []byte
	var ops []operation.Operation
	for _, text := range p.Operations {
		b, err := document.Base64URL.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		op, err := c.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		raw, ops = append(raw, b...), append(ops, op)
	}
	run, err := c.NewRun(raw)
	if err != nil {
		t.Fatal(err)
	}
	root, err := mmr.ParseDigest(h.Root)
	if err != nil {
		t.Fatal(err)
	}
	proof := mmr.Proof{Leaves: p.Size, InactivePeaks: p.InactivePeaks, Digests: digests(t, p.Digests)}
	if err := proof.VerifyPins(mmr.HashSpan(p.Location, run), digests(t, p.Pins), root); err != nil {
		t.Fatalf("proof of %d operations at %d: %v", len(ops), p.Location, err)
	}
	return ops
}

func digests(t testing.TB, texts []string) []mmr.Digest {
	t.Helper()
	var ds []mmr.Digest
	for _, text := range texts {
		d, err := mmr.ParseDigest(text)
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
	return ds
}

// key32 is a key of a fixed database.
func key32(i int) string { return fmt.Sprintf("%032d", i) }

func b64(s string) string {
	text, _ := document.Base64URL.Encode([]byte(s))
	return text
}

// emptyReplica is a database before its first sync.
func emptyReplica(t testing.TB, c operation.Codec) *database.DB {
	t.Helper()
	db, err := database.Open("replica", database.Options{Codec: c, FS: store.MemFS()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
