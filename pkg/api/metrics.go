package api

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what an API does. Every label has a handful of values that no
// client can choose: routes are patterns, and codes are classes.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	sent     *prometheus.CounterVec
	inFlight prometheus.Gauge
	clients  prometheus.Gauge
	refusals *prometheus.CounterVec
	panics   prometheus.Counter
	corrupt  prometheus.Counter
	failed   prometheus.Counter

	watch watchMetrics // of watch.go
	batch batchMetrics // of batches.go
}

// NewMetrics registers the metrics of one API. With a nil registerer they count
// but are registered nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	failures := f.NewCounterVec(prometheus.CounterOpts{
		Name: "proofsync_http_database_failures_total",
		Help: "Requests the database could not answer though it should have, by what failed.",
	}, []string{"kind"})
	return &Metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_http_requests_total",
			Help: "Requests answered, by route, method and class of the status code.",
		}, []string{"route", "method", "code"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "proofsync_http_request_duration_seconds",
			Help:    "Time from a request's header having been read to its answer having been handed over, watch streams not counted.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 10), // 50 us .. 13 s
		}, []string{"route"}),
		sent: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_http_response_bytes_total",
			Help: "Bytes of bodies sent, after compression.",
		}, []string{"route"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_http_inflight_requests",
			Help: "Requests being answered, watch streams included.",
		}),
		clients: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_http_clients",
			Help: "Clients that are remembered for limits, by certificate or address; 0 where there are no limits per client.",
		}),
		refusals: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_http_refused_total",
			Help: "Requests refused because of a limit, by limit.",
		}, []string{"limit"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_http_panics_total",
			Help: "Requests ended by a mistake in the program.",
		}),
		corrupt: failures.WithLabelValues("corruption"),
		failed:  failures.WithLabelValues("other"),
		watch:   newWatchMetrics(f),
		batch:   newBatchMetrics(f),
	}
}

func (m *Metrics) refuse(limit string) { m.refusals.WithLabelValues(limit).Inc() }

// The classes of status codes.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// counted are the metrics of one route and method.
type counted struct {
	codes    [len(classes)]prometheus.Counter
	duration prometheus.Observer
	sent     prometheus.Counter
}

// of are the metrics of a route's method. Paths that do not exist count as one.
func (m *Metrics) of(path, method string) *counted {
	if path == "" {
		path = "other"
	}
	c := &counted{duration: m.duration.WithLabelValues(path), sent: m.sent.WithLabelValues(path)}
	for i, class := range classes {
		c.codes[i] = m.requests.WithLabelValues(path, method, class)
	}
	return c
}

// answered counts an answer; status 0: there was none, the connection ended.
func (c *counted) answered(status int, sent int64, took time.Duration, stream bool) {
	class := 0
	if status >= 100 && status < 600 {
		class = status / 100
	}
	c.codes[class].Inc()
	c.sent.Add(float64(sent))
	if !stream || status != http.StatusOK {
		c.duration.Observe(took.Seconds())
	}
}
