package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/proofsync/proofsync/pkg/document"
)

// What a server says goes to a terminal, which must not take it for commands:
// escape sequences set titles and clipboards, and hide or forge lines.
func TestErrorsOfAServerCarryNoControlCharacters(t *testing.T) {
	const evil = `no\u001b]0;owned\u0007 \u001b[2J\u009b31mred\u202e\r\n\u0008\u0000 value`
	for name, answer := range map[string]struct {
		status     int
		kind, body string
	}{
		"the detail of a problem": {http.StatusNotFound, document.ProblemType, `{"code":"key_not_found","detail":"` + evil + `"}`},
		"the code of a problem":   {http.StatusConflict, document.ProblemType, `{"code":"` + evil + `"}`},
		"no problem document":     {http.StatusBadGateway, "text/html", "<b>\x1b[31m\u009b\xff</b>"},
		"an answer of a key":      {http.StatusOK, "application/json", `{"bytes":"` + evil + `"}`},
		"the type of an answer":   {http.StatusOK, "text/\u009bhtml", "x"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/v1/status" {
				w.Write([]byte(`{"family":"any","encoding":"variable"}`))
				return
			}
			w.Header().Set("Content-Type", answer.kind)
			w.WriteHeader(answer.status)
			w.Write([]byte(answer.body))
		}))
		code, out, errs := execute(t, "get", "-u", s.URL, "alice")
		s.Close()
		text, ended := strings.CutSuffix(errs, "\n")
		if code != exitFailure || out != "" || !ended || !strings.HasPrefix(text, "proofsync: ") || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: exit code %d, %q, %q", name, code, out, errs)
		}
	}
	// Nor do names of files, whoever chose them.
	if _, _, errs := execute(t, "verify", "--trust", filepath.Join(t.TempDir(), "a\x1b[2J\nb")); strings.Contains(errs, "\x1b") || strings.Count(errs, "\n") != 1 {
		t.Errorf("got %q", errs)
	}
}
