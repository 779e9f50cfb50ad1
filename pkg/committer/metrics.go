package committer

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
)

// Metrics measures a Committer.
type Metrics struct {
	groups     prometheus.Counter
	batches    prometheus.Histogram
	seconds    prometheus.Histogram
	waiting    prometheus.Gauge
	replayed   prometheus.Counter
	remembered prometheus.Gauge
	refused    [numReasons]prometheus.Counter
}

// NewMetrics registers the metrics with reg; nil leaves them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		groups: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_committer_commits_total",
			Help: "Commits made for batches that were handed in; several batches share one.",
		}),
		batches: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "proofsync_committer_commit_batches",
			Help:    "Batches in a commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11), // 1 .. 1024
		}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "proofsync_committer_commit_seconds",
			Help:    "Time from the start of a commit to it being durable and readable.",
			Buckets: prometheus.ExponentialBuckets(200e-6, 2, 16), // 0.2 ms .. 6.5 s
		}),
		waiting: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_committer_waiting_batches",
			Help: "Batches handed in and not answered yet.",
		}),
		replayed: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_committer_replayed_total",
			Help: "Batches whose idempotency key was known and that were not written again.",
		}),
	}
	m.remembered = f.NewGauge(prometheus.GaugeOpts{
		Name: "proofsync_committer_remembered_keys",
		Help: "Idempotency keys that are known; batches with new ones are refused when there are too many.",
	})
	refused := f.NewCounterVec(prometheus.CounterOpts{
		Name: "proofsync_committer_refused_total",
		Help: "Batches that were not committed, by reason.",
	}, []string{"reason"})
	for r := range m.refused {
		m.refused[r] = refused.WithLabelValues(reasonNames[r])
	}
	return m
}

// reason is why a batch was not committed.
type reason int

const (
	reasonInvalid reason = iota
	reasonPrecondition
	reasonImmutable
	reasonReused
	reasonKeysFull
	reasonDiskFull
	reasonGivenUp
	reasonClosed
	reasonFailed
	numReasons
)

var reasonNames = [numReasons]string{
	reasonInvalid: "invalid", reasonPrecondition: "precondition", reasonImmutable: "immutable",
	reasonReused: "key_reused", reasonKeysFull: "keys_full", reasonDiskFull: "disk_full",
	reasonGivenUp: "given_up", reasonClosed: "closed", reasonFailed: "failed",
}

func reasonOf(err error) reason {
	var write *WriteError
	var low *space.LowError
	switch {
	case errors.As(err, &low):
		return reasonDiskFull
	case errors.Is(err, ErrPrecondition):
		return reasonPrecondition
	case errors.Is(err, ErrImmutable):
		return reasonImmutable
	case errors.Is(err, ErrReused):
		return reasonReused
	case errors.Is(err, ErrKeysFull):
		return reasonKeysFull
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return reasonGivenUp
	case errors.Is(err, ErrClosed), errors.Is(err, database.ErrClosed):
		return reasonClosed
	case errors.As(err, &write), errors.Is(err, ErrIdempotencyKey), errors.Is(err, ErrPart), errors.Is(err, database.ErrFloor),
		errors.Is(err, operation.ErrTooLarge), errors.Is(err, operation.ErrValueSize):
		return reasonInvalid
	}
	return reasonFailed
}
