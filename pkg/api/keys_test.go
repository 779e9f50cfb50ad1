package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestKeyIsReadInEveryForm(t *testing.T) {
	f := newFixture(t, anyVariable)
	c := f.put("a/b//c d", "välue", "", "empty key", ".", "dot", "..", "dots", "none", "")
	for _, x := range []struct{ form, path, key, value string }{
		{"", b64("a/b//c d"), b64("a/b//c d"), b64("välue")},
		{"base64url", b64("a/b//c d"), b64("a/b//c d"), b64("välue")},
		{"hex", "612f622f2f632064", "612f622f2f632064", "76c3a46c7565"},
		{"utf8", "a/b//c%20d", "a/b//c d", "välue"},
		{"utf8", "a%2Fb%2f%2Fc%20d", "a/b//c d", "välue"},
		{"utf8", "", "", "empty key"},
		{"utf8", "%2E", ".", "dot"},
		{"utf8", "..", "..", "dots"},
		{"utf8", "none", "none", ""},
	} {
		target := "/v1/keys/" + x.path
		if x.form != "" {
			target += "?bytes=" + x.form
		}
		e := get[document.Entry](f, target)
		if e.Key != x.key || e.Value == nil || *e.Value != x.value || e.Root != c.Root.String() || e.Size != c.Size || e.Proof != nil {
			t.Errorf("GET %s: %+v", target, e)
		}
	}
}

func TestKeyWithProofIsVerifiable(t *testing.T) {
	for _, c := range []struct {
		name string
		f    *fixture
	}{{"fixed", newFixture(t, anyFixed)}, {"variable", newFixture(t, anyVariable)}, {"immutable", newFixture(t, immutableVar)}} {
		t.Run(c.name, func(t *testing.T) {
			for i := range 40 {
				c.f.put(key32(2*i), key32(7*i), key32(2*i+1), key32(7*i+1))
			}
			for i := range 80 {
				e := get[document.Entry](c.f, "/v1/keys/"+key32(i)+"?bytes=utf8&proof=true")
				ops := check(t, e.Proof, *e.Head)
				if len(ops) != 1 || string(ops[0].Key) != key32(i) || string(ops[0].Value) != *e.Value || e.Proof.Location != e.Location {
					t.Fatalf("%+v proves %+v", e, ops)
				}
			}
		})
	}
}

func TestKeyThatIsNotThereIsAnAnswerUnderARoot(t *testing.T) {
	f := newFixture(t, anyVariable)
	c := f.put("a", "1")
	r := f.do(http.MethodGet, "/v1/keys/"+b64("b"))
	if r.Header.Get("Proofsync-Root") != c.Root.String() || r.Header.Get("Proofsync-Size") != fmt.Sprint(c.Size) || r.Header.Get("ETag") != "" {
		t.Errorf("headers %v", r.Header)
	}
	p := decodeProblem(t, r, document.CodeKeyNotFound)
	if p.Head == nil || p.Root != c.Root.String() || p.Size != c.Size || p.Key != b64("b") {
		t.Errorf("%+v", p)
	}
}

func TestPagesOfAListingShowOneState(t *testing.T) {
	f := newFixture(t, anyVariable)
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("k/%02d", i))
		f.put(all[i], fmt.Sprint(i))
	}
	f.put("j", "before", "l", "after")
	for _, values := range []bool{false, true} {
		root := ""
		var got []string
		for next := fmt.Sprintf("/v1/keys?bytes=utf8&prefix=k/&limit=7&values=%v", values); next != ""; {
			page := get[document.Page](f, next)
			if root == "" {
				root = page.Root
			}
			if page.Root != root || page.Bytes != document.UTF8 {
				t.Errorf("page under %s, first one under %s", page.Root, root)
			}
			for _, e := range page.Keys {
				if (e.Value != nil) != values || e.Head != nil || values && "k/"+fmt.Sprintf("%02s", *e.Value) != e.Key {
					t.Errorf("entry %+v", e)
				}
				got = append(got, e.Key)
			}
			f.put("k/0", "new", "k/99", "new", fmt.Sprintf("k/%02d", len(got)%25), "changed")
			f.put(fmt.Sprintf("k/%02d", len(got)%25), fmt.Sprint(len(got)%25))
			next = page.Next
		}
		if !reflect.DeepEqual(got, all) {
			t.Errorf("values=%v: got %q, want %q", values, got, all)
		}
		if _, err := f.db.Apply(t.Context(), database.Batch{Writes: []database.Write{{Key: []byte("k/0"), Delete: true}, {Key: []byte("k/99"), Delete: true}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListingStartsAfterAKey(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("", "0", "a", "1", "b", "2")
	for query, want := range map[string]int{"": 3, "?after=&bytes=utf8": 2, "?after=a&bytes=utf8": 1, "?after=aa&bytes=utf8": 1, "?after=b&bytes=utf8": 0, "?prefix=b&bytes=utf8": 1, "?prefix=b&after=c&bytes=utf8": 0, "?prefix=&bytes=hex": 3} {
		page := get[document.Page](f, "/v1/keys"+query)
		if len(page.Keys) != want || page.Next != "" || page.Keys == nil {
			t.Errorf("%q: %+v", query, page)
		}
	}
}

func TestPageIsCutByBytes(t *testing.T) {
	f := newFixture(t, anyVariable)
	for i := range 5 {
		f.put(fmt.Sprint(i), strings.Repeat("x", 1<<20))
	}
	page := get[document.Page](f, "/v1/keys?values=true")
	all := len(page.Keys)
	for page.Next != "" {
		if len(page.Keys) == 0 || len(page.Keys) > 3 {
			t.Fatalf("%d keys of a mebibyte on a page", len(page.Keys))
		}
		page = get[document.Page](f, page.Next)
		all += len(page.Keys)
	}
	if all != 5 {
		t.Errorf("%d keys in all", all)
	}
}

func TestEarlierStatesAreReadable(t *testing.T) {
	f := newFixture(t, anyVariable)
	first := f.put("a", "1", "b", "1")
	second := f.put("a", "2", "c", "2")
	f.put("a", "3")
	for _, c := range []struct {
		commit database.Commit
		value  string
		keys   int
	}{{first, "1", 2}, {second, "2", 3}} {
		e := get[document.Entry](f, fmt.Sprintf("/v1/keys/a?bytes=utf8&proof=true&at_size=%d", c.commit.Size))
		if e.Root != c.commit.Root.String() || *e.Value != c.value {
			t.Errorf("at %d: %+v", c.commit.Size, e)
		}
		check(t, e.Proof, *e.Head)
		if page := get[document.Page](f, fmt.Sprintf("/v1/keys?at_size=%d", c.commit.Size)); len(page.Keys) != c.keys || page.Root != c.commit.Root.String() {
			t.Errorf("at %d: %+v", c.commit.Size, page)
		}
	}
	f.problem(document.CodeNotBoundary, "GET", fmt.Sprintf("/v1/keys/YQ?at_size=%d", first.Size-1))
	f.problem(document.CodeBeyond, "GET", "/v1/keys/YQ?at_size=1000")
	if p := f.problem(document.CodeNotBoundary, "GET", "/v1/keys/YQ?at_size=0"); p.Head == nil {
		t.Errorf("%+v names no state", p)
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	f := newFixture(t, anyFixed)
	f.put(key32(1), key32(2))
	v := newFixture(t, anyVariable)
	v.put("\xff", "binary key", "text", "\xff")
	key := "/v1/keys/" + b64(key32(1))
	for _, x := range []struct {
		f      *fixture
		method string
		target string
		code   document.Code
	}{
		{f, "GET", "/", document.CodeNotFound},
		{f, "GET", "/v2/keys", document.CodeNotFound},
		{f, "GET", "/v1/", document.CodeNotFound},
		{f, "GET", "/v1/status/", document.CodeNotFound},
		{f, "GET", "/v1//status", document.CodeNotFound},
		{f, "GET", "/v1/x/../status", document.CodeNotFound},
		{f, "PUT", key, document.CodeMethodNotAllowed},
		{f, "DELETE", key, document.CodeMethodNotAllowed},
		{f, "OPTIONS", key, document.CodeMethodNotAllowed},
		{f, "QUERY", "/v1/keys", document.CodeMethodNotAllowed},
		{f, "POST", "/v1/nothing", document.CodeNotFound},
		{f, "DELETE", "/", document.CodeNotFound},
		{f, "GET", "/v1/batches", document.CodeMethodNotAllowed},
		{f, "GET", key + "?prof=true", document.CodeInvalidRequest},
		{f, "GET", key + "?proof=1", document.CodeInvalidRequest},
		{f, "GET", key + "?proof=", document.CodeInvalidRequest},
		{f, "GET", key + "?proof=true&proof=true", document.CodeInvalidRequest},
		{f, "GET", key + "?bytes=base64", document.CodeInvalidRequest},
		{f, "GET", key + "?bytes=", document.CodeInvalidRequest},
		{f, "GET", key + "?at_size=-1", document.CodeInvalidRequest},
		{f, "GET", key + "?at_size=1e3", document.CodeInvalidRequest},
		{f, "GET", key + "?at_size=18446744073709551616", document.CodeInvalidRequest},
		{f, "GET", key + "?a=%zz", document.CodeInvalidRequest},
		{f, "GET", key + "?a;b", document.CodeInvalidRequest},
		{f, "GET", "/v1/status?x=1", document.CodeInvalidRequest},
		{f, "GET", "/v1/openapi.json?x=1", document.CodeInvalidRequest},
		{f, "GET", "/v1?x=1", document.CodeInvalidRequest},
		{f, "GET", "/v1/keys?limit=0", document.CodeInvalidRequest},
		{f, "GET", "/v1/keys?limit=10001", document.CodeInvalidRequest},
		{f, "GET", "/v1/keys?limit=ten", document.CodeInvalidRequest},
		{f, "GET", "/v1/keys?prefix=a*", document.CodeInvalidKey},
		{f, "GET", "/v1/keys?prefix=" + b64(key32(1)+"x"), document.CodeInvalidKey},
		{f, "GET", "/v1/keys?bytes=utf8&after=%ff", document.CodeInvalidKey},
		{f, "GET", "/v1/keys/", document.CodeInvalidKey},
		{f, "GET", "/v1/keys/YQ", document.CodeInvalidKey},
		{f, "GET", "/v1/keys/YQ==", document.CodeInvalidKey},
		{f, "GET", "/v1/keys/YR", document.CodeInvalidKey},
		{f, "GET", "/v1/keys/a%0Ab", document.CodeInvalidKey},
		{f, "GET", "/v1/keys/" + b64(key32(1)+"x"), document.CodeInvalidKey},
		{f, "GET", "/v1/keys/" + key32(1) + "?bytes=hex", document.CodeInvalidKey},
		{f, "GET", "/v1/keys/%ff?bytes=utf8", document.CodeInvalidKey},
		{v, "GET", "/v1/keys/" + strings.Repeat("A", 90_000), document.CodeTooLarge},
		{v, "GET", "/v1/keys?bytes=utf8&prefix=" + strings.Repeat("A", 70_000), document.CodeTooLarge},
		{v, "GET", "/v1/keys?x=" + strings.Repeat("A", 200_000), document.CodeTooLarge},
		{v, "GET", "/v1/keys?bytes=utf8", document.CodeNotText},
		{v, "GET", "/v1/keys/text?bytes=utf8", document.CodeNotText},
		{v, "GET", "/v1/operations?bytes=utf8", document.CodeNotText},
		{f, "GET", "/v1/operations?start=100", document.CodeBeyond},
		{f, "GET", "/v1/operations?start=4&proof=true", document.CodeBeyond},
		{f, "GET", "/v1/operations?start=x", document.CodeInvalidRequest},
		{f, "GET", "/v1/operations?at_size=2", document.CodeNotBoundary},
		{f, "GET", "/v1/commits?before=0", document.CodeInvalidRequest},
		{f, "GET", "/v1/commits?at_size=1", document.CodeInvalidRequest},
		{f, "GET", "/v1/commits?limit=1001", document.CodeInvalidRequest},
	} {
		name := x.method + " " + clip(x.target)
		t.Run(name, func(t *testing.T) {
			x.f.t = t
			r := x.f.do(x.method, x.target)
			if x.code == document.CodeMethodNotAllowed && r.Header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			p := decodeProblem(t, r, x.code)
			if x.target == key+"?prof=true" && !strings.Contains(p.Detail, `"prof"`) {
				t.Errorf("%q does not name the parameter", p.Detail)
			}
		})
	}
}

func TestNothingIsReadableBeforeAFirstSync(t *testing.T) {
	db, err := database.Open("db", database.Options{Codec: anyVariable, FS: store.MemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f := fixtureOf(t, db)
	for _, target := range []string{"/v1/keys/YQ", "/v1/keys", "/v1/operations", "/v1/commits", "/v1/keys/YQ?at_size=1"} {
		r := f.do("GET", target)
		decodeProblem(t, r, document.CodeEmpty)
		if r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", target)
		}
	}
	if s := get[document.Status](f, "/v1/status"); s.Head != nil || s.Ready || s.State != document.StateStarting {
		t.Errorf("%+v", s)
	}
}

func TestRootIsTheTag(t *testing.T) {
	f := newFixture(t, anyVariable)
	c := f.put("a", strings.Repeat("1", 5000))
	tag := `"` + c.Root.String() + `"`
	for _, target := range []string{"/v1/keys/YQ", "/v1/keys", "/v1/operations"} {
		r := f.do("GET", target)
		if r.Header.Get("ETag") != tag || r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("Vary") != "Accept-Encoding" ||
			r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Proofsync-Root") != c.Root.String() || r.Header.Get("Proofsync-Size") != fmt.Sprint(c.Size) {
			t.Errorf("%s: headers %v", target, r.Header)
		}
		for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*", strings.TrimSuffix(tag, `"`) + `-gzip"`, strings.TrimSuffix(tag, `"`) + `-zstd"`} {
			r := f.do("GET", target, "If-None-Match", known)
			body, _ := io.ReadAll(r.Body)
			if r.StatusCode != http.StatusNotModified || len(body) > 0 || r.Header.Get("ETag") != tag || r.Header.Get("Content-Type") != "" {
				t.Errorf("%s with %s: %d %v", target, known, r.StatusCode, r.Header)
			}
		}
		if r := f.do("GET", target, "If-None-Match", `"other"`); r.StatusCode != http.StatusOK {
			t.Errorf("%s with another tag: %d", target, r.StatusCode)
		}
	}
	f.problem(document.CodeKeyNotFound, "GET", "/v1/keys/Yg", "If-None-Match", tag)
	f.put("b", "2")
	if r := f.do("GET", "/v1/keys/YQ", "If-None-Match", tag); r.StatusCode != http.StatusOK {
		t.Errorf("under another root: %d", r.StatusCode)
	}
	for _, target := range []string{"/v1/status", "/v1/commits"} {
		if r := f.do("GET", target); r.Header.Get("ETag") != "" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", target, r.Header)
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("a", "1")
	for _, target := range []string{"/v1", "/v1/openapi.json", "/v1/keys/YQ", "/v1/keys", "/v1/operations", "/v1/keys/Yg", "/v1/nothing"} {
		g, h := f.do("GET", target), f.do("HEAD", target)
		body, _ := io.ReadAll(h.Body)
		if g.Header["Content-Length"] == nil {
			h.Header.Del("Content-Length") // counted by the http.Server, which is not here
		}
		if h.StatusCode != g.StatusCode || len(body) > 0 || !reflect.DeepEqual(g.Header, h.Header) {
			t.Errorf("%s: HEAD %d %v %q, GET %d %v", target, h.StatusCode, h.Header, body, g.StatusCode, g.Header)
		}
	}
}

// Short answers are counted by the http.Server, long ones by us.
func TestAnswersOfEverySizeSayHowLongTheyAre(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("short", "v", "long", strings.Repeat("v", selfCounted+1), "edge", strings.Repeat("v", selfCounted*3/4-250))
	s := httptest.NewServer(f.h)
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	for _, key := range []string{"short", "edge", "long", "missing", "short, packed if it is worth it"} {
		key, packed, _ := strings.Cut(key, ", ")
		var lengths []int64
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			q, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/v1/keys/"+key+"?bytes=utf8", nil)
			if err != nil {
				t.Fatal(err)
			}
			if packed != "" {
				q.Header.Set("Accept-Encoding", "gzip")
			}
			r, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if err != nil || r.TransferEncoding != nil || r.ContentLength <= 0 || method == http.MethodGet && n != r.ContentLength {
				t.Errorf("%s %s: %d bytes, %d announced, %v, %v", method, key, n, r.ContentLength, r.TransferEncoding, err)
			}
			lengths = append(lengths, r.ContentLength)
		}
		if lengths[0] != lengths[1] {
			t.Errorf("%s: GET has %d bytes, HEAD says %d", key, lengths[0], lengths[1])
		}
	}
}

func TestAnswersAreCompressedOnRequest(t *testing.T) {
	f := newFixture(t, anyVariable)
	c := f.put("a", strings.Repeat("1", 5000), "b", "short")
	want, _ := io.ReadAll(f.do("GET", "/v1/keys/YQ").Body)
	for accept, coding := range map[string]string{"gzip": "gzip", "zstd": "zstd", "gzip, zstd;q=0.5": "gzip", "gzip, deflate, br, zstd": "zstd", "br": "", "gzip;q=0": "", "identity": ""} {
		r := f.do("GET", "/v1/keys/YQ", "Accept-Encoding", accept)
		if got := r.Header.Get("Content-Encoding"); got != coding {
			t.Errorf("%s: sent as %q", accept, got)
			continue
		}
		body, _ := io.ReadAll(r.Body)
		tag := `"` + c.Root.String() + `"`
		switch coding {
		case "gzip":
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(z)
			tag = `"` + c.Root.String() + `-gzip"`
		case "zstd":
			z, err := zstd.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(z)
			z.Close()
			tag = `"` + c.Root.String() + `-zstd"`
		}
		if !bytes.Equal(body, want) || r.Header.Get("ETag") != tag || r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v, %d bytes", accept, r.Header, len(body))
		}
		again := f.do("GET", "/v1/keys/YQ", "Accept-Encoding", accept, "If-None-Match", tag)
		if again.StatusCode != http.StatusNotModified || again.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %v the second time", accept, again.StatusCode, again.Header)
		}
	}
	if r := f.do("GET", "/v1/keys/Yg", "Accept-Encoding", "gzip"); r.Header.Get("Content-Encoding") != "" {
		t.Errorf("a short answer: %v", r.Header)
	}
	f.problem(document.CodeKeyNotFound, "GET", "/v1/keys/YwYw", "Accept-Encoding", "gzip")
}

func TestLinksAreEscaped(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("a&b=%", "1", "a&c", "2")
	page := get[document.Page](f, "/v1/keys?limit=1&bytes=utf8&prefix="+url.QueryEscape("a&"))
	if next := get[document.Page](f, page.Next); len(next.Keys) != 1 || next.Keys[0].Key != "a&c" {
		t.Errorf("%s leads to %+v", page.Next, next)
	}
}
