package syncer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics count what a Syncer does.
type Metrics struct {
	iterations, completed           prometheus.Counter
	failures                        *prometheus.CounterVec // class
	verifiedOps, verifiedBytes      prometheus.Counter
	requestsInFlight, bytesInFlight prometheus.Gauge
	targetSize, localSize, lag      prometheus.Gauge
	lastSuccess, lastDuration       prometheus.Gauge
	duration, requestDuration       prometheus.Histogram
	followDuration                  prometheus.Histogram
	refuted, forks, rebuilds        prometheus.Counter
	rollbacks                       prometheus.Counter
	linksMissing, regressions       prometheus.Counter
	quarantines                     prometheus.Counter
	stalls                          prometheus.Counter
	mismatch, forked, stalled       prometheus.Gauge
	failuresInRow                   prometheus.Gauge
	phase                           *prometheus.GaugeVec // phase
}

// NewMetrics registers the metrics; a nil registerer leaves them unregistered
// but usable.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "proofsync_sync_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "proofsync_sync_" + name, Help: help})
	}
	m := &Metrics{
		iterations:       counter("iterations_total", "Sync iterations begun."),
		completed:        counter("completed_total", "Sync iterations completed, those that found nothing new included."),
		verifiedOps:      counter("verified_operations_total", "Operations verified and stored."),
		verifiedBytes:    counter("fetched_bytes_total", "Bytes of the answers that were verified and stored."),
		requestsInFlight: gauge("requests_in_flight", "Requests for operations under way."),
		bytesInFlight:    gauge("in_flight_bytes", "Memory reserved for answers asked for or not yet stored, digests included."),
		targetSize:       gauge("target_size_operations", "Size of the newest target the source named."),
		localSize:        gauge("local_size_operations", "Size of the log that is readable here."),
		lag:              gauge("lag_operations", "Operations of the newest target that are not readable here yet."),
		lastSuccess:      gauge("last_success_timestamp_seconds", "Unix time when the replica was last in step with a target."),
		lastDuration:     gauge("last_duration_seconds", "Duration of the last completed iteration, the pause after it not included."),
		refuted:          counter("verification_failures_total", "Answers that were refuted: wrong proofs, pinned nodes or targets."),
		forks:            counter("forks_total", "Times the source's history was found not to be ours."),
		rollbacks:        counter("rollbacks_total", "Times the newest signed target was older than one accepted before."),
		rebuilds:         counter("rebuilds_total", "Times the replica was started over because of a fork."),
		quarantines:      counter("quarantines_total", "Times a damaged generation was set aside to be fetched anew."),
		linksMissing:     counter("history_links_missing_total", "Times no source retained our size, so that the new history could not be proven to continue ours."),
		regressions:      counter("target_regressions_total", "Polls in which the source named a target that is not the same, and not newer."),
		stalls:           counter("stalls_total", "Times there was no progress for too long."),
		mismatch:         gauge("mismatch", "1 while the source's log is of another family or encoding."),
		forked:           gauge("forked", "1 while the source's history is not ours."),
		stalled:          gauge("stalled", "1 while there has been no progress for too long."),
		failuresInRow:    gauge("consecutive_failures", "Failures since the last progress."),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_sync_failures_total",
			Help: "Failures by class (local, wrong, slow, refused).",
		}, []string{"class"}),
		phase: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "proofsync_sync_phase",
			Help: "1 for the phase the syncer is in, 0 for the others.",
		}, []string{"phase"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "proofsync_sync_duration_seconds",
			Help:    "Duration of completed iterations.",
			Buckets: prometheus.ExponentialBuckets(0.005, 3, 12),
		}),
		followDuration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "proofsync_sync_follow_duration_seconds",
			Help:    "Time from a pushed target to its root being readable here.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms .. 4 s
		}),
		requestDuration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "proofsync_sync_request_duration_seconds",
			Help:    "Time from a request for operations to its verified answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 11),
		}),
	}
	for _, class := range []string{"local", "wrong", "slow", "refused"} {
		m.failures.WithLabelValues(class) // so that a rate has something to start from
	}
	return m
}
