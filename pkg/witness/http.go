package witness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"

	"github.com/proofsync/proofsync/internal/guard"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/document"
)

const (
	// perHost is how many notes a second one address may send, and as many at once.
	perHost = 20
	// maxHosts bounds the memory of what is counted; beyond it all share one rate.
	maxHosts = 4096
	// maxWaiting is how many requests are in work or wait for their turn.
	maxWaiting = 64
	// retryAfter is when a witness that cannot sign now may be asked again, in seconds.
	retryAfter = 2
)

// Handler answers POST /v1/cosign, GET /v1/checkpoint (the last note signed),
// /startupz, /livez, /readyz, and /metrics from g.
func (w *Witness) Handler(g prometheus.Gatherer) http.Handler {
	h := &handler{w: w, hosts: make(map[netip.Prefix]*rate.Limiter), places: make(chan struct{}, maxWaiting)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/cosign", h.cosign)
	mux.HandleFunc("GET /v1/checkpoint", h.checkpoint)
	probes(mux, g)
	return mux
}

// Probes answers /startupz, /livez, /readyz, and /metrics from g, and nothing else: for a
// port that is not the witness's own.
func Probes(g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	probes(mux, g)
	return mux
}

func probes(mux *http.ServeMux, g prometheus.Gatherer) {
	ok := func(rw http.ResponseWriter, _ *http.Request) { writeText(rw, []byte("ok\n")) }
	mux.HandleFunc("GET /startupz", ok)
	mux.HandleFunc("GET /livez", ok)
	mux.HandleFunc("GET /readyz", ok) // there is no handler before the state was read
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: 8}))
}

type handler struct {
	w      *Witness
	places chan struct{}

	mu    sync.Mutex
	hosts map[netip.Prefix]*rate.Limiter
	swept time.Time
}

func (h *handler) cosign(rw http.ResponseWriter, r *http.Request) {
	if !h.allow(r.RemoteAddr) {
		h.refuse(rw, &RefusedError{codeTooMany, errors.New("more notes a second than one host may send")})
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		h.refuse(rw, &RefusedError{codeTooMany, errors.New("too many notes are waiting")})
		return
	}
	note, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, checkpoint.MaxNote))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			h.refuse(rw, &RefusedError{codeTooLarge, fmt.Errorf("a note has at most %d bytes", checkpoint.MaxNote)})
		}
		return // who does not send a note is gone
	}
	signed, err := h.w.Sign(r.Context(), note)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		writeProblem(rw, refused)
		return
	}
	if err != nil {
		return // the client has gone
	}
	writeText(rw, signed)
}

// refuse answers what was not even looked at.
func (h *handler) refuse(rw http.ResponseWriter, e *RefusedError) {
	h.w.o.Metrics.refused.WithLabelValues(string(e.Code)).Inc()
	writeProblem(rw, e)
}

func (h *handler) checkpoint(rw http.ResponseWriter, _ *http.Request) {
	note := h.w.Note()
	if note == nil {
		writeProblem(rw, &RefusedError{document.CodeNoCheckpoint, errors.New("the witness has signed nothing yet")})
		return
	}
	writeText(rw, note)
}

// allow takes a request of a peer, host:port.
func (h *handler) allow(peer string) bool {
	var host netip.Prefix
	if at, err := netip.ParseAddrPort(peer); err == nil {
		host = guard.Host(at)
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.hosts) >= maxHosts && now.Sub(h.swept) > time.Second {
		h.swept = now
		for host, l := range h.hosts {
			if l.TokensAt(now) >= perHost {
				delete(h.hosts, host)
			}
		}
	}
	if len(h.hosts) >= maxHosts {
		host = netip.Prefix{}
	}
	l := h.hosts[host]
	if l == nil {
		l = rate.NewLimiter(perHost, perHost)
		h.hosts[host] = l
	}
	return l.AllowN(now, 1)
}

func writeText(rw http.ResponseWriter, text []byte) {
	hs := rw.Header()
	hs.Set("Content-Type", "text/plain; charset=utf-8")
	hs.Set("Content-Length", strconv.Itoa(len(text)))
	hs.Set("Cache-Control", "no-store")
	hs.Set("X-Content-Type-Options", "nosniff")
	_, _ = rw.Write(text) // who does not read an answer is gone
}

func writeProblem(rw http.ResponseWriter, e *RefusedError) {
	status := e.Status()
	if status == 0 {
		status = e.Code.Status()
	}
	body, err := json.Marshal(&document.Problem{
		Type: "urn:proofsync:problem:" + string(e.Code), Title: http.StatusText(status), Status: status, Code: e.Code, Detail: e.Error(),
	})
	if err != nil {
		body = nil // it is text and numbers
	}
	hs := rw.Header()
	hs.Set("Content-Type", document.ProblemType)
	hs.Set("Content-Length", strconv.Itoa(len(body)))
	hs.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		hs.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	rw.WriteHeader(status)
	_, _ = rw.Write(body)
}

// NewServer is an HTTP server with bounds, for Handler.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
