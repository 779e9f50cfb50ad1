package source

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what happens between us and each peer. The peer label has as
// many values as there are configured addresses, or addresses that their names
// have: what belongs to a peer that is gone is deleted.
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
	throughput  *prometheus.GaugeVec     // peer
	latency     *prometheus.GaugeVec     // peer
	inFlight    *prometheus.GaugeVec     // peer
	hedges      *prometheus.CounterVec   // peer, result
	lookups     *prometheus.CounterVec   // result

	mu      sync.Mutex
	holders map[string]int // who counts for a peer: its series go with the last of them
}

// NewMetrics registers the metrics; a nil registerer leaves them unregistered
// but usable.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		holders: make(map[string]int),
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
		throughput: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_source_throughput_bytes_per_second",
			Help: "What the peer was measured to deliver while it had something to do; requests are spread by it.",
		}, []string{"peer"}),
		latency: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_source_latency_seconds",
			Help: "Time from a request for operations to its answer, averaged over the latest ones.",
		}, []string{"peer"}),
		inFlight: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_source_requests_in_flight",
			Help: "Requests for operations under way with the peer.",
		}, []string{"peer"}),
		hedges: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_hedges_total",
			Help: "Requests sent to the peer because another one took too long, by result (won: its answer was used, lost).",
		}, []string{"peer", "result"}),
		lookups: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_source_lookups_total",
			Help: "Look-ups of the names of servers, by result (ok, failed).",
		}, []string{"result"}),
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
	m.hold(name)
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

// memberMetrics are the metrics of one member of a pool, looked up once.
type memberMetrics struct {
	verdicts                                [VerdictDiverged + 1]prometheus.Counter
	cooldown, throughput, latency, inFlight prometheus.Gauge
	hedgesWon, hedgesLost                   prometheus.Counter
}

func (m *Metrics) member(name string) *memberMetrics {
	m.hold(name)
	mm := &memberMetrics{
		cooldown:   m.cooldown.WithLabelValues(name),
		throughput: m.throughput.WithLabelValues(name),
		latency:    m.latency.WithLabelValues(name),
		inFlight:   m.inFlight.WithLabelValues(name),
		hedgesWon:  m.hedges.WithLabelValues(name, "won"),
		hedgesLost: m.hedges.WithLabelValues(name, "lost"),
	}
	for v := range mm.verdicts {
		mm.verdicts[v] = m.verdicts.WithLabelValues(name, Verdict(v).String())
	}
	return mm
}

func (m *Metrics) hold(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holders[name]++
}

// forget undoes one peer or member. When nobody counts for a name any more, its
// series are deleted.
func (m *Metrics) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holders[name]--; m.holders[name] > 0 {
		return
	}
	delete(m.holders, name)
	of := prometheus.Labels{"peer": name}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.requests, m.failures, m.connections, m.connected, m.received, m.pushes, m.following, m.late, m.duration,
		m.verdicts, m.cooldown, m.throughput, m.latency, m.inFlight, m.hedges,
	} {
		v.DeletePartialMatch(of)
	}
}
