package source

import (
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 50 * time.Millisecond
	// backoffMax keeps the promise that a sole source is tried again within
	// two seconds.
	backoffMax = 2 * time.Second
)

// Backoff is how long to wait after the n-th failure in a row (from 1):
// doubling from 50 ms, never above two seconds, with the upper half random so
// that many clients of one server do not come back together.
func Backoff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	d := backoffMax
	if n < 7 { // 50 ms << 6 is above the maximum
		d = min(backoffMin<<(n-1), backoffMax)
	}
	return d/2 + rand.N(d/2)
}
