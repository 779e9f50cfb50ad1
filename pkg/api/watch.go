package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
)

// watchHub is what the streams of GET /v1/watch share.
//
// A stream is its request's goroutine, which waits for the database to publish
// and then sends what is new. What is the same for many streams is made by the
// first that needs it: the root event of a state, and the changes between two
// states. A thousand streams cost little more than a thousand writes to sockets.
type watchHub struct {
	a         *API
	heartbeat time.Duration // between comments that keep a quiet stream alive
	wait      time.Duration // a client that reads nothing for this long is cut off
	pace      int           // and one that reads less than this, in bytes a second, for longer
	spans     *spanCache
	newest    atomic.Pointer[rootEvent]
	first     mmr.Digest // root when the process began: nobody knows when that was published

	mu      sync.Mutex
	closed  bool
	streams sync.WaitGroup
}

func newWatchHub(a *API) *watchHub {
	h := &watchHub{a: a, heartbeat: a.limits.Heartbeat, wait: a.limits.RequestTime, pace: minPace, spans: newSpanCache()}
	if v, err := a.db.View(); err == nil {
		h.first = v.Root()
		v.Close()
	}
	return h
}

// enter counts a stream in, unless streams are being ended.
func (h *watchHub) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.a.stopping.Err() != nil {
		return false
	}
	h.streams.Add(1)
	return true
}

// drain blocks until every stream has ended, which they do when the API stops.
func (h *watchHub) drain() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.streams.Wait()
}

// ending is why a stream ended.
type ending int

const (
	endedByClient ending = iota
	endedSlow
	endedStopping
	endedByProblem
	numEndings
)

type watchMetrics struct {
	streams prometheus.Gauge
	events  *prometheus.CounterVec
	ended   [numEndings]prometheus.Counter
	made    prometheus.Counter
	shared  prometheus.Counter
}

func newWatchMetrics(f promauto.Factory) watchMetrics {
	m := watchMetrics{
		streams: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_http_watchers", Help: "Watch streams being served.",
		}),
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_http_watch_events_total", Help: "Events sent on watch streams, by type.",
		}, []string{"event"}),
		made: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_http_watch_spans_made_total", Help: "Times the changes between two states were read for watch streams.",
		}),
		shared: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_http_watch_spans_shared_total", Help: "Times a watch stream used changes that another one had read.",
		}),
	}
	ended := f.NewCounterVec(prometheus.CounterOpts{
		Name: "proofsync_http_watch_ended_total",
		Help: "Watch streams that ended, by reason; slow are those whose client did not read fast enough.",
	}, []string{"reason"})
	for e, name := range [numEndings]string{endedByClient: "client", endedSlow: "slow", endedStopping: "stopping", endedByProblem: "problem"} {
		m.ended[e] = ended.WithLabelValues(name)
	}
	return m
}

// watch answers GET /v1/watch.
func (a *API) watch(w http.ResponseWriter, r *http.Request) {
	if err := a.hub.serve(w, r); err != nil {
		a.fail(w, r, err)
	}
}

// serve answers a request with a stream. An error says that there is none.
func (h *watchHub) serve(w http.ResponseWriter, r *http.Request) error {
	s, err := h.newStream(w, r)
	if err != nil {
		return err
	}
	if !h.enter() {
		return document.NewProblem(document.CodeUnavailable, "the process is ending")
	}
	defer h.streams.Done()
	hs := w.Header()
	hs.Set("Content-Type", "text/event-stream")
	hs.Set("Cache-Control", "no-store")
	hs.Set("X-Accel-Buffering", "no") // nginx would collect events
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	// net/http would take a deadline that the server has for requests for the
	// client being gone.
	_ = s.c.SetReadDeadline(time.Time{})
	h.a.metrics.watch.streams.Inc()
	defer h.a.metrics.watch.streams.Dec()
	h.a.metrics.watch.ended[s.run(r)].Inc()
	return nil
}

// newStream reads what a request asks for. A position that was asked for in
// the URL and is not there is its problem; one that an earlier stream left is
// answered with a reset.
func (h *watchHub) newStream(w http.ResponseWriter, r *http.Request) (*stream, error) {
	p, err := parseParams(r, "bytes", "changes", "from", "prefix")
	if err != nil {
		return nil, err
	}
	// Below the recorder, which does not tell what flushing says.
	s := &stream{hub: h, w: w, c: http.NewResponseController(w), form: p.form}
	if rec := recorderOf(w); rec != nil {
		s.c = http.NewResponseController(rec.ResponseWriter)
	}
	if s.changes, err = p.flag("changes"); err != nil {
		return nil, err
	}
	prefix, err := p.bytes("prefix")
	if err != nil {
		return nil, err
	}
	if err := h.a.codec.checkPart("prefix", prefix); err != nil {
		return nil, err
	}
	s.prefix = string(prefix)
	from, given, err := p.number("from", 0, maxNumber)
	switch {
	case err != nil:
		return nil, err
	case !s.changes && (given || prefix != nil):
		return nil, document.NewProblem(document.CodeInvalidRequest, "from and prefix are about changes: changes=true expected with them")
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		s.resume = parseEventID(id)
		return s, nil
	}
	if !given {
		return s, nil
	}
	v, err := h.a.db.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if s.at, err = placeOf(v, from); err != nil {
		p := h.a.problemOf(err, &h.a.headOf(v).Head)
		return nil, p
	}
	s.placed = true
	return s, nil
}

// place is a state that a client knows.
type place struct {
	size uint64
	root mmr.Digest
	gen  uint64 // where it was looked up; 0: nowhere
}

func placeAt(v *database.View) place { return place{v.Size(), v.Root(), v.Generation()} }

// placeOf is the state of a size, if the changes since then can be told.
func placeOf(v *database.View, size uint64) (place, error) {
	if size == 0 && v.Start() == 0 { // before the first commit: every key is a change
		return place{gen: v.Generation()}, nil
	}
	at, err := v.At(size)
	if err != nil {
		return place{}, err
	}
	defer at.Close()
	return placeAt(at), nil
}

// eventID is what a root event's id says: the size, and enough of the root to
// notice that the log has another history now.
type eventID struct {
	size   uint64
	prefix string
}

// idDigits is how much of the root an id has.
const idDigits = 16

func appendEventID(dst []byte, size uint64, root string) []byte {
	dst = strconv.AppendUint(dst, size, 10)
	return append(append(dst, '-'), root[:idDigits]...)
}

// parseEventID reads an id; what is none is the id of no state.
func parseEventID(s string) *eventID {
	number, prefix, _ := strings.Cut(s, "-")
	size, err := strconv.ParseUint(number, 10, 64)
	if err != nil || len(prefix) != idDigits || size > maxNumber {
		return &eventID{}
	}
	return &eventID{size, prefix}
}

// place is where the id is in the history of v; false: nowhere.
func (id *eventID) place(v *database.View) (place, bool, error) {
	if id.prefix == "" {
		return place{}, false, nil
	}
	p, err := placeOf(v, id.size)
	if err != nil {
		return p, false, unlessUnknown(err)
	}
	return p, strings.HasPrefix(p.root.String(), id.prefix), nil
}

// unlessUnknown drops errors that say that a state is not in the log, or not
// any more.
func unlessUnknown(err error) error {
	for _, known := range []error{database.ErrPruned, database.ErrBeyond, database.ErrNotBoundary} {
		if errors.Is(err, known) {
			return nil
		}
	}
	return err
}
