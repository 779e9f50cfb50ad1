package certs

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics tell how long the material lasts and what became of it. Labels have a
// handful of values that no peer can choose.
type Metrics struct {
	expiry   *prometheus.GaugeVec   // of
	reloads  *prometheus.CounterVec // of, result
	rejected *prometheus.GaugeVec   // of
	failures [numReasons]prometheus.Counter
}

// NewMetrics registers the metrics of one Store; a nil registerer leaves them
// unregistered but usable.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		expiry: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_tls_expiry_timestamp_seconds",
			Help: "When our own certificate expires, and the first one of the CA bundle (of: certificate, ca).",
		}, []string{"of"}),
		reloads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_tls_reloads_total",
			Help: "Times changed files were taken up or could not be used, by kind (of: certificate, ca) and result (ok, failed).",
		}, []string{"of", "result"}),
		rejected: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_tls_files_rejected",
			Help: "1 while the files cannot be used as they are, and what was in them before is used instead (of: certificate, ca).",
		}, []string{"of"}),
	}
	failures := f.NewCounterVec(prometheus.CounterOpts{
		Name: "proofsync_tls_handshake_failures_total",
		Help: "Peers with whom no connection came about because of TLS, by reason: those that connected to us, and servers whose certificate we refused.",
	}, []string{"reason"})
	for r := range m.failures {
		m.failures[r] = failures.WithLabelValues(reason(r).String())
	}
	return m
}
