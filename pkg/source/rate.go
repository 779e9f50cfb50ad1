package source

import (
	"math"
	"time"
)

const (
	// rateMemory is how long what was measured counts: after so long, a third
	// of its weight is left.
	rateMemory = 2 * time.Second
	// exploreMin is how long a source may go without being measured. Then it gets
	// one request to show what it can do now, and what was known is forgotten.
	// As long as it turns out to be of no use, the time doubles, up to exploreMax.
	exploreMin = 3 * time.Second
	exploreMax = time.Minute
	// uselessBelow is the share of the best source's throughput below which a
	// source is of no use.
	uselessBelow = 0.25
)

// rate is what a source delivers while it has something to do: bytes over the
// time it had requests under way. So neither the number of requests that
// share a connection nor pauses in between change it. It is pure; the zero
// value knows nothing.
type rate struct {
	bytes float64   // delivered; what is old counts less
	busy  float64   // seconds it took
	at    time.Time // the latest sample

	latency float64       // seconds from request to answer, a moving average
	rest    time.Duration // when to look again; 0: exploreMin
}

// add notes a request made at launched that ended now with so many bytes; none
// says that nothing came of it.
func (r *rate) add(launched, now time.Time, bytes int) {
	from := launched
	if from.Before(r.at) {
		from = r.at // it was busy with the one before
	}
	if r.stale(launched) {
		r.bytes, r.busy = 0, 0
	}
	keep := math.Exp(-now.Sub(from).Seconds() / rateMemory.Seconds())
	r.bytes = r.bytes*keep + float64(bytes)
	r.busy = r.busy*keep + max(0, now.Sub(from).Seconds())
	r.at = now
	took := max(0, now.Sub(launched).Seconds())
	if r.latency == 0 {
		r.latency = took
	}
	r.latency += (took - r.latency) / 8
}

// stale says whether the latest sample is so old that it says nothing about now.
func (r *rate) stale(now time.Time) bool {
	return r.at.IsZero() || now.Sub(r.at) > max(exploreMin, r.rest)
}

// explored sets when to look again, after a look at a source that was not
// measured for a while; best is the throughput of the best source.
func (r *rate) explored(best float64) {
	if r.perSecond(0) >= uselessBelow*best {
		r.rest = 0
		return
	}
	r.rest = min(exploreMax, 2*max(exploreMin, r.rest))
}

// perSecond is the throughput in bytes, or otherwise if it is not known.
func (r *rate) perSecond(otherwise float64) float64 {
	if r.at.IsZero() {
		return otherwise
	}
	return max(1, r.bytes) / max(r.busy, 1e-6)
}
