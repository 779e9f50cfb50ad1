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
	// benefit is how many requests a source is believed to answer as fast as the
	// best one, beside its first one, which may have had to wait for a connection.
	// With each one more that fades.
	benefit = 8
)

// rate is what a source delivers while it has something to do: bytes over the
// time it had requests under way. So neither the number of requests that
// share a connection nor pauses in between change it. It is pure; the zero
// value knows nothing.
type rate struct {
	bytes float64   // delivered; what is old counts less
	busy  float64   // seconds it took
	at    time.Time // the latest sample
	n     int       // samples

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
		r.bytes, r.busy, r.n = 0, 0, 0
	}
	if r.n++; bytes == 0 {
		r.n += 2 // there is little doubt about that
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
// measured for a while.
func (r *rate) explored(useful bool) {
	if useful {
		r.rest = 0
		return
	}
	r.rest = min(exploreMax, 2*max(exploreMin, r.rest))
}

// measured is the throughput in bytes per second; 0: unknown.
func (r *rate) measured() float64 {
	if r.at.IsZero() {
		return 0
	}
	return max(1, r.bytes) / max(r.busy, 1e-6)
}

// expected is the throughput that a request of so many bytes may count on,
// where usual is that of the best source.
func (r *rate) expected(bytes, usual float64) float64 {
	if r.at.IsZero() {
		return usual
	}
	credit := benefit * bytes / float64(r.n*r.n)
	return (max(1, r.bytes) + credit) / (max(r.busy, 1e-6) + credit/usual)
}
