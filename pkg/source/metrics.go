package source

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what happens between us and each configured peer. The peer
// label has as many values as there are configured addresses.
type Metrics struct {
	requests    *prometheus.CounterVec   // peer, type
	failures    *prometheus.CounterVec   // peer, reason
	connections *prometheus.CounterVec   // peer
	connected   *prometheus.GaugeVec     // peer
	received    *prometheus.CounterVec   // peer
	pushes      *prometheus.CounterVec   // peer
	following   *prometheus.GaugeVec     // peer
	late        *prometheus.CounterVec   // peer
	duration    *prometheus.HistogramVec // peer
	verdicts    *prometheus.CounterVec   // peer, verdict
	cooldown    *prometheus.GaugeVec     // peer
}

// NewMetrics registers the metrics; a nil registerer leaves them unregistered
// but usable.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_requests_total",
			Help: "Requests sent to the peer, by type (target, operations).",
		}, []string{"peer", "type"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_failures_total",
			Help: "Requests and connections of the peer that failed, by reason.",
		}, []string{"peer", "reason"}),
		connections: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_connections_total",
			Help: "Connections made to the peer.",
		}, []string{"peer"}),
		connected: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_source_connected",
			Help: "1 while there is a connection to the peer.",
		}, []string{"peer"}),
		received: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_received_bytes_total",
			Help: "Bytes of the frames received from the peer.",
		}, []string{"peer"}),
		pushes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_pushes_total",
			Help: "Targets the peer pushed.",
		}, []string{"peer"}),
		following: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_source_following",
			Help: "1 while the peer pushes new targets.",
		}, []string{"peer"}),
		late: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_late_answers_total",
			Help: "Answers to requests that had been given up.",
		}, []string{"peer"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "proofsync_source_request_duration_seconds",
			Help:    "Time from a request to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 11),
		}, []string{"peer"}),
		verdicts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_verdicts_total",
			Help: "What the peer's answers were found to be (good, lying, slow, diverged).",
		}, []string{"peer", "verdict"}),
		cooldown: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_source_cooldown_seconds",
			Help: "Length of the peer's latest cool-down, 0 when it is in good standing.",
		}, []string{"peer"}),
	}
}

// peerMetrics are the metrics of one peer, looked up once.
type peerMetrics struct {
	targets, operations, connections prometheus.Counter
	received, pushes, late           prometheus.Counter
	connected, following             prometheus.Gauge
	duration                         prometheus.Observer
	failures                         *prometheus.CounterVec
}

func (m *Metrics) peer(name string) *peerMetrics {
	return &peerMetrics{
		targets:     m.requests.WithLabelValues(name, "target"),
		operations:  m.requests.WithLabelValues(name, "operations"),
		connections: m.connections.WithLabelValues(name),
		connected:   m.connected.WithLabelValues(name),
		received:    m.received.WithLabelValues(name),
		pushes:      m.pushes.WithLabelValues(name),
		following:   m.following.WithLabelValues(name),
		late:        m.late.WithLabelValues(name),
		duration:    m.duration.WithLabelValues(name),
		failures:    m.failures.MustCurryWith(prometheus.Labels{"peer": name}),
	}
}
