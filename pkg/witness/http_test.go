package witness

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/document"
)

// request sends one to the handler of a scene.
func request(h http.Handler, method, path, body string) (*httptest.ResponseRecorder, string) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, "http://witness"+path, strings.NewReader(body)))
	return rec, rec.Body.String()
}

func TestNotesGoInAndOutOverHTTP(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newScene(t, func(o *Options) { o.Metrics = NewMetrics(reg) })
	h := s.Handler(reg)
	problem := func(code document.Code, method, path, body string) *httptest.ResponseRecorder {
		t.Helper()
		res, text := request(h, method, path, body)
		var p document.Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Code != code || p.Status != res.Code || p.Detail == "" ||
			res.Header().Get("Content-Type") != document.ProblemType || p.Type != "urn:proofsync:problem:"+string(code) {
			t.Errorf("%s %s: %d %s", method, path, res.Code, text)
		}
		return res
	}
	if res := problem(document.CodeNoCheckpoint, "GET", "/v1/checkpoint", ""); res.Code != http.StatusNotFound {
		t.Errorf("nothing signed: %d", res.Code)
	}
	note := string(s.h.note())
	res, signed := request(h, "POST", "/v1/cosign", note)
	if res.Code != http.StatusOK || !strings.HasPrefix(signed, note) || !strings.HasPrefix(res.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("%d %s", res.Code, signed)
	}
	if _, shown := request(h, "GET", "/v1/checkpoint", ""); shown != signed {
		t.Errorf("shown: %s", shown)
	}
	other := newHistory(t, s.writer)
	other.grow(9)
	s.h.grow(2)
	s.signs(s.h.note())
	if res := problem(codeFork, "POST", "/v1/cosign", string(other.note())); res.Code != http.StatusConflict {
		t.Errorf("a fork: %d", res.Code)
	}
	problem(codeRollback, "POST", "/v1/cosign", note)
	problem(codeMalformed, "POST", "/v1/cosign", "")
	problem(codeTooLarge, "POST", "/v1/cosign", strings.Repeat("x", checkpoint.MaxNote+1))
	if res, _ := request(h, "GET", "/v1/cosign", ""); res.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", res.Code)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if res, text := request(h, "GET", path, ""); res.Code != http.StatusOK || text != "ok\n" {
			t.Errorf("%s: %d %s", path, res.Code, text)
		}
	}
	_, metrics := request(h, "GET", "/metrics", "")
	for _, want := range []string{
		"proofsync_witness_cosigned_total 2", `proofsync_witness_refused_total{reason="fork"} 1`, `proofsync_witness_refused_total{reason="too_large"} 1`,
		"proofsync_witness_size " + strconv.FormatUint(s.h.checkpoint().Target.End, 10), "proofsync_witness_epoch 0",
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %q in the metrics", want)
		}
	}
}

func TestOneHostCannotKeepTheWitnessBusy(t *testing.T) {
	s := newScene(t)
	h := s.Handler(prometheus.NewRegistry())
	refused := 0
	for range 4 * perHost {
		if res, _ := request(h, "POST", "/v1/cosign", "x"); res.Code == http.StatusTooManyRequests {
			refused++
			if res.Header().Get("Retry-After") == "" {
				t.Error("refused without a time to come back")
			}
		}
	}
	if refused < 2*perHost {
		t.Errorf("%d of %d refused", refused, 4*perHost)
	}
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "http://witness/v1/cosign", strings.NewReader(string(s.h.note())))
	r.RemoteAddr = "198.51.100.7:1234"
	if h.ServeHTTP(rec, r); rec.Code != http.StatusOK {
		t.Errorf("another host: %d %s", rec.Code, rec.Body)
	}
}
