package remote

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
)

func TestCheckpointsAreReadAsTheyAre(t *testing.T) {
	const note = "example.org/log\n1\n\n— writer AAAA\n"
	answer := func(w http.ResponseWriter) { _, _ = w.Write([]byte(note)) }
	var query string
	s := serve(t, func(api http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.RawQuery
			if answer == nil {
				api.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			answer(w)
		})
	})
	c := s.client(t, Options{Bytes: document.Hex})
	for parties, want := range map[int]string{0: "", 1: "", 3: "signatures=3"} {
		if got, err := c.Checkpoint(t.Context(), parties); err != nil || string(got) != note || query != want {
			t.Errorf("%d: %q %v, asked %q", parties, got, err, query)
		}
	}
	answer = func(w http.ResponseWriter) { _, _ = w.Write([]byte(strings.Repeat("x", maxNote+1))) }
	if _, err := c.Checkpoint(t.Context(), 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a long one: %v", err)
	}
	answer = func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<b>"))
	}
	if _, err := c.Checkpoint(t.Context(), 1); !errors.Is(err, ErrAnswer) {
		t.Errorf("no note: %v", err)
	}
	answer = nil
	var p *document.Problem
	if _, err := c.Checkpoint(t.Context(), 1); !errors.As(err, &p) || p.Code != document.CodeNoCheckpoint {
		t.Errorf("none: %v", err)
	}
}
