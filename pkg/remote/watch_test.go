package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/document"
)

// bounded is a context that ends a watch of a test that fails.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestWatchTellsStatesAndChanges(t *testing.T) {
	s := serve(t, nil)
	c := s.client(t, Options{Bytes: document.UTF8})
	sizes := fill(t, c, "user/a", "1", "other", "2")
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	var got []string
	for e, err := range c.Watch(ctx, WatchOptions{Changes: true, From: &sizes[0], Prefix: []byte("user/")}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Root != nil {
			got = append(got, fmt.Sprintf("%s %d", e.Name, e.Root.Size))
		} else {
			for _, x := range e.Changes.Changes {
				got = append(got, fmt.Sprintf("%s=%s %v", x.Key, deref(x.Value), x.Deleted))
			}
		}
		switch len(got) {
		case 1:
			sizes = append(sizes, fill(t, c, "user/b", "3")...)
		case 3:
			done, err := c.Delete(t.Context(), []byte("user/a"))
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, done.Size)
		case 5:
			cancel()
		}
	}
	want := fmt.Sprintf("[root %d user/b=3 false root %d user/a= true root %d]", sizes[1], sizes[2], sizes[3])
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// A watcher whose server is away for a while misses nothing.
func TestWatchGoesOnWhereTheConnectionBroke(t *testing.T) {
	var down atomic.Bool
	cut := make(chan struct{})
	s := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/watch" {
				h.ServeHTTP(w, r)
				return
			}
			if down.Load() {
				http.Error(w, "away", http.StatusBadGateway)
				return
			}
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			go func() {
				select {
				case <-cut:
					cancel()
				case <-ctx.Done():
				}
			}()
			h.ServeHTTP(&noRetry{ResponseWriter: w}, r.WithContext(ctx))
		})
	})
	c := s.client(t, Options{Bytes: document.UTF8})
	fill(t, c, "a", "1")
	tries := 0
	o := WatchOptions{Changes: true, OnRetry: func(error, time.Duration) {
		if tries++; tries == 3 {
			down.Store(false)
		}
	}}
	var got []string
	seen := 0
	for e, err := range c.Watch(bounded(t), o) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Changes != nil {
			for _, x := range e.Changes.Changes {
				got = append(got, x.Key)
			}
			continue
		}
		if e.Name != document.EventRoot || !strings.HasPrefix(e.ID, fmt.Sprint(e.Root.Size)) {
			t.Errorf("event %+v", e)
		}
		if seen++; seen == 1 {
			down.Store(true)
			cut <- struct{}{}
			fill(t, c, "b", "2", "c", "3")
		}
		if len(got) >= 2 {
			break
		}
	}
	slices.Sort(got)
	if fmt.Sprint(got) != "[b c]" || tries < 3 {
		t.Errorf("got %v after %d tries", got, tries)
	}
}

// noRetry takes out what the server says about the pause before the next
// connection, which is seconds.
type noRetry struct{ http.ResponseWriter }

func (n *noRetry) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("retry:")) {
		return len(b), nil
	}
	return n.ResponseWriter.Write(b)
}

func (n *noRetry) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// script answers each connection with the next text; the last one stays open.
func script(t *testing.T, texts ...string) (*Client, *[]string) {
	t.Helper()
	ids, n := new([]string), 0
	c := stand(t, func(w http.ResponseWriter, r *http.Request) {
		*ids = append(*ids, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		text := texts[min(n, len(texts)-1)]
		n++
		io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		if n >= len(texts) {
			<-r.Context().Done()
		}
	})
	return c, ids
}

const rootText = "event: root\nid: 7-aa\ndata: {\"root\":\"aa\",\ndata: \"size\":7}\n\n"

func TestWatchResumesAfterTheLastCompleteState(t *testing.T) {
	c, ids := script(t,
		rootText+"event: changes\ndata: {\"bytes\":\"base64url\",\"size\":9}\n\nevent: root\nid: 9-bb\ndata: {\"ro", // breaks off in the middle
		"", // ends at once
		"event: end\ndata: {\"code\":\"unavailable\",\"detail\":\"later\"}\n\n",
		": a comment\n\nevent: novelty\nid: 8-xx\ndata: {}\n\nevent: root\r\nid: 9-bb\r\ndata: {\"root\":\"bb\",\"size\":9}\r\n\r\n")
	var reasons, names []string
	for e, err := range c.Watch(bounded(t), WatchOptions{OnRetry: func(err error, _ time.Duration) { reasons = append(reasons, err.Error()) }}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name+" "+e.ID)
		if e.ID == "9-bb" {
			break
		}
	}
	if want := "[root 7-aa changes 7-aa root 9-bb]"; fmt.Sprint(names) != want {
		t.Errorf("got %v, want %s", names, want)
	}
	if want := "[ 7-aa 7-aa 7-aa]"; fmt.Sprint(*ids) != want {
		t.Errorf("resumed after %v, want %s", *ids, want)
	}
	if len(reasons) != 3 || !strings.Contains(reasons[0], "unexpected EOF") || !strings.Contains(reasons[1], "has ended") || reasons[2] != "later" {
		t.Errorf("reasons %q", reasons)
	}
}

func TestWatchEndsWhenTryingAgainIsOfNoUse(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want string
	}{
		"the server says so":   {rootText + "event: end\ndata: {\"code\":\"gone\",\"detail\":\"not retained\"}\n\n", "not retained"},
		"an event is no JSON":  {rootText + "event: root\ndata: x\n\n", "not understood"},
		"byte strings differ":  {rootText + "event: changes\ndata: {\"bytes\":\"hex\"}\n\n", "not understood"},
		"an event is too long": {rootText + "event: root\ndata: " + strings.Repeat("x", 5000), "too large"},
	} {
		c, _ := script(t, tc.text)
		c.opts.MaxAnswer = 4000
		var last error
		for _, err := range c.Watch(bounded(t), WatchOptions{OnRetry: func(err error, _ time.Duration) { t.Errorf("%s: tries again after %v", name, err) }}) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), tc.want) {
			t.Errorf("%s: %v", name, last)
		}
	}
	// A first connection that fails is an error, whatever the reason.
	gone := stand(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusBadGateway) })
	for _, err := range gone.Watch(bounded(t), WatchOptions{}) {
		if s, ok := errors.AsType[*StatusError](err); !ok || s.Status != http.StatusBadGateway {
			t.Errorf("got %v", err)
		}
	}
}

func TestSilentStreamsAreMadeAnew(t *testing.T) {
	c, ids := script(t, rootText)
	for e, err := range c.Watch(bounded(t), WatchOptions{Idle: 300 * time.Millisecond, OnRetry: func(err error, _ time.Duration) {
		if !errors.Is(err, ErrIdle) {
			t.Errorf("retries after %v", err)
		}
	}}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Root != nil && len(*ids) == 3 {
			break
		}
	}
	// Heartbeats are no silence, for longer than one may last.
	const idle = 500 * time.Millisecond
	beats := stand(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for began := time.Now(); time.Since(began) < 2*idle; {
			io.WriteString(w, ": heartbeat\n\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
		io.WriteString(w, rootText)
	})
	for e, err := range beats.Watch(bounded(t), WatchOptions{Idle: idle, OnRetry: func(err error, _ time.Duration) { t.Errorf("retries after %v", err) }}) {
		if err != nil || e.ID != "7-aa" {
			t.Error(e, err)
		}
		break
	}
}

// What is written as an event is read as that event, wherever the stream is cut
// into pieces.
func TestEventsComeThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z0-9 -]{0,20}`)
		var text strings.Builder
		var want []message
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			m := message{name: word.Draw(t, "name"), id: word.Draw(t, "id"), hasID: true}
			lines := rapid.SliceOfN(word, 1, 4).Draw(t, "data")
			m.data = []byte(strings.Join(lines, "\n"))
			fmt.Fprintf(&text, ": comment\n\nevent: %s\nid: %s\n", m.name, m.id)
			for _, l := range lines {
				fmt.Fprintf(&text, "data: %s\n", l)
			}
			text.WriteString("unknown: field\n\n")
			want = append(want, m)
		}
		end := rapid.SampledFrom([]string{"", "data: never"}).Draw(t, "end")
		in := messages{r: bufio.NewReaderSize(&dribble{strings.NewReader(text.String() + end), t}, 16), max: 1 << 20, beat: func() {}}
		for _, w := range want {
			m, err := in.next()
			if err != nil || m.name != w.name || m.id != w.id || !m.hasID || !bytes.Equal(m.data, w.data) {
				t.Fatalf("got %+v, %v; want %+v", m, err, w)
			}
		}
		if m, err := in.next(); err == nil {
			t.Fatalf("one more: %+v", m)
		}
	})
}

// dribble hands out a few bytes at a time.
type dribble struct {
	r io.Reader
	t *rapid.T
}

func (d *dribble) Read(b []byte) (int, error) {
	n := min(len(b), rapid.IntRange(1, 9).Draw(d.t, "piece"))
	return d.r.Read(b[:n])
}
