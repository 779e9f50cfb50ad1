package witness

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics measures a Witness.
type Metrics struct {
	cosigned prometheus.Counter
	refused  *prometheus.CounterVec
	epochs   prometheus.Counter
	size     prometheus.Gauge
	epoch    prometheus.Gauge
	last     prometheus.Gauge
	seconds  prometheus.Histogram
}

// NewMetrics registers the metrics with reg; nil leaves them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		cosigned: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_witness_cosigned_total",
			Help: "Checkpoints cosigned, those that were signed before and asked for again included.",
		}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_witness_refused_total",
			Help: "Checkpoints that were not cosigned, by reason; fork and rollback are for people to look at.",
		}, []string{"reason"}),
		epochs: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_witness_epochs_total",
			Help: "Times that the writer declared a new epoch, which does not have to continue what was signed before.",
		}),
		size: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_witness_size",
			Help: "Operations in the log of the last checkpoint that was cosigned.",
		}),
		epoch: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_witness_epoch",
			Help: "Epoch of the last checkpoint that was cosigned.",
		}),
		last: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_witness_last_checkpoint_timestamp_seconds",
			Help: "When the last checkpoint that was cosigned was signed by its writer, in seconds since 1970; 0 if there is none.",
		}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "proofsync_witness_cosign_seconds",
			Help:    "Time it took to check, store and sign a checkpoint that was cosigned.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 2, 14), // 1 ms .. 8 s
		}),
	}
	for c := range statuses {
		m.refused.WithLabelValues(string(c))
	}
	return m
}
