package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/proofsync/proofsync/pkg/document"
)

func TestRequestsBeyondTheLimitWaitAndAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(Limits{Requests: 2, Wait: time.Second}.withDefaults(), NewMetrics(nil))
		first, err := a.request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.request(t.Context()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		_, err = a.request(t.Context())
		if p, ok := errors.AsType[*document.Problem](err); !ok || p.Code != document.CodeUnavailable || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		go func() {
			time.Sleep(time.Second / 2)
			first.release()
		}()
		if _, err := a.request(t.Context()); err != nil {
			t.Errorf("a place became free: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.request(gone); err == nil {
			t.Error("whoever is gone waits for nothing")
		}
	})
}

func TestWatchersHavePlacesOfTheirOwn(t *testing.T) {
	a := newAdmission(Limits{Requests: 1, Streams: 1}.withDefaults(), NewMetrics(nil))
	first, err := a.stream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.stream(); err == nil {
		t.Error("there were two watchers")
	}
	if _, err := a.request(t.Context()); err != nil {
		t.Error(err)
	}
	first.release()
	if _, err := a.stream(); err != nil {
		t.Error(err)
	}
	none := newAdmission(Limits{Streams: -1}.withDefaults(), NewMetrics(nil))
	if _, err := none.stream(); err == nil {
		t.Error("there was a watcher")
	}
}

func TestRefusalsSayWhenToComeBack(t *testing.T) {
	f := newFixture(t, anyFixed, func(o *Options) { o.Limits = Limits{Rate: 1, URLBytes: 100} })
	f.problem(document.CodeTooLarge, "GET", "/v1/keys?"+strings.Repeat("x", 100))
	get[document.Status](f, "/v1/status")
	r := f.do("GET", "/v1/status")
	if r.Header.Get("Retry-After") != "1" {
		t.Errorf("headers %v", r.Header)
	}
	decodeProblem(t, r, document.CodeTooMany)
	if r := f.to(f.api.Local(), "GET", "/v1/status", ""); r.StatusCode != http.StatusOK {
		t.Errorf("locally: %d", r.StatusCode)
	}
	if n := f.metric("proofsync_http_refused_total", "limit", "rate"); n != 1 {
		t.Errorf("%v refusals counted", n)
	}
}

// metric is the sum of the samples of a metric that have a label's value.
func (f *fixture) metric(name, label, value string) (sum float64) {
	f.t.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if label == "" || has(m, label, value) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func has(m *dto.Metric, label, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetName() == label && l.GetValue() == value {
			return true
		}
	}
	return false
}

func TestRequestsAreCountedAndLogged(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("a", "1")
	body, _ := io.ReadAll(f.do("GET", "/v1/keys/YQ").Body)
	f.do("GET", "/v1/keys/Yg")
	f.do("BREW", "/v1/keys/YQ")
	f.do("GET", "/"+strings.Repeat("nothing", 100))
	for _, x := range []struct {
		name, label, value string
		want               float64
	}{
		{"proofsync_http_requests_total", "route", "/v1/keys/{key}", 3},
		{"proofsync_http_requests_total", "route", "other", 1},
		{"proofsync_http_requests_total", "code", "2xx", 1},
		{"proofsync_http_requests_total", "code", "4xx", 3},
		{"proofsync_http_requests_total", "method", "other", 1},
		{"proofsync_http_request_duration_seconds", "route", "/v1/keys/{key}", 3},
		{"proofsync_http_inflight_requests", "", "", 0},
	} {
		if got := f.metric(x.name, x.label, x.value); got != x.want {
			t.Errorf("%s of %s %q is %v, want %v", x.name, x.label, x.value, got, x.want)
		}
	}
	if got := f.metric("proofsync_http_response_bytes_total", "route", "/v1/keys/{key}"); got <= float64(len(body)) {
		t.Errorf("%v bytes counted, the first answer alone has %d", got, len(body))
	}
	log := f.log.String()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], `method=GET path=/v1/keys/YQ status=200 bytes=`) || !strings.Contains(lines[0], "peer=192.0.2.1:1234") {
		t.Errorf("logged:\n%s", log)
	}
	if len(lines[3]) > 400 {
		t.Errorf("a path fills the log: %s", lines[3])
	}
}

func TestPanicIsAProblem(t *testing.T) {
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			_, _ = io.WriteString(w, "half of it")
			_ = http.NewResponseController(w).Flush()
		}
		panic("out of cheese")
	})
	f := newFixture(t, anyFixed, func(o *Options) { o.Page = broken })
	for _, headers := range [][]string{nil, {"Accept-Encoding", "gzip"}} {
		f.problem(document.CodeInternal, "GET", "/", headers...)
	}
	if log := f.log.String(); !strings.Contains(log, "out of cheese") || !strings.Contains(log, "limits_test.go") {
		t.Errorf("logged: %s", log)
	}
	if n := f.metric("proofsync_http_panics_total", "", ""); n != 2 {
		t.Errorf("%v panics counted", n)
	}
	s := httptest.NewServer(f.h)
	defer s.Close()
	r, err := s.Client().Get(s.URL + "/late")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.ReadAll(r.Body); err == nil {
		t.Error("half an answer looks like a whole one")
	}
}

func TestPageIsServedWhereTheAPIHasNothing(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<p>"+strings.Repeat("hello ", 500))
	})
	f := newFixture(t, anyFixed, func(o *Options) { o.Page = page })
	for _, accept := range []string{"", "gzip"} {
		r := f.do("GET", "/", "Accept-Encoding", accept)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Encoding") != accept {
			t.Errorf("%d %v", r.StatusCode, r.Header)
		}
		f.problem(document.CodeNotFound, "GET", "/nothing", "Accept-Encoding", accept)
	}
	f.problem(document.CodeNotFound, "GET", "/v1/nothing")
	f.problem(document.CodeMethodNotAllowed, "POST", "/")
}

func TestOtherOriginsAreLetInOnRequest(t *testing.T) {
	off := newFixture(t, anyFixed)
	if r := off.do("GET", "/v1/status", "Origin", "https://a.example"); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("off: %v", r.Header)
	}
	off.problem(document.CodeMethodNotAllowed, "OPTIONS", "/v1/status", "Origin", "https://a.example")
	some := newFixture(t, anyFixed, func(o *Options) { o.CORSOrigins = []string{"https://a.example", "https://b.example"} })
	for origin, want := range map[string]string{"https://a.example": "https://a.example", "https://b.example": "https://b.example", "https://c.example": "", "": ""} {
		r := some.do("GET", "/v1/keys", "Origin", origin)
		if got := r.Header.Get("Access-Control-Allow-Origin"); got != want || !strings.Contains(strings.Join(r.Header["Vary"], ","), "Origin") {
			t.Errorf("%q: %v", origin, r.Header)
		}
	}
	// Both change the answer, and the values of headers are shared: neither may be
	// lost, nor show up where it does not belong.
	for range 3 {
		if vary := strings.Join(some.do("GET", "/v1/keys").Header["Vary"], ","); vary != "Origin,Accept-Encoding" {
			t.Errorf("varies with %q", vary)
		}
		if vary := strings.Join(off.do("GET", "/v1/keys").Header["Vary"], ","); vary != "Accept-Encoding" {
			t.Errorf("off: varies with %q", vary)
		}
	}
	r := some.do("OPTIONS", "/v1/batches", "Origin", "https://a.example", "Access-Control-Request-Method", "POST")
	if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != "https://a.example" || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight: %d %v", r.StatusCode, r.Header)
	}
	all := newFixture(t, anyFixed, func(o *Options) { o.CORSOrigins = []string{"*"} })
	if r := all.do("GET", "/v1/keys", "Origin", "https://c.example"); r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("any: %v", r.Header)
	}
}

func TestBodiesOfReadsAreIgnored(t *testing.T) {
	f := newFixture(t, anyFixed)
	f.put(key32(1), key32(2))
	if r := f.to(f.h, "GET", "/v1/keys", `{"what": "is this"}`); r.StatusCode != http.StatusOK {
		t.Errorf("status %d", r.StatusCode)
	}
}

func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	f := newFixture(t, anyVariable, func(o *Options) { o.Limits.RequestTime = 200 * time.Millisecond })
	for i := range 16 {
		f.put(fmt.Sprint(i), strings.Repeat("x", 1<<20))
	}
	s := httptest.NewServer(f.h)
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	for range 4 { // more than the kernel buffers
		_, _ = io.WriteString(c, "GET /v1/keys?values=true&bytes=hex HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	end := time.Now().Add(5 * time.Second)
	for f.metric("proofsync_http_inflight_requests", "", "") > 0 || f.metric("proofsync_http_requests_total", "route", "/v1/keys") == 0 {
		if time.Now().After(end) {
			t.Fatal("the request is still being answered")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
