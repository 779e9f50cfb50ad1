package linear

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
)

const (
	clients  = 8
	duration = 1500 * time.Millisecond // and longer, if few calls were made
	longest  = 8 * time.Second
	patience = time.Minute // with one call
	enough   = 500         // calls
	restarts = 4
	token    = "a-token-of-some-length"
)

// process is a database with an API, which can be ended and begun again.
type process struct {
	t       *testing.T
	dir     string
	handler atomic.Pointer[http.Handler] // nil: it is down
	dying   atomic.Bool                  // answers do not get through any more
	served  atomic.Uint64
	work    sync.RWMutex // held by requests, as their views hold the directory

	db     *database.DB
	api    *api.API
	cancel context.CancelFunc
	ran    chan error
}

func (p *process) start() {
	var err error
	p.db, err = database.Open(p.dir, database.Options{
		Codec: operation.NewCodec(operation.Any, operation.Variable), CreateIfMissing: true,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	com, err := committer.New(p.db, committer.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ran = cancel, make(chan error, 1)
	go func() { p.ran <- com.Run(ctx) }()
	p.api = api.New(api.Options{DB: p.db, Committer: com, Token: func(s string) bool { return s == token }})
	h := p.api.Handler()
	p.handler.Store(&h)
	p.dying.Store(false)
}

// stop ends the process while requests are in work: some are done, but their
// clients do not hear of it.
func (p *process) stop() {
	p.dying.Store(true)
	time.Sleep(5 * time.Millisecond)
	p.cancel()
	err := <-p.ran
	p.handler.Store(nil)
	p.work.Lock()
	defer p.work.Unlock()
	if err := errors.Join(err, p.api.Shutdown(context.Background()), p.db.Close()); err != nil {
		p.t.Error(err)
	}
}

func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	p.answer(answer, r)
	if p.dying.Load() || p.served.Add(1)%50 == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (p *process) answer(w http.ResponseWriter, r *http.Request) {
	p.work.RLock()
	defer p.work.RUnlock()
	if h := p.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// client makes calls one after the other.
type client struct {
	t    *testing.T
	id   int
	rng  *rand.Rand
	url  string
	http *http.Client
	seen [keys]document.Entry // newest reading
	n    int

	answers *answers
}

// answers are the states that answers named, of all clients.
type answers struct {
	newest atomic.Uint64

	mu    sync.Mutex
	roots map[uint64]string
}

// check takes the state of an answer to a call before which newest was known.
func (a *answers) check(t *testing.T, newest, size uint64, root string) {
	if size < newest {
		t.Errorf("an answer names size %d, but %d was known before it was asked for", size, newest)
	}
	for known := a.newest.Load(); known < size && !a.newest.CompareAndSwap(known, size); known = a.newest.Load() {
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.roots[size]; ok && old != root {
		t.Errorf("size %d has root %s and root %s", size, old, root)
	}
	a.roots[size] = root
}

// send repeats a request until it has an answer that is one, for a minute. Every
// batch has an idempotency key, so that repeating it writes it once.
func (c *client) send(method, path, key string, body []byte) (status int, answer []byte) {
	var last string
	for begun := time.Now(); ; {
		if c.t.Failed() {
			return http.StatusServiceUnavailable, nil
		}
		if time.Since(begun) > patience {
			c.t.Errorf("%s %s: no answer in %s; the last was %s", method, path, patience, last)
			return http.StatusServiceUnavailable, nil
		}
		r, err := http.NewRequest(method, c.url+path, bytes.NewReader(body))
		if err != nil {
			c.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		resp, err := c.http.Do(r)
		if err == nil {
			answer, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode < 500 {
				return resp.StatusCode, answer
			}
			last = fmt.Sprintf("%d %s", resp.StatusCode, answer)
		} else {
			last = err.Error()
		}
		time.Sleep(time.Millisecond)
	}
}

func parse[T any](t *testing.T, b []byte) (doc T) {
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Errorf("%v in %s", err, b)
	}
	return doc
}

func name(key int) string { return fmt.Sprint("k", key) }

func index(name string) int { return int(name[1] - '0') }

func (c *client) read(key int) answer {
	var a answer
	newest := c.answers.newest.Load()
	if key < 0 {
		_, b := c.send(http.MethodGet, "/v1/keys?bytes=utf8&values=true", "", nil)
		page := parse[document.Page](c.t, b)
		c.answers.check(c.t, newest, page.Size, page.Root)
		c.seen = [keys]document.Entry{}
		for _, e := range page.Keys {
			if e.Value == nil {
				c.t.Errorf("no value in %s", b)
				return a
			}
			a.read[index(e.Key)], c.seen[index(e.Key)] = *e.Value, e
		}
		return a
	}
	status, b := c.send(http.MethodGet, "/v1/keys/"+name(key)+"?bytes=utf8", "", nil)
	e := parse[document.Entry](c.t, b)
	c.seen[key] = e
	switch status {
	case http.StatusOK:
		a.read[key] = *e.Value
	case http.StatusNotFound:
		c.seen[key] = document.Entry{}
	default:
		c.t.Errorf("status %d: %s", status, b)
		return a
	}
	c.answers.check(c.t, newest, e.Size, e.Root)
	return a
}

// draw makes up a batch.
func (c *client) draw() []write {
	var ws []write
	for _, k := range c.rng.Perm(keys)[:1+c.rng.IntN(2)] {
		c.n++
		w := write{key: k, value: fmt.Sprintf("%d.%d", c.id, c.n)}
		if c.rng.IntN(4) == 0 {
			w.value = ""
		}
		seen := c.seen[k]
		switch c.rng.IntN(5) {
		case 0:
			w.cond = ifAbsent
		case 1, 2:
			if seen.Value != nil {
				w.cond, w.want = ifValue, *seen.Value
			}
		case 3:
			if seen.Value != nil {
				w.cond, w.want, w.loc = ifLocation, *seen.Value, seen.Location
			}
		}
		ws = append(ws, w)
	}
	return ws
}

func (c *client) write(ws []write) answer {
	doc := document.Batch{Bytes: document.UTF8}
	for _, w := range ws {
		d := document.Write{Key: name(w.key), Delete: w.value == "", IfAbsent: w.cond == ifAbsent}
		if w.value != "" {
			d.Value = &w.value
		}
		switch w.cond {
		case ifValue:
			d.IfValue = &w.want
		case ifLocation:
			d.IfLocation = &w.loc
		}
		doc.Writes = append(doc.Writes, d)
	}
	body, err := json.Marshal(&doc)
	if err != nil {
		c.t.Fatal(err)
	}
	newest := c.answers.newest.Load()
	status, b := c.send(http.MethodPost, "/v1/batches", fmt.Sprintf("%d.%d", c.id, c.n), body)
	switch status {
	case http.StatusOK:
		done := parse[document.Committed](c.t, b)
		c.answers.check(c.t, newest, done.Size, done.Root)
		return answer{applied: true}
	case http.StatusPreconditionFailed:
		if p := parse[document.Problem](c.t, b); p.Head != nil {
			c.answers.check(c.t, newest, p.Size, p.Root)
		}
	default:
		c.t.Errorf("status %d: %s", status, b)
	}
	return answer{}
}

func TestTheWritePathIsLinearizable(t *testing.T) {
	p := &process{t: t, dir: t.TempDir()}
	p.start()
	s := httptest.NewServer(p)
	defer s.Close()

	begun := time.Now()
	all := &answers{roots: map[uint64]string{}}
	histories := make([][]porcupine.Operation, clients)
	var wg sync.WaitGroup
	var calls atomic.Int64
	going := func() bool {
		d := time.Since(begun)
		return !t.Failed() && (d < duration || d < longest && calls.Load() < enough)
	}
	for id := range clients {
		c := &client{
			t: t, id: id, url: s.URL, answers: all, rng: rand.New(rand.NewPCG(uint64(id), 1)),
			http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
		}
		wg.Go(func() {
			defer c.http.CloseIdleConnections()
			for ; going(); calls.Add(1) {
				op := porcupine.Operation{ClientId: id, Call: time.Since(begun).Nanoseconds()}
				in := call{key: c.rng.IntN(keys)}
				switch c.rng.IntN(6) {
				case 0:
					in.key = -1
					fallthrough
				case 1:
					op.Output = c.read(in.key)
				default:
					in.batch = c.draw()
					op.Output = c.write(in.batch)
				}
				op.Input, op.Return = in, time.Since(begun).Nanoseconds()
				histories[id] = append(histories[id], op)
			}
		})
	}
	for range restarts {
		time.Sleep(duration / (restarts + 1))
		p.stop()
		p.start()
	}
	wg.Wait()
	p.stop()
	if t.Failed() {
		return
	}

	var history []porcupine.Operation
	applied, failed := 0, 0
	for _, h := range histories {
		history = append(history, h...)
		for _, op := range h {
			if in, _ := op.Input.(call); in.batch != nil {
				if out, _ := op.Output.(answer); out.applied {
					applied++
				} else {
					failed++
				}
			}
		}
	}
	t.Logf("%d calls, %d batches applied, %d refused, size %d", len(history), applied, failed, all.newest.Load())
	if applied < 30 || failed < 30 {
		t.Errorf("too few calls to say anything")
	}
	result := porcupine.CheckOperationsTimeout(model, history, 10*time.Second)
	if result == porcupine.Ok {
		return
	}
	t.Errorf("the history is not linearizable: %s", result)
	if result == porcupine.Unknown {
		return
	}
	_, info := porcupine.CheckOperationsVerbose(model, history, 10*time.Second)
	file, err := os.CreateTemp(t.ArtifactDir(), "linear-*.html")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := porcupine.Visualize(model, info, file); err != nil {
		t.Error(err)
	}
	t.Logf("a picture of it is in %s; go test -artifacts keeps it", file.Name())
}
