package targets

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics count what a Source does.
type Metrics struct {
	fetches *prometheus.CounterVec // result
	refused *prometheus.CounterVec // reason
	hints   prometheus.Counter

	size, epoch, signatures prometheus.Gauge
	asked                   atomic.Pointer[Source] // whose newest checkpoint the age is of; nil: nobody's
}

// The results of asking a place.
const (
	resultNote        = "note"
	resultUnreachable = "unreachable"
	resultLate        = "late"
)

// NewMetrics registers the metrics; a nil registerer leaves them unregistered but
// usable.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "proofsync_checkpoint_" + name, Help: help})
	}
	m := &Metrics{
		fetches: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_checkpoint_fetches_total",
			Help: "Questions for a checkpoint by result: note, unreachable, or late, when another place had a good one long before.",
		}, []string{"result"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_checkpoint_refused_total",
			Help: "Times that no checkpoint could be followed, by what was wrong with the best one.",
		}, []string{"reason"}),
		hints: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_checkpoint_hints_total",
			Help: "Times that a target pushed by a server made the checkpoint be asked for.",
		}),
		size:       gauge("followed_size_operations", "Size of the log in the newest checkpoint that may be followed."),
		epoch:      gauge("followed_epoch", "Epoch of the log in the newest checkpoint that may be followed."),
		signatures: gauge("followed_signatures", "Trusted keys that have signed the newest checkpoint that may be followed."),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "proofsync_checkpoint_age_seconds",
		Help: "Time since the newest checkpoint that may be followed was signed; NaN if there is none, or targets are taken on a server's word.",
	}, m.age)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "proofsync_checkpoint_stale",
		Help: "1 while no checkpoint is known that is fresh enough to be followed.",
	}, m.stale)
	for _, result := range []string{resultNote, resultUnreachable, resultLate} {
		m.fetches.WithLabelValues(result) // so that a rate has something to start from
	}
	for _, reason := range reasons {
		m.refused.WithLabelValues(reason)
	}
	return m
}

func (m *Metrics) age() float64 {
	if s := m.asked.Load(); s != nil {
		if st := s.Status(); !st.Time.IsZero() {
			return st.Age.Round(time.Millisecond).Seconds()
		}
	}
	return math.NaN()
}

func (m *Metrics) stale() float64 {
	if s := m.asked.Load(); s != nil && s.Status().Stale {
		return 1
	}
	return 0
}
