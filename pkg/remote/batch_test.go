package remote

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
)

func TestBatchesAndTheirConditions(t *testing.T) {
	s := serve(t, nil)
	c := s.client(t, Options{})
	ctx := t.Context()
	done, err := c.Apply(ctx, Batch{Metadata: []byte("first"), Writes: []Write{
		{Key: []byte("a"), Value: []byte("1"), IfAbsent: true}, {Key: []byte("b")},
	}})
	if err != nil || done.Writes != 2 || done.Replayed {
		t.Fatalf("%+v, %v", done, err)
	}
	e, err := c.Get(ctx, []byte("b"), GetOptions{})
	if err != nil || *e.Value != "" {
		t.Errorf("an empty value: %+v, %v", e, err)
	}
	at := e.Location
	commits, err := c.CommitsPage(ctx, CommitsOptions{Limit: 1})
	if err != nil || commits.Commits[0].Metadata == nil || *commits.Commits[0].Metadata != "Zmlyc3Q" {
		t.Errorf("metadata: %+v, %v", commits, err)
	}
	other, wrong := at+1000, "0000000000000000000000000000000000000000000000000000000000000000"
	for name, tc := range map[string]struct {
		batch Batch
		want  document.Code
	}{
		"a key that is there":    {Batch{Writes: []Write{{Key: []byte("a"), IfAbsent: true}}}, document.CodePrecondition},
		"another value":          {Batch{Writes: []Write{{Key: []byte("a"), IfValue: []byte("2")}}}, document.CodePrecondition},
		"an empty value":         {Batch{Writes: []Write{{Key: []byte("a"), IfValue: []byte{}}}}, document.CodePrecondition},
		"another location":       {Batch{Writes: []Write{{Key: []byte("b"), IfLocation: &other}}}, document.CodePrecondition},
		"another root":           {Batch{IfRoot: wrong, Writes: []Write{{Key: []byte("b")}}}, document.CodePrecondition},
		"a key twice":            {Batch{Writes: []Write{{Key: []byte("a")}, {Key: []byte("a"), Delete: true}}}, document.CodeDuplicateKey},
		"a floor for any":        {Batch{Floor: &at, Writes: []Write{{Key: []byte("a")}}}, document.CodeFloor},
		"a key that is too long": {Batch{Writes: []Write{{Key: make([]byte, operation.MaxKey+1)}}}, document.CodeTooLarge},
	} {
		if done, err := c.Apply(ctx, tc.batch); code(err) != tc.want {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
	if _, err := c.Apply(ctx, Batch{Writes: []Write{{Key: []byte("b"), Value: []byte("2"), IfLocation: &at}}}); err != nil {
		t.Errorf("the right location: %v", err)
	}
	for _, o := range []Options{{Token: "another-token-than-that"}} {
		if _, err := s.client(t, o).Put(ctx, []byte("a"), nil); code(err) != document.CodeUnauthorized {
			t.Errorf("a wrong token: %v", err)
		}
	}
	if _, err := s.client(t, Options{Bytes: document.UTF8}).Put(ctx, []byte("a"), []byte("\xff")); !errors.Is(err, document.ErrNotUTF8) {
		t.Errorf("a value that is no text as text: %v", err)
	}
}

// failing lets batches through and then loses their answers.
type failing struct {
	next http.Handler
	lose int
	keys []string
}

func (f *failing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		f.next.ServeHTTP(w, r)
		return
	}
	f.keys = append(f.keys, r.Header.Get("Idempotency-Key"))
	if len(f.keys) <= f.lose {
		f.next.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}
	f.next.ServeHTTP(w, r)
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func TestLostAnswersDoNotWriteTwice(t *testing.T) {
	f := &failing{lose: 2}
	s := serve(t, func(h http.Handler) http.Handler { f.next = h; return f })
	c := s.client(t, Options{})
	before, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.Put(t.Context(), []byte("a"), []byte("1"))
	if err != nil || !done.Replayed {
		t.Fatalf("%+v, %v", done, err)
	}
	if keys := slices.Compact(f.keys); len(f.keys) != 3 || len(keys) != 1 || keys[0] == "" {
		t.Errorf("sent with the keys %q", f.keys)
	}
	n := 0
	for range c.Commits(t.Context(), CommitsOptions{}) {
		n++
	}
	if n != 2 {
		t.Errorf("%d commits from size %d to %d, want the first and one", n, before.Head.Size, done.Size)
	}
	// Another batch has another key; one's own key is kept.
	f.keys, f.lose = nil, 0
	fill(t, c, "b", "1", "b", "2")
	if f.keys[0] == f.keys[1] {
		t.Error("two batches had one key")
	}
	b := Batch{IdempotencyKey: "mine", Writes: []Write{{Key: []byte("c")}}}
	if done, err := c.Apply(t.Context(), b); err != nil || done.Replayed {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := c.Apply(t.Context(), b); err != nil || !done.Replayed {
		t.Errorf("again: %+v, %v", done, err)
	}
	b.Writes[0].Value = []byte("other")
	if _, err := c.Apply(t.Context(), b); code(err) != document.CodeKeyReused {
		t.Errorf("the key for another batch: %v", err)
	}
}

func TestPatience(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		code   document.Code
		tries  int
	}{
		"too busy":         {503, document.CodeUnavailable, 3},
		"too many":         {429, document.CodeTooMany, 3},
		"a proxy's word":   {502, "", 3},
		"a condition":      {412, document.CodePrecondition, 1},
		"no permission":    {401, document.CodeUnauthorized, 1},
		"nothing is there": {404, "", 1},
	} {
		tries := 0
		c := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			tries++
			w.Header().Set("Retry-After", "0")
			if tc.code != "" {
				w.Header().Set("Content-Type", document.ProblemType)
			}
			w.WriteHeader(tc.status)
			if tc.code != "" {
				fmt.Fprintf(w, `{"code":%q,"detail":"no","status":%d}`, tc.code, tc.status)
			}
		})
		c.opts.Retries = 2
		if _, err := c.Put(t.Context(), nil, nil); err == nil || code(err) != tc.code || tries != tc.tries {
			t.Errorf("%s: %v after %d tries, want %d", name, err, tries, tc.tries)
		}
	}
	c := dial(t, "http://127.0.0.1:1", Options{Retries: -1})
	if _, err := c.Put(t.Context(), nil, nil); err == nil {
		t.Error("nobody is there, and it was written")
	}
}

func TestPausesGrowToABoundAndFollowTheServer(t *testing.T) {
	b := backoff{100 * time.Millisecond, 10 * time.Second}
	for n := 1; n < 100; n++ {
		most := 10 * time.Second
		if n < 8 {
			most = b.first << (n - 1)
		}
		if d := b.before(n, io.EOF); d < most/2 || d > most {
			t.Errorf("try %d: %s, want up to %s", n, d, most)
		}
	}
	if d := b.before(1, fmt.Errorf("x: %w", &refusedError{io.EOF, 7 * time.Second})); d != 7*time.Second {
		t.Errorf("the server asked for 7 s and got %s", d)
	}
	if d := b.before(1, &refusedError{io.EOF, time.Hour}); d != maxRetryAfter {
		t.Errorf("the server asked for an hour and got %s", d)
	}
}
