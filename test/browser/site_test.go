package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/page"
	"github.com/proofsync/proofsync/pkg/store"
)

// site is a live server with its page.
type site struct {
	t    testing.TB
	db   *database.DB
	port string

	// tamper changes answers on their way, if it is there.
	tamper    atomic.Pointer[func(path string, answer map[string]any)]
	down      atomic.Bool  // nobody answers
	forgotten atomic.Int32 // so many questions about keys are answered by 410
	full      atomic.Bool  // nobody may watch
	cut       func()       // ends every connection
	extra     *http.ServeMux
}

// serve starts a site over a new database. status may be nil: a server's.
func serve(t testing.TB, c operation.Codec, status func() document.Status) *site {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: c, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, db: db, extra: http.NewServeMux()}
	var a *api.API
	a = api.New(api.Options{DB: db, Status: status, Page: page.Handler(page.Options{API: func() http.Handler { return a.Local() }})})
	s.extra.Handle("/", a.Handler())
	server := httptest.NewServer(http.HandlerFunc(s.answer))
	s.cut = server.CloseClientConnections
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.port = u.Port()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		server.CloseClientConnections()
		server.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// near is a secure context, although it is plain http: browsers trust localhost.
func (s *site) near() string { return "http://localhost:" + s.port + "/" }

// far is what a pod's address is to a browser: not secure.
func (s *site) far() string { return "http://" + farName + ":" + s.port + "/" }

func (s *site) answer(w http.ResponseWriter, r *http.Request) {
	if s.down.Load() {
		panic(http.ErrAbortHandler)
	}
	if r.URL.Path == "/v1/watch" && s.full.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/keys/") && s.forgotten.Add(-1) >= 0 {
		p := document.NewProblem(document.CodeGone, "this state is not held")
		w.Header().Set("Content-Type", document.ProblemType)
		w.WriteHeader(p.Status)
		json.NewEncoder(w).Encode(p)
		return
	}
	tamper := s.tamper.Load()
	if tamper == nil || !strings.HasPrefix(r.URL.Path, "/v1/") || r.URL.Path == "/v1/watch" {
		s.extra.ServeHTTP(w, r)
		return
	}
	r.Header.Del("Accept-Encoding")
	kept := httptest.NewRecorder()
	s.extra.ServeHTTP(kept, r)
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(kept.Body.Bytes()))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		s.t.Errorf("%s: %v", r.URL.Path, err)
	}
	(*tamper)(r.URL.Path, doc)
	b, err := json.Marshal(doc)
	if err != nil {
		s.t.Error(err)
	}
	w.Header().Set("Content-Type", kept.Header().Get("Content-Type"))
	w.WriteHeader(kept.Code)
	w.Write(b)
}

// lie changes every answer about a key from now on.
func (s *site) lie(change func(entry map[string]any)) {
	f := func(path string, answer map[string]any) {
		if strings.HasPrefix(path, "/v1/keys/") {
			change(answer)
		}
	}
	s.tamper.Store(&f)
}

// put writes keys and values in one commit.
func (s *site) put(pairs ...string) database.Commit {
	s.t.Helper()
	var b database.Batch
	for i := 0; i < len(pairs); i += 2 {
		b.Writes = append(b.Writes, database.Write{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	c, err := s.db.Apply(context.Background(), b)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// fill makes commits of a few keys each.
func (s *site) fill(commits int) {
	s.t.Helper()
	for i := range commits {
		var pairs []string
		for j := range 3 + i%5 {
			pairs = append(pairs, s.item("key %d-%d", i%40, j), s.item("value %d-%d", i, j))
		}
		s.put(pairs...)
	}
}

// item is a key or a value that the encoding takes.
func (s *site) item(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if s.db.Codec().Encoding() == operation.Fixed {
		return fmt.Sprintf("%-32.32s", text)
	}
	return text
}

var (
	anyFixed     = operation.NewCodec(operation.Any, operation.Fixed)
	anyVariable  = operation.NewCodec(operation.Any, operation.Variable)
	immutableFix = operation.NewCodec(operation.Immutable, operation.Fixed)
	immutableVar = operation.NewCodec(operation.Immutable, operation.Variable)
)

// replica is the status of a client that is syncing, as its engine would say.
func replica(state string, progress float64) func() document.Status {
	began := time.Now().Add(-83 * time.Second)
	return func() document.Status {
		now := time.Now().UTC()
		left := uint64((1 - progress) * 1_000_000)
		eta := float64(left) / 41_250
		s := document.Status{
			Role: document.RoleClient, Version: "v1.4.0", State: state, Started: began.UTC(), Time: now, Ready: true,
			Message: "everything that its source has named is verified and readable",
			Target:  &document.Target{Root: strings.Repeat("5e", 32), End: 1_000_000, Time: now},
			Lag:     &document.Lag{Operations: left},
			Sync: &document.Sync{
				Phase: "in_step", Iteration: 12, Stored: 1_000_000 - left, Progress: progress, LastSync: &now, Following: true,
			},
			Sources: []document.Source{
				{Name: "writer.proofsync.svc:8080", State: document.SourceConnected, Following: true},
				{Name: "replica-eu-2.proofsync.svc:8080", State: document.SourceConnected},
			},
		}
		if state == document.StateSyncing {
			s.Message = "fetching what is missing, each answer verified as it arrives"
			s.Lag.Seconds = now.Sub(began).Seconds()
			s.Sync.Phase, s.Sync.Rate, s.Sync.ETASeconds, s.Sync.LastSync, s.Sync.Following = "fetching", 41_250, &eta, nil, false
			s.Sources[1] = document.Source{
				Name: "replica-eu-2.proofsync.svc:8080", State: document.SourceCoolDown, CoolDownSeconds: 24,
				LastError: "invalid proof: root mismatch in answer for operations [204800, 214800)",
			}
		}
		return s
	}
}

// overwrite makes doc what the JSON says.
func overwrite(t testing.TB, doc map[string]any, text string) {
	clear(doc)
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Error(err)
	}
}
