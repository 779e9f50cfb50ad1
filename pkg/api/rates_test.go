package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

// newLimited is as much of an API as rates need. Certificates are headers here.
func newLimited(l Limits) *API {
	m := NewMetrics(nil)
	return &API{
		metrics: m, admit: newAdmission(l.withDefaults(), m),
		o: Options{Identity: func(r *http.Request) string { return r.Header.Get("Identity") }},
	}
}

func asked(peer, identity string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/v1/status", nil)
	r.RemoteAddr = peer
	r.Header.Set("Identity", identity)
	return r
}

func TestRatesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newLimited(Limits{Rate: 14, RatePerHost: 4})
		for _, step := range []struct {
			after          time.Duration
			peer, identity string
			want           int
		}{
			{0, "192.0.2.1:1000", "", 4},
			{0, "192.0.2.1:1001", "", 0}, // the same host
			{0, "[2001:db8::1]:1", "", 4},
			{0, "[2001:db8::2]:1", "", 0}, // the same network
			{0, "192.0.2.1:1002", "spiffe://a", 4},
			{0, "192.0.2.9:1", "spiffe://a", 0}, // the same identity
			{0, "192.0.2.3:1", "", 2},           // which is what is left for everybody
			{time.Second, "192.0.2.1:1000", "", 4},
		} {
			time.Sleep(step.after)
			got := 0
			for range 20 {
				if _, err := a.rate(make(http.Header), asked(step.peer, step.identity)); err == nil {
					got++
				}
			}
			if got != step.want {
				t.Errorf("%+v: %d", step, got)
			}
		}
	})
}

func TestBytesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, l := range []Limits{{Bytes: 1000}, {BytesPerHost: 1000}} {
			a := newLimited(l)
			h := make(http.Header)
			sent, err := a.rate(h, asked("192.0.2.1:1", ""))
			if err != nil {
				t.Fatal(err)
			}
			sent(999 - 300)
			if sent, err = a.rate(h, asked("192.0.2.1:1", "")); err != nil {
				t.Fatalf("300 are left: %v", err)
			}
			sent(4000) // what was begun is answered
			_, err = a.rate(h, asked("192.0.2.1:1", ""))
			if p, ok := err.(*document.Problem); !ok || p.Code != document.CodeTooMany || !strings.Contains(p.Detail, "bytes") || h.Get("Retry-After") != "4" {
				t.Errorf("%v %v", err, h)
			}
			if _, err := a.rate(h, asked("192.0.2.2:1", "")); (err == nil) != (l.Bytes == 0) {
				t.Errorf("%+v, another client: %v", l, err)
			}
			time.Sleep(4 * time.Second)
			if _, err = a.rate(h, asked("192.0.2.1:1", "")); err != nil {
				t.Errorf("when it was told to come back: %v", err)
			}
		}
	})
}

// What is sent is counted on its way through compression, and problems are, too.
func TestAnswersAreCountedAsTheyAreSent(t *testing.T) {
	f := newFixture(t, anyVariable, func(o *Options) { o.Limits = Limits{BytesPerHost: 100_000} })
	f.put("a", strings.Repeat("x", 1<<20))
	for _, encoding := range []string{"gzip", ""} {
		r := f.do("GET", "/v1/keys/YQ", "Accept-Encoding", encoding)
		if r.StatusCode != http.StatusOK {
			t.Fatalf("%q: %d", encoding, r.StatusCode)
		}
	}
	r := f.do("GET", "/v1/status")
	decodeProblem(t, r, document.CodeTooMany)
	var after int
	if _, err := fmt.Sscan(r.Header.Get("Retry-After"), &after); err != nil || after < 8 || after > 14 {
		t.Errorf("Retry-After %q for about 1.4 MB at 100 kB/s", r.Header.Get("Retry-After"))
	}
	if n := f.metric("proofsync_http_refused_total", "limit", "bytes_per_host"); n != 1 {
		t.Errorf("%v refusals counted", n)
	}
	if n := f.metric("proofsync_http_clients", "", ""); n != 1 {
		t.Errorf("%v clients", n)
	}
}
