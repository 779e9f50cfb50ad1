package serve

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/proofsync/proofsync/pkg/wire"
)

// Metrics counts what a Server does. Every label has a handful of values that
// no peer can choose.
type Metrics struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	rejected    prometheus.Counter
	acceptFails prometheus.Counter
	closed      [numReasons]prometheus.Counter

	requests    [numKinds]prometheus.Counter
	errors      []prometheus.Counter // by wire.Code
	undecodable prometheus.Counter
	oversized   prometheus.Counter
	operations  prometheus.Counter
	failures    [numFailures]prometheus.Counter
	duration    prometheus.Histogram

	received prometheus.Counter
	sent     prometheus.Counter
	writes   prometheus.Counter

	inflightRequests prometheus.Gauge
	inflightBytes    prometheus.Gauge

	clients prometheus.Gauge
	limits  [numScopes][numLimits]limitMetrics
	door    atomic.Pointer[door] // of all clients

	subscribers     prometheus.Gauge
	pushes          prometheus.Counter
	pushesCoalesced prometheus.Counter
}

// limitMetrics are those of one limit.
type limitMetrics struct {
	limit         limit
	scope         scope
	waits, closed prometheus.Counter
	waiting       prometheus.Gauge
}

// NewMetrics registers the metrics of one server. With a nil registerer they
// count but are registered nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "proofsync_serve_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "proofsync_serve_" + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "proofsync_serve_" + name, Help: help})
	}
	m := &Metrics{
		connections: gauge("connections", "Connections being served."),
		accepted:    counter("connections_accepted_total", "Connections accepted and served."),
		rejected:    counter("connections_rejected_total", "Connections closed at once because a connection limit was reached."),
		acceptFails: counter("accept_failures_total", "Times accepting a connection failed and was tried again later."),

		undecodable: counter("undecodable_frames_total", "Frames skipped without an answer because they do not decode."),
		oversized:   counter("oversized_frames_total", "Frames skipped without an answer because no request is that long."),
		operations:  counter("operations_total", "Operations sent in replies."),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "proofsync_serve_request_duration_seconds",
			Help:    "Time from a request having been admitted to its reply being ready to be written.",
			Buckets: prometheus.ExponentialBuckets(20e-6, 4, 10), // 20 us .. 5.2 s
		}),

		received: counter("received_bytes_total", "Bytes read from connections."),
		sent:     counter("sent_bytes_total", "Bytes written to connections."),
		writes:   counter("writes_total", "Writes to connections; several replies share one when they are ready together."),

		inflightRequests: gauge("inflight_requests", "Requests admitted whose reply has not been written yet."),
		inflightBytes:    gauge("inflight_bytes", "Bytes reserved for replies that are being built or wait to be written."),

		subscribers:     gauge("subscribers", "Connections that are told of new targets as they are published."),
		pushes:          counter("pushes_total", "Targets pushed to subscribers; the first one of a subscription answers a request and does not count."),
		pushesCoalesced: counter("pushes_coalesced_total", "Targets a subscriber was not told of because a newer one was there by the time it could be."),
	}
	closed := vec("connections_closed_total", "Connections that ended, by what ended them.", "reason")
	for r := range m.closed {
		m.closed[r] = closed.WithLabelValues(reason(r).String())
	}
	requests := vec("requests_total", "Requests read, by type.", "type")
	for k := range m.requests {
		m.requests[k] = requests.WithLabelValues(kind(k).String())
	}
	errs := vec("errors_total", "Error messages sent, by code.", "code")
	for c := wire.InvalidRequest; c <= wire.Internal; c++ {
		m.errors = append(m.errors, errs.WithLabelValues(strings.ReplaceAll(c.String(), " ", "_")))
	}
	m.clients = gauge("clients", "Clients that are remembered, by certificate or address: those that are connected, and those that were.")
	m.newLimits(f)
	failures := vec("database_failures_total", "Requests the database could not answer though it should have, by what failed.", "kind")
	for k := range m.failures {
		m.failures[k] = failures.WithLabelValues(failure(k).String())
	}
	return m
}

// newLimits makes the metrics of limits. They are there without limits, too, so
// that rules about them need no exceptions.
func (m *Metrics) newLimits(f promauto.Factory) {
	labels := []string{"limit", "of"}
	waits := f.NewCounterVec(prometheus.CounterOpts{
		Name: "proofsync_serve_limit_waits_total", Help: "Requests that had to wait for a limit, of one client or of all.",
	}, labels)
	closed := f.NewCounterVec(prometheus.CounterOpts{
		Name: "proofsync_serve_limit_closed_total", Help: "Connections closed because a request would have had to wait too long for a limit, of one client or of all.",
	}, labels)
	waiting := f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "proofsync_serve_limit_waiting", Help: "Clients with a request that waits for a limit, of one client or of all; the next ones wait behind it and do not count.",
	}, labels)
	for s := range m.limits {
		for l := range m.limits[s] {
			values := []string{limit(l).String(), scope(s).String()}
			m.limits[s][l] = limitMetrics{limit(l), scope(s), waits.WithLabelValues(values...), closed.WithLabelValues(values...), waiting.WithLabelValues(values...)}
		}
	}
	for l := range numLimits {
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "proofsync_serve_limit_used_ratio",
			Help:        "How much of what a limit of all clients allows in a second is used up at this moment; 0 without a limit.",
			ConstLabels: prometheus.Labels{"limit": l.String()},
		}, func() float64 {
			if d := m.door.Load(); d != nil {
				return d.buckets.Used(int(l), time.Now())
			}
			return 0
		})
	}
}
