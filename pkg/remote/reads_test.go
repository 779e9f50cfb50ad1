package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/verify"
)

func TestKeysAreReadAsTheyWereWritten(t *testing.T) {
	s := serve(t, nil)
	for _, form := range []document.Bytes{"", document.Hex, document.UTF8} {
		c := s.client(t, Options{Bytes: form})
		for _, key := range []string{"alice", "", "a/b//../c?d=%2F#e", "ключ"} {
			value := "of " + key + string(form)
			if _, err := c.Put(t.Context(), []byte(key), []byte(value)); err != nil {
				t.Fatalf("%q: %v", key, err)
			}
			e, err := c.Get(t.Context(), []byte(key), GetOptions{})
			if err != nil {
				t.Fatalf("%s %q: %v", form, key, err)
			}
			if got, err := c.Decode(*e.Value); err != nil || string(got) != value {
				t.Errorf("%s %q: got %q, %v", form, key, got, err)
			}
		}
	}
	c := s.client(t, Options{})
	_, err := c.Get(t.Context(), []byte("nobody"), GetOptions{})
	var p *document.Problem
	if !errors.As(err, &p) || p.Code != document.CodeKeyNotFound || p.Head == nil || len(p.Root) != 64 {
		t.Errorf("a key without a value: %v", err)
	}
	if _, err := s.client(t, Options{Bytes: document.UTF8}).Get(t.Context(), []byte("\xff"), GetOptions{}); !errors.Is(err, document.ErrNotUTF8) {
		t.Errorf("a key that is no text as text: %v", err)
	}
	if done, err := c.Delete(t.Context(), []byte("alice")); err != nil || done.Writes != 1 {
		t.Errorf("delete: %+v, %v", done, err)
	}
	if _, err := c.Get(t.Context(), []byte("alice"), GetOptions{}); code(err) != document.CodeKeyNotFound {
		t.Errorf("after its deletion: %v", err)
	}
}

func TestHistoryIsReadAtItsSize(t *testing.T) {
	s := serve(t, nil)
	c := s.client(t, Options{})
	sizes := fill(t, c, "a", "1", "a", "2")
	for i, size := range sizes {
		e, err := c.Get(t.Context(), []byte("a"), GetOptions{AtSize: size})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := c.Decode(*e.Value); string(got) != fmt.Sprint(i+1) || e.Size != size {
			t.Errorf("at %d: %q of size %d", size, got, e.Size)
		}
	}
	if _, err := c.Get(t.Context(), []byte("a"), GetOptions{AtSize: sizes[1] - 1}); code(err) != document.CodeNotBoundary {
		t.Errorf("between commits: %v", err)
	}
	if _, err := c.Get(t.Context(), []byte("a"), GetOptions{AtSize: 1 << 40}); code(err) != document.CodeBeyond {
		t.Errorf("in the future: %v", err)
	}
}

// A client that trusts a root must not be told anything that is not under it.
func TestTrustedReadsRefuseAnythingElse(t *testing.T) {
	tamper := ""
	s := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tamper == "" || r.Method != http.MethodGet {
				h.ServeHTTP(w, r)
				return
			}
			r.Header.Del("Accept-Encoding")
			h.ServeHTTP(changing{w, strings.NewReplacer(tamper, "AAAA")}, r)
		})
	})
	c := s.client(t, Options{})
	sizes := fill(t, c, "a", "secret", "b", "2")
	e, err := c.Get(t.Context(), []byte("a"), GetOptions{AtSize: sizes[0]})
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := verify.ParseRoot(e.Root, e.Size, "any", "variable")
	if err != nil {
		t.Fatal(err)
	}
	e, err = c.Get(t.Context(), []byte("a"), GetOptions{Trusted: &trusted})
	if err != nil || e.Proof == nil || e.Size != sizes[0] {
		t.Fatalf("%+v, %v", e, err)
	}
	other := trusted
	other.Root = mmr.Digest{1}
	if _, err := c.Get(t.Context(), []byte("a"), GetOptions{Trusted: &other}); !errors.Is(err, verify.ErrProof) {
		t.Errorf("under another root: %v", err)
	}
	for _, incomplete := range []verify.Root{{Root: trusted.Root, Size: trusted.Size}, {}} {
		if e, err := c.Get(t.Context(), []byte("a"), GetOptions{Trusted: &incomplete}); err == nil {
			t.Errorf("under a root of no family: %+v", e)
		}
	}
	tamper = (*e.Value)[:4]
	if e, err := c.Get(t.Context(), []byte("a"), GetOptions{Trusted: &trusted}); !errors.Is(err, verify.ErrProof) {
		t.Errorf("a changed value: %+v, %v", e, err)
	}
	if _, err := c.Get(t.Context(), []byte("a"), GetOptions{}); err != nil {
		t.Errorf("without trust it is believed: %v", err)
	}
}

// A server that answers with the truth about another key, and says that its
// bytes are to be read as those of the key asked for, is not believed.
func TestTrustedReadsRefuseAKeyThatWasNeverWritten(t *testing.T) {
	var lie *document.Entry
	s := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lie == nil {
				h.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(lie); err != nil {
				t.Error(err)
			}
		})
	})
	c := s.client(t, Options{Bytes: document.UTF8})
	// With its length before it, a byte string of 31 bytes has 32.
	key, value := strings.Repeat("k", 31), strings.Repeat("v", 31)
	sizes := fill(t, c, key, value)
	e, err := c.Get(t.Context(), []byte(key), GetOptions{Proof: true})
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := verify.ParseRoot(e.Root, sizes[0], "any", "variable")
	if err != nil {
		t.Fatal(err)
	}
	never := "\x1f" + key
	e.Key, e.Value, e.Proof.Encoding = never, new("\x1f"+value), "fixed"
	lie = e
	e, err = c.Get(t.Context(), []byte(never), GetOptions{Trusted: &trusted})
	if refused, ok := errors.AsType[*verify.Error](err); !ok || refused.Reason != verify.ReasonAnswer {
		t.Errorf("a key that was never written: %+v, %v", e, err)
	}
}

// changing replaces text in an answer.
type changing struct {
	http.ResponseWriter
	r *strings.Replacer
}

func (c changing) Write(b []byte) (int, error) {
	_, err := io.WriteString(c.ResponseWriter, c.r.Replace(string(b)))
	return len(b), err
}

func TestPagesAreFollowedUnderOneRoot(t *testing.T) {
	s := serve(t, nil)
	c := s.client(t, Options{})
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("k%d", i))
		fill(t, c, want[i], "v")
	}
	fill(t, c, "other", "v")
	var got []string
	root := ""
	for e, err := range c.List(t.Context(), ListOptions{Prefix: []byte("k"), Values: true, Limit: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		if root == "" {
			root = e.Root
			fill(t, c, "k00", "new", "k9", "newer") // not of this listing
		}
		key, _ := c.Decode(e.Key)
		value, _ := c.Decode(*e.Value)
		if got = append(got, string(key)); string(value) != "v" || e.Root != root || e.Bytes != document.Base64URL {
			t.Errorf("%s: %q under %s", key, value, e.Root)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	got = nil
	for e, err := range c.List(t.Context(), ListOptions{Prefix: []byte("k"), After: []byte("k00")}) {
		if err != nil || e.Value != nil {
			t.Fatal(e, err)
		}
		key, _ := c.Decode(e.Key)
		if got = append(got, string(key)); len(got) == 2 {
			break
		}
	}
	if !slices.Equal(got, []string{"k1", "k2"}) {
		t.Errorf("after k00: %q", got)
	}
	st, err := c.Status(t.Context())
	if err != nil || st.Head == nil || st.Family != "any" {
		t.Fatal(st, err)
	}
	next := uint64(0)
	for op, err := range c.Operations(t.Context(), OperationsOptions{Limit: 4}) {
		if err != nil || op.Location != next {
			t.Fatal(op, err)
		}
		next++
	}
	if next != st.Head.Size {
		t.Errorf("%d of %d operations", next, st.Head.Size)
	}
	last, n := st.Head.Size+1, 0
	for commit, err := range c.Commits(t.Context(), CommitsOptions{Limit: 2}) {
		if err != nil || commit.Size >= last {
			t.Fatal(commit, err)
		}
		last = commit.Size
		n++
	}
	if last != 1 || n != 14 {
		t.Errorf("%d commits down to size %d", n, last)
	}
	page, err := c.OperationsPage(t.Context(), OperationsOptions{Start: 2, Limit: 3, Proof: true, AtSize: st.Head.Size})
	if err != nil || len(page.Operations) != 3 || page.Proof == nil {
		t.Errorf("%+v, %v", page, err)
	}
	commits, err := c.CommitsPage(t.Context(), CommitsOptions{Before: st.Head.Size, Limit: 1})
	if err != nil || len(commits.Commits) != 1 || commits.Commits[0].Size >= st.Head.Size {
		t.Errorf("%+v, %v", commits, err)
	}
}

func TestAnswersThatMakeNoSenseAreErrors(t *testing.T) {
	const head = `"root":"aa","size":5,"floor":0,"start":0`
	for name, tc := range map[string]struct {
		status      int
		kind, body  string
		want        error
		wantMessage string
	}{
		"a page of a web server":      {200, "text/html", "<h1>Hello</h1>", ErrAnswer, "<h1>Hello</h1>"},
		"no JSON":                     {200, "application/json", "{", ErrAnswer, "unexpected EOF"},
		"larger than allowed":         {200, "application/json", `{"bytes":"base64url","next":"` + strings.Repeat("x", 2000) + `"}`, ErrTooLarge, "1000 bytes"},
		"another form":                {200, "application/json", `{"bytes":"hex",` + head + `}`, ErrAnswer, `"hex"`},
		"the next page elsewhere":     {200, "application/json", `{"bytes":"base64url",` + head + `,"next":"//evil.example/v1/keys?"}`, ErrAnswer, "no next page"},
		"the next page as an address": {200, "application/json", `{"bytes":"base64url",` + head + `,"next":"@evil.example/v1/keys?"}`, ErrAnswer, "no next page"},
		"the same page again":         {200, "application/json", `{"bytes":"base64url",` + head + `,"next":"/v1/keys?after=eA"}`, ErrAnswer, "no next page"},
		"a proxy's refusal":           {502, "text/html", "<b>\x1b[31mbad\ngateway</b>", nil, "502 Bad Gateway: <b> [31mbad gateway</b> (no answer of the proofsync API)"},
		"a problem without a detail":  {503, document.ProblemType, `{"code":"unavailable"}`, nil, "503 Service Unavailable (unavailable)"},
		"a problem without a code":    {500, document.ProblemType, `{}`, nil, "500 Internal Server Error: {}"},
	} {
		c := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.kind)
			w.WriteHeader(tc.status)
			io.WriteString(w, tc.body)
		})
		c.opts.MaxAnswer = 1000
		var err error
		for _, e := range c.List(t.Context(), ListOptions{}) {
			err = e
		}
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.wantMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSilenceEndsWithTheTimeOut(t *testing.T) {
	block := make(chan struct{})
	c := stand(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(block) })
	c.opts.Timeout = 20 * time.Millisecond
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("got %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{
		"", "127.0.0.1:8081", "localhost:8081", "ftp://x", "http://", "http:///v1", "unix://relative/path", "unix:///",
		"http://user:password@host", "http://host?x=1", "http://host#x", "unix:path", "http://ho st",
	} {
		if c, err := New(address, Options{}); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v, %v", address, c, err)
		}
	}
	if _, err := New("unix:///x.sock", Options{HTTPClient: new(http.Client)}); !errors.Is(err, ErrURL) {
		t.Errorf("an HTTP client that knows no sockets: %v", err)
	}
	if _, err := New("http://x", Options{Bytes: "base32"}); err == nil {
		t.Error("base32 was accepted")
	}
	// Below a path, as behind a proxy.
	s := serve(t, func(h http.Handler) http.Handler { return http.StripPrefix("/below/here", h) })
	c := dial(t, s.URL+"/below/here/", Options{})
	fill(t, c, "a", "1", "b", "2")
	n := 0
	for _, err := range c.List(t.Context(), ListOptions{Limit: 1}) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 2 {
		t.Errorf("%d keys", n)
	}
}

func TestSockets(t *testing.T) {
	s := serve(t, nil)
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("long", 30))} {
		if err := mkdir(dir); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "p.sock")
		l, err := listenIn(dir, "p.sock")
		if err != nil {
			t.Fatal(err)
		}
		h := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if coding := r.Header.Get("Accept-Encoding"); coding != "" {
				t.Errorf("%s %s: compression (%s) within one machine", r.Method, r.URL, coding)
			}
			s.api.Local().ServeHTTP(w, r)
		})}
		done := make(chan error, 1)
		go func() { done <- h.Serve(l) }()
		c, err := New("unix://"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(t.Context(), []byte("a"), []byte("1")); err != nil {
			t.Errorf("a path of %d bytes: %v", len(path), err)
		}
		if _, err := c.Page(t.Context(), ListOptions{Values: true}); err != nil {
			t.Error(err)
		}
		c.Close()
		h.Close()
		<-done
		_, err = c.Status(t.Context())
		if _, ok := errors.AsType[*net.OpError](err); !ok || !strings.HasPrefix(err.Error(), "unix://") {
			t.Errorf("nobody listens: %v", err)
		}
	}
}
