package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
)

// sseEvent is an event as a browser sees it.
type sseEvent struct {
	id, name string
	data     []byte
	comments int // before it
}

// watcher is a client of GET /v1/watch.
type watcher struct {
	t    testing.TB
	resp *http.Response
	in   *bufio.Reader
}

// watchURL opens a stream that there has to be.
func (f *fixture) watchURL(url string, headers ...string) *watcher {
	f.t.Helper()
	w := f.open(url, headers...)
	if w.resp.StatusCode != http.StatusOK || w.resp.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(w.in)
		f.t.Fatalf("status %d: %s", w.resp.StatusCode, b)
	}
	return w
}

func (f *fixture) open(url string, headers ...string) *watcher {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { resp.Body.Close() })
	return &watcher{f.t, resp, bufio.NewReader(resp.Body)}
}

// read reads an event, or says why there is none.
func (w *watcher) read() (e sseEvent, err error) {
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			return e, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = append(e.data, value...)
		case "": // the end of an event, or a comment
			if value != "" {
				e.comments++
			} else if e.name != "" {
				return e, nil
			}
		case "retry":
		default:
			return e, fmt.Errorf("line %q", line)
		}
	}
}

func (w *watcher) next(name string) sseEvent {
	w.t.Helper()
	e, err := w.read()
	if err != nil || e.name != name {
		w.t.Fatalf("event %q (%s), %v; want %s", e.name, e.data, err, name)
	}
	return e
}

func (w *watcher) root() (document.RootEvent, string) {
	w.t.Helper()
	e := w.next(document.EventRoot)
	return dataOf[document.RootEvent](w.t, e), e.id
}

func dataOf[T any](t testing.TB, e sseEvent) (doc T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(e.data))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, e.data)
	}
	return doc
}

// changesOf are the changes before the next root event, by key, and that root.
func (w *watcher) step() (map[string]document.Change, document.RootEvent, string) {
	w.t.Helper()
	changes := map[string]document.Change{}
	for {
		e, err := w.read()
		if err != nil {
			w.t.Fatal(err)
		}
		switch e.name {
		case document.EventChanges:
			for _, c := range dataOf[document.ChangesEvent](w.t, e).Changes {
				if _, twice := changes[c.Key]; twice {
					w.t.Fatalf("key %s changed twice in one step", c.Key)
				}
				changes[c.Key] = c
			}
		case document.EventRoot:
			return changes, dataOf[document.RootEvent](w.t, e), e.id
		default:
			w.t.Fatalf("event %s: %s", e.name, e.data)
		}
	}
}

func TestAWatcherSeesTheNewestRootAtOnceAndThenEveryNewOne(t *testing.T) {
	f := newFixture(t, anyVariable)
	c := f.put("a", "1")
	w := f.watchURL(f.serveNet().URL + "/v1/watch")
	if h := w.resp.Header; h.Get("X-Accel-Buffering") != "no" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", h)
	}
	for i := range 5 {
		e, id := w.root()
		if e.Root != c.Root.String() || e.Size != c.Size || e.Floor != c.Floor || id != fmt.Sprintf("%d-%s", c.Size, e.Root[:16]) {
			t.Errorf("event %s %+v after %+v", id, e, c)
		}
		if i > 0 && time.Since(e.Time).Abs() > 10*time.Second {
			t.Errorf("time %v", e.Time)
		}
		c = f.put("a", fmt.Sprint(i))
	}
}

func TestChangesComeBeforeTheirRoot(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("a", "1", "b", "1", "c", "1")
	w := f.watchURL(f.serveNet().URL + "/v1/watch?changes=true&bytes=utf8")
	first, _ := w.root()
	c, err := f.db.Apply(t.Context(), database.Batch{Writes: []database.Write{
		{Key: []byte("a"), Value: []byte("2")}, {Key: []byte("b"), Delete: true}, {Key: []byte("c"), Value: []byte("1")}, {Key: []byte("d"), Value: nil},
	}})
	if err != nil {
		t.Fatal(err)
	}
	e := dataOf[document.ChangesEvent](t, w.next(document.EventChanges))
	if e.Bytes != document.UTF8 || e.From != first.Size || e.Size != c.Size || len(e.Changes) != 3 {
		t.Errorf("%+v", e)
	}
	for _, x := range e.Changes {
		want := map[string]string{"a": "2", "b": "none", "d": ""}[x.Key]
		if x.Deleted != (want == "none") || !x.Deleted && (x.Value == nil || *x.Value != want) || x.Location < first.Size || x.Location >= c.Size {
			t.Errorf("%+v, want %q", x, want)
		}
	}
	if root, _ := w.root(); root.Size != c.Size {
		t.Errorf("%+v", root)
	}
}

func TestRaisingTheFloorIsNoChange(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("still", "1", "quiet", "1")
	v, err := f.db.View()
	if err != nil {
		t.Fatal(err)
	}
	before, err := v.Get([]byte("still"))
	v.Close()
	if err != nil {
		t.Fatal(err)
	}
	w := f.watchURL(f.serveNet().URL + "/v1/watch?changes=true&bytes=utf8")
	w.root()
	moved := false
	for i := range 10 {
		f.put("busy", fmt.Sprint(i))
		changes, _, _ := w.step()
		if len(changes) != 1 || changes["busy"].Value == nil {
			t.Errorf("changes %v", changes)
		}
		e := get[document.Entry](f, "/v1/keys/still?bytes=utf8")
		moved = moved || e.Location != before.Location
	}
	if !moved {
		t.Error("the floor raise moved nothing: this test shows nothing")
	}
}

func TestOneKindOfKeysIsWatched(t *testing.T) {
	f := newFixture(t, anyVariable)
	s := f.serveNet()
	w := f.watchURL(s.URL + "/v1/watch?changes=true&bytes=hex&prefix=75")
	w.root()
	f.put("u1", "1", "v1", "1")
	changes, _, _ := w.step()
	if len(changes) != 1 || changes["7531"].Key == "" {
		t.Errorf("%v", changes)
	}
	f.put("v2", "1")
	if changes, root, _ := w.step(); len(changes) != 0 || root.Size == 0 {
		t.Errorf("%v", changes)
	}
	// What is no text cannot be sent as such; the stream says so.
	w = f.watchURL(s.URL + "/v1/watch?changes=true&bytes=utf8")
	w.root()
	f.put("text", "\xff")
	if p := dataOf[document.Problem](t, w.next(document.EventEnd)); p.Code != document.CodeNotText {
		t.Errorf("%+v", p)
	}
	if _, err := w.read(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestAStreamBeginsWhereItIsAskedTo(t *testing.T) {
	f := newFixture(t, anyVariable)
	sizes := []uint64{f.size()}
	for i := range 10 {
		sizes = append(sizes, f.put(fmt.Sprint("k", i), "1").Size)
	}
	url := f.serveNet().URL + "/v1/watch?changes=true&bytes=utf8&from="
	for i, from := range sizes[:10] {
		changes, root, _ := f.watchURL(url + fmt.Sprint(from)).step()
		if len(changes) != 10-i || root.Size != sizes[10] || changes["k9"].Key == "" {
			t.Errorf("from %d: %v, %+v", from, changes, root)
		}
	}
	changes, _, _ := f.watchURL(url + "0").step()
	if len(changes) != 10 {
		t.Errorf("from 0: %v", changes)
	}
	w := f.watchURL(url + fmt.Sprint(sizes[10])) // nothing is new yet
	f.put("new", "1")
	if changes, _, _ := w.step(); len(changes) != 1 {
		t.Errorf("from the newest: %v", changes)
	}
	for query, code := range map[string]document.Code{
		"changes=true&from=" + fmt.Sprint(sizes[3]-1): document.CodeNotBoundary,
		"changes=true&from=100000":                    document.CodeBeyond,
		"changes=true&from=x":                         document.CodeInvalidRequest,
		"changes=1":                                   document.CodeInvalidRequest,
		"from=1":                                      document.CodeInvalidRequest,
		"prefix=YQ":                                   document.CodeInvalidRequest,
		"changes=true&prefix=*":                       document.CodeInvalidKey,
		"bytes=base32":                                document.CodeInvalidRequest,
		"since=1":                                     document.CodeInvalidRequest,
	} {
		p := f.problem(code, http.MethodGet, "/v1/watch?"+query)
		if (code == document.CodeBeyond || code == document.CodeNotBoundary) && p.Head == nil {
			t.Errorf("%s: no state in %+v", query, p)
		}
	}
}

func TestResumingLosesAndRepeatsNothing(t *testing.T) {
	f := newFixture(t, anyVariable)
	s := f.serveNet()
	const commits = 400
	done := make(chan uint64, 1)
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		var last uint64
		for i := range commits {
			var b database.Batch
			for range rng.IntN(4) {
				b.Writes = append(b.Writes, database.Write{
					Key: fmt.Append(nil, "k", rng.IntN(20)), Value: fmt.Append(nil, rng.IntN(3)), Delete: rng.IntN(3) == 0,
				})
			}
			c, err := f.db.Apply(context.Background(), b)
			if err != nil {
				t.Error(err)
				break
			}
			last = c.Size
			if i%8 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		done <- last
	})
	// The client keeps a copy of the database, and takes changes over when
	// the root comes that they belong to.
	mine, at, id := map[string]string{}, uint64(0), ""
	rng := rand.New(rand.NewPCG(3, 4))
	var end uint64
	connections := 0
	for end == 0 || at < end {
		connections++
		w := f.watchURL(s.URL+"/v1/watch?changes=true&bytes=utf8&from=0", "Last-Event-ID", id)
		for range 1 + rng.IntN(10) {
			select {
			case end = <-done:
			default:
			}
			if end != 0 && at >= end {
				break
			}
			next, seen := maps.Clone(mine), map[string]bool{}
			var e sseEvent
			var err error
			for e, err = w.read(); err == nil && e.name == document.EventChanges; e, err = w.read() {
				doc := dataOf[document.ChangesEvent](t, e)
				if doc.From != at {
					t.Fatalf("changes from %d, the client is at %d", doc.From, at)
				}
				for _, c := range doc.Changes {
					old, had := mine[c.Key]
					if seen[c.Key] || c.Deleted && !had || !c.Deleted && had && old == *c.Value {
						t.Fatalf("%+v is no change of %q", c, old)
					}
					seen[c.Key] = true
					if c.Deleted {
						delete(next, c.Key)
					} else {
						next[c.Key] = *c.Value
					}
				}
				if rng.IntN(20) == 0 { // the connection breaks between changes and root
					err = io.ErrUnexpectedEOF
					break
				}
			}
			if err != nil {
				break
			}
			root := dataOf[document.RootEvent](t, e)
			if e.name != document.EventRoot || root.Size <= at {
				t.Fatalf("%s at %d after %d", e.name, root.Size, at)
			}
			mine, at, id = next, root.Size, e.id
			if theirs := f.contents(at); !maps.Equal(mine, theirs) {
				t.Fatalf("at %d the client has %v, the database %v", at, mine, theirs)
			}
		}
		w.resp.Body.Close()
	}
	if connections < 10 {
		t.Errorf("%d connections: they broke too seldom", connections)
	}
}

// contents is all there is at a size.
func (f *fixture) contents(size uint64) map[string]string {
	f.t.Helper()
	v, err := f.db.View()
	if err != nil {
		f.t.Fatal(err)
	}
	defer v.Close()
	at, err := v.At(size)
	if err != nil {
		f.t.Fatal(err)
	}
	defer at.Close()
	m := map[string]string{}
	if err := at.Scan(nil, nil, func(key []byte, e database.Entry) bool { m[string(key)] = string(e.Value); return true }); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func TestALongWayIsGoneInSteps(t *testing.T) {
	f := newFixture(t, anyVariable)
	const batches, each = 40, 1000
	var all []database.Batch
	for i := range batches {
		var b database.Batch
		for j := range each {
			b.Writes = append(b.Writes, database.Write{Key: fmt.Appendf(nil, "%d-%d", i, j), Value: []byte("1")})
		}
		all = append(all, b)
	}
	if _, err := f.db.ApplyAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	s := f.serveNet()
	var paths [2][]uint64
	for i, from := range []uint64{0, 1} {
		w := f.watchURL(fmt.Sprintf("%s/v1/watch?changes=true&from=%d", s.URL, from))
		n, at := 0, from
		for at < f.size() {
			e, err := w.read()
			if err != nil {
				t.Fatal(err)
			}
			if e.name == document.EventRoot {
				at = dataOf[document.RootEvent](t, e).Size
				paths[i] = append(paths[i], at)
				continue
			}
			doc := dataOf[document.ChangesEvent](t, e)
			if n += len(doc.Changes); len(doc.Changes) > eventChanges || len(e.data) > eventBytes || doc.From != at {
				t.Fatalf("%d changes in %d bytes from %d", len(doc.Changes), len(e.data), doc.From)
			}
		}
		if n != batches*each || len(paths[i]) < 3 {
			t.Errorf("%d changes in steps to %v", n, paths[i])
		}
	}
	if fmt.Sprint(paths[0]) != fmt.Sprint(paths[1]) {
		t.Errorf("two streams go by %v and %v", paths[0], paths[1])
	}
}

func TestAnIDOfAnotherHistoryIsAnsweredWithAReset(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("a", "1")
	c := f.put("b", "1")
	prefix := c.Root.String()[:16]
	url := f.serveNet().URL + "/v1/watch?changes="
	for _, changes := range []string{"true", "false"} {
		for _, id := range []string{
			"100000-" + prefix, fmt.Sprintf("%d-%s", c.Size, strings.Repeat("0", 16)), fmt.Sprintf("%d-%s", c.Size-1, prefix),
			"garbage", "1", "-", fmt.Sprint(c.Size), "1-" + strings.Repeat("0", 16),
		} {
			w := f.watchURL(url+changes, "Last-Event-ID", id)
			e := w.next(document.EventReset)
			if dataOf[document.RootEvent](t, e).Size != c.Size || e.id != fmt.Sprintf("%d-%s", c.Size, prefix) {
				t.Errorf("%s: %s %s", id, e.id, e.data)
			}
			w.resp.Body.Close()
		}
		// The newest state is known: nothing is repeated.
		w := f.watchURL(url+changes, "Last-Event-ID", fmt.Sprintf("%d-%s", c.Size, prefix))
		d := f.put("c", changes)
		_, root, _ := w.step()
		if root.Size != d.Size {
			t.Errorf("%+v", root)
		}
		c, prefix = d, d.Root.String()[:16]
	}
}

// load makes replica a copy of from, [start, its size), in a new generation or
// in the one it has.
func load(t testing.TB, replica, from *database.DB, stage bool, start uint64) {
	t.Helper()
	v, err := from.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var l *database.Load
	if stage {
		pins, err := v.Pins(start)
		if err != nil {
			t.Fatal(err)
		}
		l, err = replica.Stage(start, pins)
		if err != nil {
			t.Fatal(err)
		}
	} else if l, err = replica.Extend(); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, n, err := v.AppendOperations(nil, l.End(), v.Size(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	run, _, err := v.Codec().Split(b, n)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(mmr.HashSpan(l.End(), run), run); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(v.Root(), v.Size()); err != nil {
		t.Fatal(err)
	}
}

func TestAReplicaThatIsRebuiltResetsOnlyIfItsHistoryIsAnother(t *testing.T) {
	writer, fork := newFixture(t, anyVariable), newFixture(t, anyVariable)
	f := fixtureOf(t, emptyReplica(t, anyVariable))
	url := f.serveNet().URL + "/v1/watch?bytes=utf8&changes="
	// Streams may be there before anything is; a place to begin from is not.
	f.problem(document.CodeEmpty, http.MethodGet, "/v1/watch?changes=true&from=1")
	full, roots := f.watchURL(url+"true"), f.watchURL(url+"false")
	both := func(want string, n int) {
		t.Helper()
		changes := map[string]document.Change{}
		for _, w := range []*watcher{full, roots} {
			e, err := w.read()
			for err == nil && e.name == document.EventChanges {
				for _, c := range dataOf[document.ChangesEvent](t, e).Changes {
					changes[c.Key] = c
				}
				e, err = w.read()
			}
			if err != nil || e.name != want || dataOf[document.RootEvent](t, e).Size != f.size() {
				t.Fatalf("event %q %s, %v; want %s", e.name, e.data, err, want)
			}
		}
		if len(changes) != n {
			t.Fatalf("changes %v, want %d", changes, n)
		}
	}
	writer.put("a", "1")
	load(t, f.db, writer.db, true, 0)
	both(document.EventRoot, 0)
	writer.put("b", "1")
	load(t, f.db, writer.db, false, 0)
	both(document.EventRoot, 1)
	// Rebuilt from the same log: it goes on.
	writer.put("c", "1", "a", "2")
	load(t, f.db, writer.db, true, 0)
	both(document.EventRoot, 2)
	// Another history, with commits at the same sizes and one more.
	fork.put("a", "9")
	fork.put("b", "1")
	fork.put("c", "1", "a", "2")
	if f.size() != fork.size() {
		t.Fatalf("sizes %d and %d", f.size(), fork.size())
	}
	fork.put("d", "1")
	load(t, f.db, fork.db, true, 0)
	both(document.EventReset, 0)
	// Shorter than what was there.
	load(t, f.db, writer.db, true, 0)
	both(document.EventReset, 0)
	// What the client knows is not retained any more.
	v, err := writer.db.View()
	if err != nil {
		t.Fatal(err)
	}
	known := fmt.Sprintf("%d-%s", v.Size(), v.Root().String()[:16])
	size := v.Size()
	v.Close()
	for i := range 20 {
		writer.put(fmt.Sprint("y", i%3), "1")
	}
	v, err = writer.db.View()
	if err != nil {
		t.Fatal(err)
	}
	start := v.Floor()
	v.Close()
	if start <= size {
		t.Fatalf("floor %d is not above %d", start, size)
	}
	load(t, f.db, writer.db, true, start)
	both(document.EventReset, 0)
	f.watchURL(url+"true", "Last-Event-ID", known).next(document.EventReset)
	f.problem(document.CodeGone, http.MethodGet, fmt.Sprintf("/v1/watch?changes=true&from=%d", size))
	writer.put("z", "1")
	load(t, f.db, writer.db, false, 0)
	both(document.EventRoot, 1)
}

func TestQuietStreamsHaveAHeartbeat(t *testing.T) {
	f := newFixture(t, anyVariable, func(o *Options) { o.Limits.Heartbeat = 5 * time.Millisecond })
	w := f.watchURL(f.serveNet().URL + "/v1/watch")
	w.root()
	for beats, tries := 0, 0; beats < 3; tries++ { // a commit comes with the heartbeats since the one before
		if tries == 500 {
			t.Fatalf("%d heartbeats", beats)
		}
		time.Sleep(60 * time.Millisecond)
		f.put("a", fmt.Sprint(tries))
		beats = max(beats, w.next(document.EventRoot).comments)
	}
}

func TestStreamsEndWhenTheProcessDoes(t *testing.T) {
	f := newFixture(t, anyVariable)
	s := f.serveNet()
	var ws []*watcher
	for range 5 {
		w := f.watchURL(s.URL + "/v1/watch")
		w.root()
		ws = append(ws, w)
	}
	if n := sample(t, f.api.metrics.watch.streams); n != 5 {
		t.Errorf("%v streams", n)
	}
	if err := f.api.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if p := dataOf[document.Problem](t, w.next(document.EventEnd)); p.Code != document.CodeUnavailable {
			t.Errorf("%+v", p)
		}
		if _, err := w.read(); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
	}
	f.problem(document.CodeUnavailable, http.MethodGet, "/v1/watch")
	if n := sample(t, f.api.metrics.watch.ended[endedStopping]); n != 5 {
		t.Errorf("%v streams ended", n)
	}
}

func TestOnlySoManyStreams(t *testing.T) {
	f := newFixture(t, anyVariable, func(o *Options) { o.Limits.Streams = 2 })
	s := f.serveNet()
	a, b := f.watchURL(s.URL+"/v1/watch"), f.watchURL(s.URL+"/v1/watch")
	a.root()
	b.root()
	r := f.open(s.URL + "/v1/watch").resp
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, headers %v", r.StatusCode, r.Header)
	}
	a.resp.Body.Close()
	waitFor(t, func() bool { return sample(t, f.api.metrics.watch.ended[endedByClient]) == 1 })
	waitFor(t, func() bool {
		w := f.open(s.URL + "/v1/watch")
		defer w.resp.Body.Close()
		return w.resp.StatusCode == http.StatusOK
	})
}

// serveSmall serves the fixture with little room in sockets.
func (f *fixture) serveSmall() (addr string) {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	srv := &http.Server{Handler: f.h, ReadHeaderTimeout: time.Minute, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10)
		return ctx
	}}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	f.t.Cleanup(func() { srv.Close(); serving.Wait() })
	return l.Addr().String()
}

// large is a fixture with several megabytes of changes, and a connection that
// asks for all of them.
func large(t *testing.T, change func(h *watchHub)) (*fixture, net.Conn) {
	f := newFixture(t, anyVariable)
	change(f.api.hub)
	for i := range 80 {
		f.put(fmt.Sprint(i), strings.Repeat("v", 100_000))
	}
	c, err := net.Dial("tcp", f.serveSmall())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
	fmt.Fprintf(c, "GET /v1/watch?changes=true&from=0 HTTP/1.1\r\nHost: x\r\n\r\n")
	return f, c
}

func TestWhoReadsNothingIsCutOff(t *testing.T) {
	f, _ := large(t, func(h *watchHub) { h.wait = 40 * time.Millisecond })
	waitFor(t, func() bool { return sample(t, f.api.metrics.watch.ended[endedSlow]) == 1 })
	if n := sample(t, f.api.metrics.watch.streams); n != 0 {
		t.Errorf("%v streams", n)
	}
}

func TestWhoReadsTooSlowlyIsToldSo(t *testing.T) {
	f, c := large(t, func(h *watchHub) { h.wait, h.pace = 500*time.Millisecond, 1<<30 })
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for {
		b := make([]byte, 16<<10)
		n, err := c.Read(b)
		if got.Write(b[:n]); err != nil || bytes.HasSuffix(got.Bytes(), []byte("\r\n0\r\n\r\n")) {
			break
		}
		time.Sleep(2 * time.Millisecond) // ten megabytes take more than a second
	}
	tail := got.Bytes()[max(0, got.Len()-500):]
	if !bytes.Contains(tail, []byte("event: end\ndata: {")) || !bytes.Contains(tail, []byte(`"code":"unavailable"`)) {
		t.Errorf("the stream ends with %q", tail)
	}
	if n := sample(t, f.api.metrics.watch.ended[endedSlow]); n != 1 {
		t.Errorf("%v streams were too slow", n)
	}
}

func TestManyWatchersShareWhatIsRead(t *testing.T) {
	f := newFixture(t, anyVariable)
	s := f.serveNet()
	var ws []*watcher
	for range 30 {
		w := f.watchURL(s.URL + "/v1/watch?changes=true&bytes=utf8")
		w.root()
		ws = append(ws, w)
	}
	f.put("a", "1")
	for _, w := range ws {
		if changes, _, _ := w.step(); len(changes) != 1 {
			t.Errorf("%v", changes)
		}
	}
	m := &f.api.metrics.watch
	if made, shared := sample(t, m.made), sample(t, m.shared); made != 1 || shared != 29 {
		t.Errorf("read %v times, shared %v times", made, shared)
	}
}

func TestCachedSpansStayWithinTheirBound(t *testing.T) {
	c := newSpanCache()
	for i := range uint64(100) {
		k, e := span{from: i}, &spanEntry{bytes: 700_000}
		switch i % 10 {
		case 1:
			e.bytes, e.err = 0, errLargeSpan
		case 2:
			e.bytes, e.err = 0, database.ErrPruned // not kept
		}
		c.spans[k] = e
		c.keep(k, e)
	}
	bytes := 0
	for k, e := range c.spans {
		bytes += e.bytes + entryBytes
		if k.from < 40 || k.from%10 == 2 {
			t.Errorf("span %d is kept", k.from)
		}
	}
	if bytes != c.bytes || c.bytes > cachedBytes || c.bytes < cachedBytes/2 || len(c.order) != len(c.spans) {
		t.Errorf("%d bytes in %d spans, %d counted", bytes, len(c.spans), c.bytes)
	}
}

// sample is the value of a counter or gauge.
func sample(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}
