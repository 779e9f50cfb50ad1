package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

const testToken = "a-token-of-some-length"

// newWriting is a fixture that takes writes, with a committer at work.
func newWriting(t testing.TB, c operation.Codec, change ...func(*Options)) *fixture {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: c, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	com, err := committer.New(db, committer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := com.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return fixtureOf(t, db, append([]func(*Options){func(o *Options) {
		o.Committer = com
		o.Token = func(s string) bool { return s == testToken }
	}}, change...)...)
}

// post sends a batch with the token; headers go over it.
func (f *fixture) post(query, body string, headers ...string) *http.Response {
	f.t.Helper()
	return f.to(f.h, http.MethodPost, "/v1/batches"+query, body,
		append([]string{"Authorization", "Bearer " + testToken, "Content-Type", typeJSON}, headers...)...)
}

// commit posts a batch that has to be committed.
func (f *fixture) commit(query, body string, headers ...string) document.Committed {
	f.t.Helper()
	r := f.post(query, body, headers...)
	defer r.Body.Close()
	return decode[document.Committed](f.t, r, http.StatusOK)
}

// refused posts a batch that must not be.
func (f *fixture) refused(code document.Code, query, body string, headers ...string) document.Problem {
	f.t.Helper()
	r := f.post(query, body, headers...)
	defer r.Body.Close()
	return decodeProblem(f.t, r, code)
}

func (f *fixture) commitLines(query, body string, headers ...string) document.Committed {
	f.t.Helper()
	return f.commit(query, body, append([]string{"Content-Type", typeLines}, headers...)...)
}

func (f *fixture) refusedLines(code document.Code, query, body string, headers ...string) document.Problem {
	f.t.Helper()
	return f.refused(code, query, body, append([]string{"Content-Type", typeLines}, headers...)...)
}

// local posts a batch through the socket, without a token.
func (f *fixture) local(status int, body string) {
	f.t.Helper()
	r := f.to(f.api.Local(), http.MethodPost, "/v1/batches", body, "Content-Type", typeJSON)
	defer r.Body.Close()
	if r.StatusCode != status {
		f.t.Errorf("status %d, want %d", r.StatusCode, status)
	}
}

// value is what a key has now.
func (f *fixture) value(key string) string {
	f.t.Helper()
	v, err := f.db.View()
	if err != nil {
		f.t.Fatal(err)
	}
	defer v.Close()
	e, err := v.Get([]byte(key))
	if err != nil {
		return "none"
	}
	return string(e.Value)
}

func (f *fixture) size() uint64 {
	f.t.Helper()
	v, err := f.db.View()
	if err != nil {
		f.t.Fatal(err)
	}
	defer v.Close()
	return v.Size()
}

func TestABatchIsDurableAndReadableWhenItIsAnswered(t *testing.T) {
	f := newWriting(t, anyVariable)
	r := f.post("", `{"bytes":"utf8","writes":[{"key":"a","value":"1"},{"key":"b","value":""},{"key":"none","delete":true}],"metadata":"m"}`)
	defer r.Body.Close()
	c := decode[document.Committed](t, r, http.StatusOK)
	v, err := f.db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if c.Root != v.Root().String() || c.Size != v.Size() || c.Location != v.Size()-1 || c.Writes != 3 || c.Commits != 1 || c.Replayed {
		t.Errorf("answer %+v, the database is at %s, %d", c, v.Root(), v.Size())
	}
	if r.Header.Get("ETag") != `"`+c.Root+`"` || r.Header.Get("Proofsync-Root") != c.Root || r.Header.Get("Proofsync-Size") != fmt.Sprint(c.Size) {
		t.Errorf("headers %v", r.Header)
	}
	if m, err := v.Metadata(); err != nil || string(m) != "m" {
		t.Errorf("metadata %q, %v", m, err)
	}
	if f.value("a") != "1" || f.value("b") != "" {
		t.Errorf("a is %s, b is %s", f.value("a"), f.value("b"))
	}
	e := get[document.Entry](f, "/v1/keys/a?bytes=utf8")
	if *e.Value != "1" || e.Root != c.Root {
		t.Errorf("%+v", e)
	}
	// base64url unless something else is said, in either place.
	for i, body := range []string{`{"writes":[{"key":"Yw","value":"MQ"}]}`, `{"bytes":"hex","writes":[{"key":"64","value":"31"}]}`} {
		f.commit("", body)
		if k := string(rune('c' + i)); f.value(k) != "1" {
			t.Errorf("%s is %s", k, f.value(k))
		}
	}
	f.commit("?bytes=utf8", `{"writes":[{"key":"e","value":"1"}]}`)
	if f.value("e") != "1" {
		t.Errorf("e is %s", f.value("e"))
	}
}

func TestPreconditionsAreChecked(t *testing.T) {
	f := newWriting(t, anyVariable)
	first := f.commit("?bytes=utf8", `{"writes":[{"key":"a","value":"1","if_absent":true}]}`)
	for name, body := range map[string]string{
		"absent":   `{"writes":[{"key":"b","value":"1"},{"key":"a","value":"2","if_absent":true}]}`,
		"value":    `{"writes":[{"key":"b","value":"1"},{"key":"a","value":"2","if_value":"2"}]}`,
		"location": `{"writes":[{"key":"b","value":"1"},{"key":"a","delete":true,"if_location":1000}]}`,
		"no value": `{"writes":[{"key":"a","value":"2","if_value":""}]}`,
	} {
		p := f.refused(document.CodePrecondition, "?bytes=utf8", body)
		if p.Key != "a" || p.Head == nil || p.Root != first.Root || p.Size != first.Size {
			t.Errorf("%s: %+v", name, p)
		}
	}
	stale := strings.Repeat("0", 64)
	if p := f.refused(document.CodePrecondition, "", `{"writes":[],"if_root":"`+stale+`"}`); p.Root != first.Root {
		t.Errorf("if_root: %+v", p)
	}
	if f.value("a") != "1" || f.value("b") != "none" || f.size() != first.Size {
		t.Errorf("something was written: a is %s, b is %s", f.value("a"), f.value("b"))
	}
	f.commit("?bytes=utf8", `{"writes":[{"key":"a","value":"2","if_value":"1"}],"if_root":"`+first.Root+`"}`)
	at := get[document.Entry](f, "/v1/keys/a?bytes=utf8")
	f.commit("?bytes=utf8", fmt.Sprintf(`{"writes":[{"key":"a","delete":true,"if_location":%d}]}`, at.Location))
	if f.value("a") != "none" {
		t.Errorf("a is %s", f.value("a"))
	}
}

func TestBadBatchesAreRefusedAndWriteNothing(t *testing.T) {
	v := newWriting(t, anyVariable, func(o *Options) { o.Limits.BodyBytes = 200_000 })
	x := newWriting(t, anyFixed)
	i := newWriting(t, immutableVar)
	i.put("a", "1")
	big := strings.Repeat("A", 100_000)
	for _, c := range []struct {
		f     *fixture
		code  document.Code
		what  string // has to be in the detail
		body  string
		query string
	}{
		{v, document.CodeInvalidRequest, "nothing", ``, ""},
		{v, document.CodeInvalidRequest, "", `{`, ""},
		{v, document.CodeInvalidRequest, "", `[]`, ""},
		{v, document.CodeInvalidRequest, "writes", `{}`, ""},
		{v, document.CodeInvalidRequest, "null", `null`, ""},
		{v, document.CodeInvalidRequest, "/writes", `{"writes":null}`, ""},
		{v, document.CodeInvalidRequest, "/writes/0", `{"writes":[null]}`, ""},
		{v, document.CodeInvalidRequest, "/writes/0/value", `{"writes":[{"key":"YQ","value":null,"delete":true}]}`, ""},
		{v, document.CodeInvalidRequest, "/metadata", `{"writes":[],"metadata":null}`, ""},
		{v, document.CodeInvalidRequest, "/write", `{"write":[]}`, ""},
		{v, document.CodeInvalidRequest, "/Writes", `{"Writes":[]}`, ""},
		{v, document.CodeInvalidRequest, "/writes/0/if_absnt", `{"writes":[{"key":"YQ","value":"YQ","if_absnt":true}]}`, ""},
		{v, document.CodeInvalidRequest, "twice", `{"writes":[{"key":"YQ","value":"YQ","value":"YQ"}]}`, ""},
		{v, document.CodeInvalidRequest, "twice", `{"writes":[],"writes":[]}`, ""},
		{v, document.CodeInvalidRequest, "", `{"writes":[]} {}`, ""},
		{v, document.CodeInvalidRequest, "", `{"writes":[]}]`, ""},
		{v, document.CodeInvalidRequest, "/writes/0/key", `{"writes":[{"key":1,"value":"YQ"}]}`, ""},
		{v, document.CodeInvalidRequest, "/writes/0/if_location", `{"writes":[{"key":"YQ","value":"YQ","if_location":-1}]}`, ""},
		{v, document.CodeInvalidRequest, "/writes/0/if_location", `{"writes":[{"key":"YQ","value":"YQ","if_location":1.5}]}`, ""},
		{v, document.CodeInvalidRequest, "", "{\"writes\":[{\"key\":\"\xff\",\"value\":\"YQ\"}]}", ""},
		{v, document.CodeInvalidRequest, `"value"`, `{"writes":[{"key":"YQ"}]}`, ""},
		{v, document.CodeInvalidRequest, "not both", `{"writes":[{"key":"YQ","value":"YQ","delete":true}]}`, ""},
		{v, document.CodeInvalidRequest, "condition", `{"writes":[{"key":"YQ","value":"YQ","if_absent":true,"if_value":"YQ"}]}`, ""},
		{v, document.CodeInvalidRequest, "base32", `{"bytes":"base32","writes":[]}`, ""},
		{v, document.CodeInvalidRequest, "query", `{"bytes":"hex","writes":[]}`, "?bytes=utf8"},
		{v, document.CodeInvalidRequest, "commit_every", `{"writes":[]}`, "?commit_every=1"},
		{v, document.CodeInvalidRequest, "if_root", `{"writes":[],"if_root":"ab"}`, ""},
		{v, document.CodeInvalidKey, "base64url", `{"writes":[{"key":"Y*","value":"YQ"}]}`, ""},
		{v, document.CodeInvalidValue, "base64url", `{"writes":[{"key":"YQ","value":"YQ=="}]}`, ""},
		{v, document.CodeInvalidValue, "if_value", `{"writes":[{"key":"YQ","value":"YQ","if_value":"="}]}`, ""},
		{v, document.CodeInvalidValue, "metadata", `{"writes":[],"metadata":"="}`, ""},
		{v, document.CodeDuplicateKey, "write 1", `{"writes":[{"key":"YQ","value":"YQ"},{"key":"YQ","delete":true}]}`, ""},
		{v, document.CodeTooLarge, "", `{"writes":[{"key":"` + big + `","value":"YQ"}]}`, ""},
		{v, document.CodeTooLarge, "body", `{"writes":[{"key":"YQ","value":"` + big + big + `"}]}`, ""},
		{v, document.CodeFloor, "", `{"writes":[],"floor":1}`, ""},
		{x, document.CodeInvalidKey, "32", `{"writes":[{"key":"YQ","value":"` + b64(key32(1)) + `"}]}`, ""},
		{x, document.CodeInvalidValue, "32", `{"writes":[{"key":"` + b64(key32(1)) + `","value":"YQ"}]}`, ""},
		{x, document.CodeInvalidValue, "32", `{"writes":[],"metadata":"YQ"}`, ""},
		{i, document.CodeImmutable, "", `{"writes":[{"key":"YQ","value":"Mg"}]}`, ""},
		{i, document.CodeImmutable, "", `{"writes":[{"key":"Yg","delete":true}]}`, ""},
		{i, document.CodeFloor, "", `{"writes":[],"floor":1000000}`, ""},
	} {
		size := c.f.size()
		r := c.f.post(c.query, c.body)
		r.Body.Close() // which still can be read
		p := decode[document.Problem](t, r, c.code.Status())
		if p.Code != c.code || !strings.Contains(p.Detail, c.what) {
			t.Errorf("%.80s: %s: %s", c.body, p.Code, p.Detail)
		}
		if strings.Contains(p.Detail, "Go ") || strings.Contains(p.Detail, "json:") || strings.Contains(p.Detail, "jsontext") {
			t.Errorf("%.80s: the detail is the library's: %s", c.body, p.Detail)
		}
		if c.f.size() != size {
			t.Errorf("%.80s: something was written", c.body)
		}
	}
}

func TestOnlyWhoMayWritesAndOnlyInKnownForms(t *testing.T) {
	const body = `{"writes":[]}`
	f := newWriting(t, anyVariable)
	for _, token := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + testToken, testToken} {
		r := f.post("", body, "Authorization", token)
		r.Body.Close()
		decodeProblem(t, r, document.CodeUnauthorized)
		if r.Header.Get("WWW-Authenticate") == "" {
			t.Error("no WWW-Authenticate")
		}
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json;;", "multipart/form-data; boundary=x"} {
		r := f.post("", body, "Content-Type", kind)
		r.Body.Close()
		decodeProblem(t, r, document.CodeUnsupportedType)
		if r.Header.Get("Accept-Post") == "" {
			t.Errorf("%q: no Accept-Post", kind)
		}
	}
	f.refused(document.CodeUnsupportedType, "", body, "Content-Encoding", "br")
	for _, key := range []string{"", strings.Repeat("k", 256), "tab\there", "umläut"} {
		f.refused(document.CodeInvalidRequest, "", body, "Idempotency-Key", key)
	}
	f.commit("", body, "Content-Type", "application/json; charset=utf-8", "Authorization", "bearer "+testToken)

	// The socket asks for no token; without a token file it is the only way.
	f.local(http.StatusOK, body)
	f = newWriting(t, anyVariable, func(o *Options) { o.Token = nil })
	f.refused(document.CodeWritesDisabled, "", body)
	f.local(http.StatusOK, body)
	f = newFixture(t, anyVariable)
	f.refused(document.CodeWritesDisabled, "", body)
	f.local(http.StatusForbidden, body)
}

func TestAnIdempotencyKeyWritesOnce(t *testing.T) {
	f := newWriting(t, anyVariable)
	body := `{"bytes":"utf8","writes":[{"key":"a","value":"1","if_absent":true}]}`
	first := f.commit("", body, "Idempotency-Key", "one")
	again := f.commit("", body, "Idempotency-Key", "one")
	if !again.Replayed || again.Root != first.Root || again.Location != first.Location {
		t.Errorf("first %+v, again %+v", first, again)
	}
	f.refused(document.CodeKeyReused, "", body+" ", "Idempotency-Key", "one")
	f.refused(document.CodeKeyReused, "?bytes=hex", `{"writes":[]}`, "Idempotency-Key", "one")
	f.refusedLines(document.CodeKeyReused, "?bytes=utf8", `{"key":"b","value":"1"}`, "Idempotency-Key", "one")
}

func TestBodiesMayBeCompressed(t *testing.T) {
	f := newWriting(t, anyVariable, func(o *Options) { o.Limits.BodyBytes = 10_000 })
	pack := map[string]func(s string) string{
		"gzip": func(s string) string {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = io.WriteString(z, s)
			_ = z.Close()
			return b.String()
		},
		"zstd": func(s string) string {
			z, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			return string(z.EncodeAll([]byte(s), nil))
		},
	}
	for coding, pack := range pack {
		doc := `{"bytes":"utf8","writes":[{"key":"` + coding + `","value":"1"}]}`
		f.commit("", pack(doc), "Content-Encoding", coding)
		if f.value(coding) != "1" {
			t.Errorf("%s is %s", coding, f.value(coding))
		}
		line := `{"key":"` + coding + `","value":"2"}`
		f.commitLines("?bytes=utf8", pack(line), "Content-Encoding", coding)
		if f.value(coding) != "2" {
			t.Errorf("%s is %s", coding, f.value(coding))
		}
		// Small on the way, large when unpacked.
		bomb := pack(`{"bytes":"utf8","writes":[{"key":"x","value":"` + strings.Repeat("1", 1<<20) + `"}]}`)
		f.refused(document.CodeTooLarge, "", bomb, "Content-Encoding", coding)
		f.refusedLines(document.CodeTooLarge, "", bomb, "Content-Encoding", coding)
		half := pack(strings.Repeat(line+"\n", 100))
		f.refusedLines(document.CodeInvalidRequest, "?bytes=utf8", half[:len(half)-3], "Content-Encoding", coding)
		f.refused(document.CodeInvalidRequest, "", "no such thing", "Content-Encoding", coding)
		f.refusedLines(document.CodeInvalidRequest, "", "no such thing", "Content-Encoding", coding)
	}
}

func linesOf(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"key\":\"%06d\",\"value\":\"%d\"}\n", from+i, i)
	}
	return b.String()
}

func TestAStreamIsCommittedInParts(t *testing.T) {
	f := newWriting(t, anyVariable)
	c := f.commitLines("?bytes=utf8&commit_every=10", linesOf(0, 25)+"\n  \n"+`{"key":"last","delete":true}`)
	if c.Writes != 26 || c.Commits != 3 || c.Size != f.size() || c.Location != c.Size-1 || uint64(c.Operations) != c.Size-1 {
		t.Errorf("%+v", c)
	}
	// A key that comes again begins a new commit, so that the last line counts
	// and conditions see what the stream did.
	c = f.commitLines("?bytes=utf8", `{"key":"a","value":"1"}
{"key":"b","value":"1"}
{"key":"a","value":"2","if_value":"1"}
{"key":"a","delete":true,"if_value":"2"}
`)
	if c.Writes != 4 || c.Commits != 3 || f.value("a") != "none" || f.value("b") != "1" {
		t.Errorf("%+v, a is %s", c, f.value("a"))
	}
	c = f.commitLines("", "\n\n")
	if c.Writes != 0 || c.Commits != 0 || c.Size != f.size() || c.Replayed {
		t.Errorf("nothing: %+v", c)
	}
}

func TestAProblemInAStreamNamesItsLineAndWhatWasApplied(t *testing.T) {
	for _, x := range []struct {
		code    document.Code
		query   string
		bad     string // line 6
		line    uint64
		applied int
	}{
		{document.CodeInvalidRequest, "commit_every=2", `{"key":"k","value":"v","if":1}`, 6, 4},
		{document.CodeInvalidRequest, "commit_every=2", `{"key":"k"`, 6, 4},
		{document.CodeInvalidRequest, "commit_every=100", `{}`, 6, 0},
		{document.CodePrecondition, "commit_every=2", `{"key":"k","value":"v","if_value":"w"}`, 6, 4},
		{document.CodePrecondition, "commit_every=3", `{"key":"k","value":"v","if_value":"w"}`, 6, 3},
		{document.CodeTooLarge, "commit_every=2", `{"key":"` + strings.Repeat("k", 70_000) + `","value":"v"}`, 6, 4},
		{document.CodeTooLarge, "commit_every=2", `{"key":"k","value":"` + strings.Repeat("k", 100_000) + `"}`, 6, 4},
		{document.CodeInvalidRequest, "commit_every=0", ``, 0, -1},
		{document.CodeInvalidRequest, "commit_every=100001", ``, 0, -1},
	} {
		f := newWriting(t, anyVariable, func(o *Options) { o.Limits.BodyBytes = 100_000 })
		p := f.refusedLines(x.code, "?bytes=utf8&"+x.query, linesOf(0, 5)+x.bad+"\n"+linesOf(100, 5))
		applied := -1
		if p.Applied != nil {
			applied = *p.Applied
		}
		if p.Line != x.line || applied != x.applied {
			t.Errorf("%.60s: line %d, applied %d; %s", x.bad, p.Line, applied, p.Detail)
		}
		for i := range 5 {
			if there := f.value(fmt.Sprintf("%06d", i)) != "none"; there != (i < applied) {
				t.Errorf("%.60s: line %d is there: %v", x.bad, i+1, there)
			}
		}
	}
}

func TestAStreamSentAgainFindsWhatItHadCommitted(t *testing.T) {
	f := newWriting(t, anyVariable)
	const query = "?bytes=utf8&commit_every=4"
	bad := linesOf(0, 10) + "{"
	p := f.refusedLines(document.CodeInvalidRequest, query, bad, "Idempotency-Key", "one")
	if *p.Applied != 8 {
		t.Fatalf("%+v", p)
	}
	size := f.size()
	c := f.commitLines(query, linesOf(0, 10), "Idempotency-Key", "one")
	if c.Writes != 10 || c.Commits != 3 || c.Replayed || f.size() <= size {
		t.Errorf("the corrected stream: %+v", c)
	}
	size = f.size()
	c = f.commitLines(query, linesOf(0, 10), "Idempotency-Key", "one")
	if !c.Replayed || c.Size != size || f.size() != size {
		t.Errorf("the whole stream again: %+v", c)
	}
	p = f.refusedLines(document.CodeKeyReused, query, linesOf(0, 5)+linesOf(50, 5), "Idempotency-Key", "one")
	if *p.Applied != 0 || p.Line != 1 || f.size() != size {
		t.Errorf("another stream: %+v", p)
	}
}

// serveNet serves the fixture on a loopback port.
func (f *fixture) serveNet() *httptest.Server {
	s := httptest.NewServer(f.h)
	f.t.Cleanup(s.Close)
	return s
}

func TestAClientThatVanishesLeavesWholeCommits(t *testing.T) {
	f := newWriting(t, anyVariable)
	addr := f.serveNet().Listener.Addr().String()
	for name, x := range map[string]struct {
		head, body string
		want       int // keys
	}{
		"document":        {"Content-Type: application/json\r\nContent-Length: 100\r\n", `{"writes":[]}`, 0},
		"stream":          {"Content-Type: application/x-ndjson\r\nContent-Length: 10000\r\n", linesOf(0, 5) + `{"key":"k","value":"1`, 4},
		"whole last line": {"Content-Type: application/x-ndjson\r\nContent-Length: 10000\r\n", linesOf(10, 3) + `{"key":"k","value":"1"}`, 2},
		"chunked":         {"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(linesOf(20, 3)), linesOf(20, 3)), 2},
	} {
		before := f.keys()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /v1/batches?bytes=utf8&commit_every=2 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n%s", testToken, x.head, x.body)
		if x.want > 0 {
			waitFor(t, func() bool { return f.keys()-before >= x.want })
		}
		c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until the server has given it up
		c.Close()
		if got := f.keys() - before; got != x.want || f.value("k") != "none" {
			t.Errorf("%s: %d keys, want %d", name, got, x.want)
		}
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *fixture) keys() (n int) {
	f.t.Helper()
	v, err := f.db.View()
	if err != nil {
		f.t.Fatal(err)
	}
	defer v.Close()
	if err := v.Scan(nil, nil, func([]byte, database.Entry) bool { n++; return true }); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func TestABodyThatDoesNotArriveIsNotWaitedForForEver(t *testing.T) {
	f := newWriting(t, anyVariable, func(o *Options) { o.Limits.RequestTime = 50 * time.Millisecond })
	addr := f.serveNet().Listener.Addr().String()
	for _, kind := range []string{typeJSON, typeLines} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{", testToken, kind)
		b, err := io.ReadAll(c)
		c.Close()
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 408 ") || !strings.Contains(string(b), string(document.CodeTimeout)) {
			t.Errorf("%s: %v, %s", kind, err, b)
		}
	}
}

func TestAStreamMayTakeLongerThanARequest(t *testing.T) {
	f := newWriting(t, anyVariable, func(o *Options) { o.Limits.RequestTime = 400 * time.Millisecond })
	s := f.serveNet()
	pr, pw := io.Pipe()
	go func() {
		for i := range 8 {
			_, _ = io.WriteString(pw, linesOf(i, 1))
			time.Sleep(70 * time.Millisecond)
		}
		pw.Close()
	}()
	r, err := http.NewRequest(http.MethodPost, s.URL+"/v1/batches?bytes=utf8&commit_every=3", pr)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", typeLines)
	r.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if c := decode[document.Committed](t, resp, http.StatusOK); c.Writes != 8 || c.Commits != 3 {
		t.Errorf("%+v", c)
	}
}

func TestMemoryForBodiesIsBounded(t *testing.T) {
	f := newWriting(t, anyVariable, func(o *Options) { o.Limits.BodyBytes = 1 << 20; o.Limits.RequestTime = 20 * time.Millisecond })
	if !f.api.writing.bodies.TryAcquire(f.api.writing.room) {
		t.Fatal("not all of it is free")
	}
	large := `{"writes":[]` + strings.Repeat(" ", smallBody) + `}`
	r := f.post("", large)
	defer r.Body.Close()
	decodeProblem(t, r, document.CodeUnavailable)
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	f.refusedLines(document.CodeInvalidRequest, "", `{`) // small enough
	f.commit("", `{"writes":[]}`)
	f.api.writing.bodies.Release(f.api.writing.room)
	f.commit("", large)
}

func TestDocumentsOfBatchesAreReadAsTheyAreWritten(t *testing.T) {
	value, loc := "MQ", uint64(3)
	want := document.Batch{Bytes: document.Base64URL, Writes: []document.Write{{Key: "YQ", Value: &value, IfLocation: &loc}, {Key: "Yg", Delete: true}}}
	b, err := json.Marshal(&want)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := decodeBatch(b, new(params))
	if err != nil {
		t.Fatal(err)
	}
	if len(batch.Writes) != 2 || string(batch.Writes[0].Key) != "a" || string(batch.Writes[0].Value) != "1" || *batch.Writes[0].IfLocation != 3 || !batch.Writes[1].Delete {
		t.Errorf("%+v", batch)
	}
}
