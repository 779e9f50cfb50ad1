package retention

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics measures a Loop.
type Metrics struct {
	pruned   prometheus.Counter
	seconds  prometheus.Counter
	pending  prometheus.Gauge
	blocked  prometheus.Gauge
	garbage  prometheus.Gauge
	failures prometheus.Counter
}

// NewMetrics registers the metrics with reg; nil leaves them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		pruned: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_retention_pruned_operations_total",
			Help: "Operations deleted from the beginning of the log, with their digests and index entries.",
		}),
		seconds: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_retention_prune_seconds_total",
			Help: "Time spent deleting, without the pauses in between.",
		}),
		pending: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_retention_pending_operations",
			Help: "Operations that are not retained any more but not deleted yet.",
		}),
		blocked: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_retention_blocked",
			Help: "1 while deleting waits for a reader of an older state, else 0.",
		}),
		garbage: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_retention_garbage_bytes",
			Help: "Estimated bytes of files that were deleted but still take space; a large share is given back at once, the rest in the course of things.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_retention_failures_total",
			Help: "Attempts to prune that met corrupt data below the retained log; nothing else is affected, and the space stays in use.",
		}),
	}
}
