package notary

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// reason is why a checkpoint was not signed.
type reason int

const (
	reasonSigner   reason = iota // the signer failed
	reasonTimeout                // the signer took too long
	reasonInvalid                // what the signer returned is no note of the checkpoint
	reasonDatabase               // the state could not be read
	reasonMemory                 // what is signed cannot be remembered
	reasonRollback               // the log has lost what was signed before
	reasonFork                   // the log is not the one that was signed before
	numReasons
)

func (r reason) String() string {
	return [numReasons]string{
		reasonSigner: "signer", reasonTimeout: "timeout", reasonInvalid: "invalid", reasonDatabase: "database",
		reasonMemory: "memory", reasonRollback: "rollback", reasonFork: "fork",
	}[r]
}

// Error says why a checkpoint was not signed.
type Error struct {
	reason reason
	err    error
}

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Metrics measures a Notary and its key file.
type Metrics struct {
	signed     prometheus.Counter
	failures   [numReasons]prometheus.Counter
	lastSigned prometheus.Gauge
	noteBytes  prometheus.Gauge
	signatures prometheus.Gauge
	keys       prometheus.Gauge
	keyFailing prometheus.Gauge
	cosigned   *prometheus.CounterVec
	refused    *prometheus.CounterVec
	latency    *prometheus.HistogramVec
}

// NewMetrics registers the metrics with reg; nil leaves them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		signed: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_notary_signed_total",
			Help: "Checkpoints signed, those of a commit that was signed before included.",
		}),
		lastSigned: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_notary_last_signed_timestamp_seconds",
			Help: "When the newest checkpoint was signed, in seconds since 1970; 0 before the first one.",
		}),
		noteBytes: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_notary_note_bytes",
			Help: "Length of the newest checkpoint with its signatures.",
		}),
		signatures: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_notary_signatures",
			Help: "Signatures that the newest checkpoint has so far: one for each key of the writer, and one for each witness that has answered.",
		}),
		keys: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_notary_keys",
			Help: "Keys in the key file, all of which sign.",
		}),
		keyFailing: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_notary_key_file_failing",
			Help: "1 while the key file cannot be read and the keys it had before go on signing.",
		}),
		cosigned: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_notary_cosignatures_total",
			Help: "Checkpoints that a witness has cosigned.",
		}, []string{"witness"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "proofsync_notary_witness_failures_total",
			Help: "Checkpoints that a witness has not cosigned, by reason: unreachable, refused, or invalid where its answer cannot be used.",
		}, []string{"witness", "reason"}),
		latency: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "proofsync_notary_witness_seconds",
			Help:    "Time a witness took to cosign.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 2, 14), // 1 ms .. 8 s
		}, []string{"witness"}),
	}
	failures := f.NewCounterVec(prometheus.CounterOpts{
		Name: "proofsync_notary_failures_total",
		Help: "Checkpoints that could not be signed, by reason: rollback and fork where the log contradicts what was signed before.",
	}, []string{"reason"})
	for r := range m.failures {
		m.failures[r] = failures.WithLabelValues(reason(r).String())
	}
	return m
}
