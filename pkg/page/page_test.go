package page

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/operation"
)

var (
	root = strings.Repeat("ab", 32)
	head = &document.Head{Root: root, Size: 1234567, Floor: 1200000, Start: 77}
)

// fake is an API that answers from a map of paths.
type fake map[string]any

func (f fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, ok := f[r.URL.Path]
	if p, isProblem := v.(*document.Problem); !ok || isProblem {
		if !ok {
			p = document.NewProblem(document.CodeNotFound, "nothing")
		}
		w.WriteHeader(p.Status)
		v = p
	}
	if text, ok := v.(string); ok {
		w.Write([]byte(text))
		return
	}
	json.NewEncoder(w).Encode(v)
}

func server() *document.Status {
	return &document.Status{
		Role: document.RoleServer, Version: "v9", Family: "any", Encoding: "fixed", State: document.StateServing, Message: "open <b>for</b> all",
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Started: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Head: head,
	}
}

func handlerOf(api http.Handler) http.Handler {
	return Handler(Options{API: func() http.Handler { return api }})
}

func get(t *testing.T, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFactsAreInThePage(t *testing.T) {
	eta := 95.0
	client := server()
	client.Role, client.State = document.RoleClient, document.StateSyncing
	client.Target, client.Lag = &document.Target{End: 2000000}, &document.Lag{Operations: 765433, Seconds: 3}
	client.Sync = &document.Sync{Progress: 0.9999, Rate: 1500, ETASeconds: &eta, LastError: "peer <hung> up"}
	client.Sources = []document.Source{{Name: "writer:8080", State: document.SourceCoolDown, Following: true, LastError: "it lied"}}
	when := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	commits := &document.Commits{Commits: []document.Commit{{Root: root, Size: 1234567, Time: &when}, {Root: strings.Repeat("cd", 32), Size: 1234500}}}
	empty := server()
	empty.Role, empty.State, empty.Head, empty.Message = document.RoleClient, document.StateConnecting, nil, "looking"
	value := "dmFsdWU"
	for name, tc := range map[string]struct {
		api    fake
		target string
		want   []string
		not    []string
	}{
		"server": {fake{"/v1/status": server(), "/v1/commits": commits}, "/",
			[]string{"Serving", root, "1,234,567", "1,200,000", "any/fixed", "v9", "2026-01-02 03:04:05 UTC", "+67", "open &lt;b&gt;for&lt;/b&gt; all", "hashed with SHA-256"},
			[]string{"Sources", "Lag", "<b>for"}},
		"replica": {fake{"/v1/status": client, "/v1/commits": commits}, "/",
			[]string{"Syncing", "replica", "2,000,000", "765,433 ops", "99.9%", "1500 ops/s", "1 min 35 s", "writer:8080", "cool-down, pushes", "it lied", "peer &lt;hung&gt; up"},
			[]string{"Operations per second"}},
		"replica before its first sync": {fake{"/v1/status": empty, "/v1/commits": document.NewProblem(document.CodeEmpty, "empty")}, "/",
			[]string{"Looking for its source", "none yet", "nothing is readable yet", "unknown"}, nil},
		"signed": {fake{"/v1/status": server(), "/v1/checkpoint": "example.org/<b>\n1234560\nAAAA\nstart 7\ntime 2026-01-02T03:04:01Z\n\n— writer AAAA\n— <i>witness BBBB\n"}, "/",
			[]string{"checkpoint of <b>1,234,560</b> operations of <b>example.org/&lt;b&gt;</b>", "2026-01-02 03:04:01 UTC", "signed writer, &lt;i&gt;witness", `href="v1/checkpoint"`},
			[]string{"<i>"}},
		"signed without sense": {fake{"/v1/status": server(), "/v1/checkpoint": "example.org/log"}, "/", []string{root}, []string{"checkpoint of"}},
		"no answer":            {fake{}, "/", []string{"could not ask its own process", "nothing"}, nil},
		"a key": {fake{"/v1/status": server(), "/v1/keys/K9gGyX8OAK8aH8Myj6djqSaXI8jbj6xPk69x2xhtbpA": &document.Entry{Bytes: document.Base64URL, Value: &value, Location: 5, Head: head}}, "/?key=alice&as=text",
			[]string{"Not checked", "<code>value</code>", "5 of 1,234,567", `value="alice"`, "/v1/keys/K9gGyX8OAK8aH8Myj6djqSaXI8jbj6xPk69x2xhtbpA?proof=true"}, nil},
		"an absent key": {fake{"/v1/status": server(), "/v1/keys/K9gGyX8OAK8aH8Myj6djqSaXI8jbj6xPk69x2xhtbpA": &document.Problem{Code: document.CodeKeyNotFound, Status: 404, Head: head}}, "/?key=alice",
			[]string{"No value.", "at size 1,234,567"}, nil},
		"a bad key":        {fake{"/v1/status": server()}, "/?key=xyz&as=hex", []string{"Not found out.", "is not hexadecimal", `<option value="hex" selected>`}, nil},
		"a bad form":       {fake{"/v1/status": server()}, "/?key=xyz&as=octal", []string{"text, hex or base64url"}, nil},
		"a key of a trick": {fake{"/v1/status": server()}, "/?key=" + url.QueryEscape(`"><script>alert(1)</script>`), []string{"Not found out."}, []string{"<script>alert"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(t, handlerOf(tc.api), http.MethodGet, tc.target)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
			for _, want := range tc.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%q is missing in\n%s", want, w.Body)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(w.Body.String(), not) {
					t.Errorf("%q is in\n%s", not, w.Body)
				}
			}
		})
	}
}

// What the policy forbids must not be in the files: a browser would say so in
// its console only.
func TestPageHasNothingFromElsewhere(t *testing.T) {
	h := handlerOf(fake{"/v1/status": server()})
	w := get(t, h, http.MethodGet, "/")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, want) {
			t.Errorf("the policy %q lacks %s", got, want)
		}
	}
	if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options is %q", got)
	}
	html := w.Body.String()
	if m := regexp.MustCompile(`(?i)\s(on[a-z]+|style)=|<style|<script(>|[^>]*[^"]>[^<])`).FindString(html); m != "" {
		t.Errorf("inline in the page: %q", m)
	}
	texts := map[string]string{"index.html": html}
	for name, a := range h.(*handler).assets {
		texts[name] = string(a.body)
		if a.contentType == "" {
			t.Errorf("%s has no content type", name)
		}
	}
	for name, text := range texts {
		for _, m := range regexp.MustCompile(`(https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s"']*`).FindAllString(text, -1) {
			if !strings.HasPrefix(m, "http://www.w3.org/2000/svg") {
				t.Errorf("%s speaks of %s", name, m)
			}
		}
	}
	linked := regexp.MustCompile(`(?:href|src)="page/([^"]+)"|from "\./([^"]+)"`)
	used := map[string]bool{}
	for name, text := range texts {
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			file := m[1] + m[2]
			used[file] = true
			if w := get(t, h, http.MethodGet, "/page/"+file); w.Code != http.StatusOK {
				t.Errorf("%s needs %s: %d", name, file, w.Code)
			}
		}
	}
	for name := range texts {
		if name != "index.html" && !used[name] {
			t.Errorf("nobody uses %s", name)
		}
	}
}

func TestFilesAreCachedByTheirContent(t *testing.T) {
	h := handlerOf(fake{})
	w := get(t, h, http.MethodGet, "/page/app.js")
	etag := w.Header().Get("ETag")
	if w.Code != http.StatusOK || !strings.HasPrefix(etag, `"`) || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" || w.Body.Len() == 0 {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for _, tag := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if w := get(t, h, http.MethodGet, "/page/app.js", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != etag {
			t.Errorf("%s: %d %v", tag, w.Code, w.Header())
		}
	}
	if w := get(t, h, http.MethodGet, "/page/app.js", "If-None-Match", `"x"`); w.Code != http.StatusOK {
		t.Errorf("another tag: %d", w.Code)
	}
	if w := get(t, h, http.MethodHead, "/page/style.css"); w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestThereIsNothingElse(t *testing.T) {
	h := handlerOf(fake{})
	for _, path := range []string{"/index.html", "/page", "/page/", "/page/index.html", "/page/../page.go", "/page/x.js", "/favicon.ico", "//"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := get(t, h, http.MethodPost, "/"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("POST: %d", w.Code)
	}
	if w := get(t, Handler(Options{}), http.MethodGet, "/"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "there is no API") {
		t.Errorf("without an API: %d %s", w.Code, w.Body)
	}
}

// The page finds what the importer stored.
func TestKeysAreFoundAsTheyAreImported(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		encoding := rapid.SampledFrom([]operation.Encoding{operation.Fixed, operation.Variable}).Draw(t, "encoding")
		as := rapid.SampledFrom([]string{"", "text", "hex", "base64url"}).Draw(t, "as")
		key := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "key")
		if rapid.Bool().Draw(t, "of 32 bytes") {
			key = rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		}
		form, text := document.UTF8, string(key)
		if as == "hex" || as == "base64url" {
			form = document.Bytes(as)
			text, _ = form.Encode(key)
		}
		got, err := storedKey(struct{ Key, As string }{text, as}, encoding.String())
		want := importer.StoredKey(operation.NewCodec(operation.Any, encoding), key, form != document.UTF8)
		if err != nil || string(got) != string(want) {
			t.Fatalf("got %x, %v, want %x", got, err, want)
		}
	})
}

// The page with scripts says the same words as the one without.
func TestScriptsKnowEveryState(t *testing.T) {
	js, err := static.ReadFile("static/app.js")
	if err != nil {
		t.Fatal(err)
	}
	for state, words := range stateWords {
		if !regexp.MustCompile(`\b` + state + `: "` + words + `"`).Match(js) {
			t.Errorf("app.js does not call %s %q", state, words)
		}
	}
}

// endless answers with more than a page can want.
type endless struct{ wrote error }

func (e *endless) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for e.wrote == nil {
		_, e.wrote = w.Write(make([]byte, 1<<20))
	}
}

func TestAnswersAreBounded(t *testing.T) {
	e := new(endless)
	if w := get(t, handlerOf(e), http.MethodGet, "/"); w.Code != http.StatusOK || !errors.Is(e.wrote, errTooLong) {
		t.Errorf("%d, %v", w.Code, e.wrote)
	}
}

func TestWordsForPeople(t *testing.T) {
	for seconds, want := range map[float64]string{-1: "unknown", 0: "0.0 s", 9.94: "9.9 s", 59.4: "59 s", 61: "1 min 1 s", 3700: "1 h 1 min", 90000: "1 d 1 h", 1e12: "unknown"} {
		if got := duration(seconds); got != want {
			t.Errorf("%v: %q, want %q", seconds, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 1<<64 - 1: "18,446,744,073,709,551,615"} {
		if got := number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for in, want := range map[string]string{
		"text\n": "text\n", "\x00\x01": "0001", "\u202etxet": "e280ae74786574", strings.Repeat("a", 5000): strings.Repeat("a", 4096) + "… (5,000 bytes in all)",
	} {
		if got := shown([]byte(in)); got != want {
			t.Errorf("%.20q: %.40q, want %.40q", in, got, want)
		}
	}
	if got := commits(slices.Repeat([]document.Commit{{Size: 9}}, 9)); len(got) != commitsShown {
		t.Errorf("%d commits are shown", len(got))
	}
}
