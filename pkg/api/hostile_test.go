package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestPrefixesOfStreamsAreNoLongerThanKeys(t *testing.T) {
	variable := newFixture(t, anyVariable)
	variable.problem(document.CodeTooLarge, "GET", "/v1/watch?bytes=utf8&changes=true&prefix="+strings.Repeat("x", operation.MaxKey+1))
	fixed := newFixture(t, anyFixed)
	fixed.problem(document.CodeInvalidKey, "GET", "/v1/watch?bytes=utf8&changes=true&prefix="+strings.Repeat("x", 33))
}

func TestPrefixesCountInTheCache(t *testing.T) {
	c := newSpanCache()
	for i := range uint64(2000) {
		k := span{from: i, prefix: strings.Repeat("x", 60<<10)}
		e := &spanEntry{events: [][]byte{{1}}, bytes: 1}
		if i%2 == 1 {
			e = new(spanEntry) // nothing with that prefix has changed
		}
		c.spans[k] = e
		c.keep(k, e)
	}
	held := 0
	for k, e := range c.spans {
		held += len(k.prefix)
		if e.bytes == 0 {
			t.Fatal("a long prefix is kept for nothing")
		}
	}
	if held > cachedBytes || held < cachedBytes/2 {
		t.Errorf("%d bytes of prefixes are held, %d are allowed", held, cachedBytes)
	}
}

func TestConnectionsDoNotWaitForBodiesThatNeverCome(t *testing.T) {
	f := newWriting(t, anyVariable, func(o *Options) { o.Limits.RequestTime = 100 * time.Millisecond })
	addr := f.serveNet().Listener.Addr().String()
	var clients sync.WaitGroup
	for _, x := range []struct {
		request string
		status  int
		n       int
	}{
		{"POST /v1/keys", http.StatusMethodNotAllowed, 20},
		{"POST /nothing", http.StatusNotFound, 1},
		{"POST /v1/batches", http.StatusUnauthorized, 1},
		{"GET /v1/watch", http.StatusBadRequest, 1},
		{"GET /v1/status", http.StatusOK, 1},
		{"GET /v1/keys", http.StatusOK, 1},
	} {
		for range x.n {
			clients.Go(func() {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", x.request)
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
				in := bufio.NewReader(c)
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Errorf("%s: %v", x.request, err)
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				if err != nil || resp.StatusCode != x.status || !resp.Close {
					t.Errorf("%s: status %d, want %d; close %t; %v", x.request, resp.StatusCode, x.status, resp.Close, err)
				}
				if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
					t.Errorf("%s: the connection is not closed: %v", x.request, err)
				}
			})
		}
	}
	clients.Wait()
}

// A commit that fails leaves a stream that has no deadline at that moment.
func TestStreamsThatAreRefusedAreNotReadToTheirEnd(t *testing.T) {
	f := newWriting(t, immutableVar, func(o *Options) { o.Limits.RequestTime = 100 * time.Millisecond })
	f.put("k", "1")
	c, err := net.Dial("tcp", f.serveNet().Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/batches?bytes=utf8&commit_every=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: 10000\r\n\r\n%s",
		testToken, typeLines, `{"key":"k","value":"2"}`+"\n"+linesOf(0, 2))
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 409 ") || !strings.Contains(string(b), "Connection: close") {
		t.Errorf("%v, %s", err, b)
	}
}

// peakHeap is how much the heap grows at most during do, in bytes.
func peakHeap(do func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, peak := m.HeapAlloc, uint64(0)
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	do()
	close(done)
	looking.Wait()
	return peak - min(before, peak)
}

func TestMemoryOfABatchIsASmallMultipleOfItsSize(t *testing.T) {
	const size = 8 << 20
	for name, x := range map[string]struct {
		write string
		code  document.Code
	}{
		"no writes":    {`{}`, document.CodeTooLarge},
		"short writes": {`{"value":""}`, document.CodeTooLarge},
		"same writes":  {`{"key":"YQ","delete":true}`, document.CodeDuplicateKey},
	} {
		f := newWriting(t, anyVariable)
		body := `{"writes":[` + strings.Repeat(x.write+",", size/(len(x.write)+1)-1) + x.write + `]}`
		if got := peakHeap(func() { f.refused(x.code, "", body) }); got > 14*size {
			t.Errorf("%s: %d MiB for a body of %d MiB", name, got>>20, size>>20)
		}
	}
}

func TestTheFirstWrongWriteEndsABatch(t *testing.T) {
	f := newWriting(t, anyVariable)
	p := f.refused(document.CodeInvalidRequest, "", `{"writes":[{"key":"YQ","value":"MQ"},{"key":"Yg"},{"key":7}]}`)
	if p.Key != "Yg" {
		t.Errorf("%+v", p)
	}
	p = f.refused(document.CodeInvalidRequest, "", `{"writes":[{"key":"YQ","value":"MQ"},{"key":7}]}`)
	if !strings.Contains(p.Detail, "/writes/1/key") {
		t.Errorf("%+v", p)
	}
	f.refused(document.CodeInvalidRequest, "", `{"writes":{"key":"YQ","value":"MQ"}}`)
	f.commit("", `{"writes":[{"key":"a b","value":"1"}],"bytes":"utf8"}`) // the form comes last
	if f.value("a b") != "1" {
		t.Error("not written")
	}
}

// idle is a fixture whose committer does not run.
func idle(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: anyVariable, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	com, err := committer.New(db, committer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return fixtureOf(t, db, append([]func(*Options){func(o *Options) {
		o.Committer = com
		o.Token = func(s string) bool { return s == testToken }
	}}, change...)...)
}

func TestWritesThatWaitHoldUpNoReads(t *testing.T) {
	f := idle(t, func(o *Options) {
		o.Limits.RequestTime, o.Limits.Requests, o.Limits.Wait = 400*time.Millisecond, 2, time.Millisecond
	})
	var writers sync.WaitGroup
	for i := range 2 {
		writers.Go(func() {
			body := fmt.Sprintf(`{"bytes":"utf8","writes":[{"key":"%d","value":""}]}`, i)
			r := f.post("", body)
			defer r.Body.Close()
			p := decodeProblem(t, r, document.CodeUnavailable)
			if !strings.Contains(p.Detail, "may still be committed") || !strings.Contains(p.Detail, "Idempotency-Key") || r.Header.Get("Retry-After") == "" {
				t.Errorf("%+v %v", p, r.Header)
			}
		})
	}
	waitFor(t, func() bool { return len(f.api.admit.writes) == 2 })
	if r := f.do("GET", "/v1/status"); r.StatusCode != http.StatusOK {
		t.Errorf("a read while writes wait: %d", r.StatusCode)
	}
	if p := f.refused(document.CodeUnavailable, "", `{"writes":[]}`); strings.Contains(p.Detail, "may still") {
		t.Errorf("%+v", p)
	}
	writers.Wait()
	if f.metric("proofsync_http_refused_total", "limit", "writes") != 1 {
		t.Error("the refusal is not counted")
	}
	f.refusedLines(document.CodeUnavailable, "?bytes=utf8", linesOf(0, 2))
}

func TestNothingIsWrittenWhileTheServerIsBeingFilled(t *testing.T) {
	f := idle(t, func(o *Options) {
		o.Status = func() document.Status { return document.Status{State: document.StateStarting} }
	})
	begun := time.Now()
	p := f.refused(document.CodeUnavailable, "", `{"writes":[]}`)
	if took := time.Since(begun); took > 5*time.Second || !strings.Contains(p.Detail, "nothing was written") {
		t.Errorf("after %v: %+v", took, p)
	}
}

func TestListingsEndWithTheirClients(t *testing.T) {
	f := newFixture(t, anyFixed)
	f.put(key32(99999999), key32(0))
	size := f.size()
	for i := range 4 {
		var b database.Batch
		for j := range 5000 {
			b.Writes = append(b.Writes, database.Write{Key: []byte(key32(5000*i + j)), Value: []byte(key32(j))})
		}
		if _, err := f.db.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, query := range []string{"values=true&", ""} {
		target := fmt.Sprintf("/v1/keys?%slimit=1&at_size=%d", query, size)
		w := httptest.NewRecorder()
		f.h.ServeHTTP(w, httptest.NewRequestWithContext(gone, "GET", "http://api.example"+target, http.NoBody))
		if w.Code == http.StatusOK {
			t.Errorf("%s: the walk went on to its end", target)
		}
		if page := get[document.Page](f, target); len(page.Keys) != 1 {
			t.Errorf("%s: %d keys", target, len(page.Keys))
		}
	}
	if f.metric("proofsync_http_database_failures_total", "", "") != 0 {
		t.Error("who is gone is no failure of the database")
	}
}

func TestProblemsDoNotRepeatWhatIsLong(t *testing.T) {
	f := newWriting(t, anyVariable)
	for name, r := range map[string]*http.Response{
		"bad key":     f.post("", `{"writes":[{"key":"`+strings.Repeat("?", 1<<20)+`","value":""}]}`),
		"wide key":    f.post("", `{"bytes":"hex","writes":[{"key":"`+strings.Repeat("ä", 1<<20)+`","value":""}]}`),
		"long key":    f.post("", `{"bytes":"utf8","writes":[{"key":"`+strings.Repeat("k", 100<<10)+`","value":""}]}`),
		"no such key": f.do("GET", "/v1/keys/"+strings.Repeat("k", 60<<10)+"?bytes=utf8"),
		"member":      f.post("", `{"writes":[],"`+strings.Repeat("m", 1<<20)+`":1}`),
		"parameter":   f.do("GET", "/v1/keys?"+strings.Repeat("p", 60<<10)+"=1"),
	} {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode < 400 || len(b) > 4<<10 {
			t.Errorf("%s: %d bytes with status %d, %v", name, len(b), r.StatusCode, err)
		}
	}
	w := httptest.NewRecorder()
	p := document.NewProblem(document.CodeInternal, "%s", strings.Repeat("ä", 1<<20))
	f.api.fail(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody), p)
	if w.Body.Len() > 2*maxEcho || len(p.Detail) != 2<<20 {
		t.Errorf("a detail of %d bytes becomes an answer of %d", len(p.Detail), w.Body.Len())
	}
}

func TestStatusSaysWhatTheDoorTakes(t *testing.T) {
	token := func(o *Options) { o.Token = nil }
	for _, x := range []struct {
		f             *fixture
		public, local bool
	}{
		{newWriting(t, anyVariable), true, true},
		{newWriting(t, anyVariable, token), false, true},
		{newFixture(t, anyVariable), false, false},
	} {
		if got := get[document.Status](x.f, "/v1/status").Writes; got != x.public {
			t.Errorf("writes is %t for the network, want %t", got, x.public)
		}
		r := x.f.to(x.f.api.Local(), "GET", "/v1/status", "")
		if got := decode[document.Status](t, r, http.StatusOK).Writes; got != x.local {
			t.Errorf("writes is %t for the socket, want %t", got, x.local)
		}
	}
}

func TestThereIsNoStateBeforeTheFirstCommit(t *testing.T) {
	f := newFixture(t, anyVariable)
	for _, target := range []string{"/v1/keys?at_size=0", "/v1/keys/YQ?at_size=0", "/v1/operations?at_size=0"} {
		f.problem(document.CodeNotBoundary, "GET", target)
	}
}

func TestTagsTellAReplicaThatLacksTheBeginning(t *testing.T) {
	server := newFixture(t, immutableVar)
	server.put("early", "1")
	floor := server.size()
	if _, err := server.db.Apply(context.Background(), database.Batch{
		Writes: []database.Write{{Key: []byte("late"), Value: []byte("2")}}, Floor: &floor,
	}); err != nil {
		t.Fatal(err)
	}
	replica := fixtureOf(t, replicate(t, server.db, nil))
	whole, part := server.do("GET", "/v1/keys"), replica.do("GET", "/v1/keys")
	defer whole.Body.Close()
	defer part.Body.Close()
	root := whole.Header.Get("Proofsync-Root")
	if part.Header.Get("Proofsync-Root") != root {
		t.Fatal("the replica is at another root")
	}
	tag := fmt.Sprintf(`"%s-%d"`, root, floor)
	if whole.Header.Get("ETag") != `"`+root+`"` || part.Header.Get("ETag") != tag {
		t.Errorf("tags %s and %s", whole.Header.Get("ETag"), part.Header.Get("ETag"))
	}
	for _, x := range []struct {
		f      *fixture
		known  string
		status int
	}{
		{replica, tag, http.StatusNotModified},
		{replica, strings.TrimSuffix(tag, `"`) + `-gzip"`, http.StatusNotModified},
		{replica, `"` + root + `"`, http.StatusOK},
		{server, tag, http.StatusOK},
	} {
		if r := x.f.do("GET", "/v1/keys", "If-None-Match", x.known); r.StatusCode != x.status {
			t.Errorf("%s: %d, want %d", x.known, r.StatusCode, x.status)
		}
	}
	if p := replica.problem(document.CodeKeyNotFound, "GET", "/v1/keys/early?bytes=utf8"); !strings.Contains(p.Detail, fmt.Sprintf("before location %d", floor)) {
		t.Errorf("%+v", p)
	}
	if p := server.problem(document.CodeKeyNotFound, "GET", "/v1/keys/none?bytes=utf8"); strings.Contains(p.Detail, "before location") {
		t.Errorf("%+v", p)
	}
}
