package api

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

func TestCheckpointsAreAnsweredAsTheyAre(t *testing.T) {
	const one, two = "a\n1\n\n— writer AAAA\n", "a\n0\n\n— writer AAAA\n— witness BBBB\n"
	notes := map[int][]byte{1: []byte(one), 2: []byte(two)}
	f := newFixture(t, anyFixed, func(o *Options) { o.Checkpoint = func(parties int) []byte { return notes[parties] } })
	get := func(method, target string, status int, headers ...string) (string, http.Header) {
		t.Helper()
		r := f.do(method, target, headers...)
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != status || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Etag") == "" {
			t.Errorf("%s %s: %d %v %s %v", method, target, r.StatusCode, r.Header, body, err)
		}
		return string(body), r.Header
	}
	body, h := get("GET", "/v1/checkpoint", http.StatusOK)
	if body != one || h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("Proofsync-Root") != "" {
		t.Errorf("%q %v", body, h)
	}
	if body, again := get("GET", "/v1/checkpoint", http.StatusNotModified, "If-None-Match", h.Get("Etag")); body != "" || again.Get("Etag") != h.Get("Etag") {
		t.Errorf("%q %v", body, again)
	}
	if body, other := get("GET", "/v1/checkpoint?signatures=2", http.StatusOK, "If-None-Match", h.Get("Etag")); body != two || other.Get("Etag") == h.Get("Etag") {
		t.Errorf("%q %v", body, other)
	}
	if body, _ := get("HEAD", "/v1/checkpoint", http.StatusOK); body != "" {
		t.Errorf("%q", body)
	}
	f.problem(document.CodeNoCheckpoint, "GET", "/v1/checkpoint?signatures=3")
	f.problem(document.CodeInvalidRequest, "GET", "/v1/checkpoint?signatures=0")
	f.problem(document.CodeInvalidRequest, "GET", "/v1/checkpoint?signatures=65")
	f.problem(document.CodeMethodNotAllowed, "POST", "/v1/checkpoint")
	notes = nil
	f.problem(document.CodeNoCheckpoint, "GET", "/v1/checkpoint")
	newFixture(t, anyFixed).problem(document.CodeNoCheckpoint, "GET", "/v1/checkpoint")
}

func TestANewerCheckpointIsWaitedFor(t *testing.T) {
	const first, second = "a\n1\n\n— writer AAAA\n", "a\n2\n\n— writer AAAA\n"
	var mu sync.Mutex
	note, changed := first, make(chan struct{})
	asked := make(chan struct{}, 10)
	f := newFixture(t, anyFixed, func(o *Options) {
		o.Checkpoint = func(int) []byte {
			mu.Lock()
			defer mu.Unlock()
			return []byte(note)
		}
		o.CheckpointChanged = func() <-chan struct{} {
			mu.Lock()
			defer mu.Unlock()
			asked <- struct{}{}
			return changed
		}
	})
	get := func(status int, headers ...string) (string, string) {
		t.Helper()
		r := f.do("GET", "/v1/checkpoint", headers...)
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != status {
			t.Errorf("%d %s %v", r.StatusCode, body, err)
		}
		return string(body), r.Header.Get("Etag")
	}
	prefer := document.PreferWait(document.MaxWait)
	_, etag := get(http.StatusOK, "Prefer", prefer) // who has none does not wait
	get(http.StatusNotModified, "If-None-Match", etag)
	get(http.StatusNotModified, "If-None-Match", etag, "Prefer", document.PreferWait(5*time.Millisecond))
	<-asked
	go func() {
		<-asked
		mu.Lock()
		defer mu.Unlock()
		note = second
		close(changed)
	}()
	if body, _ := get(http.StatusOK, "If-None-Match", etag, "Prefer", "respond-async, "+prefer); body != second {
		t.Errorf("%q", body)
	}
	if body, _ := get(http.StatusOK, "If-None-Match", etag, "Prefer", prefer); body != second {
		t.Errorf("%q", body)
	}
}
