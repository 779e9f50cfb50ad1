package guard

import (
	"math"
	"sync"
	"time"
)

// A Bucket is a token bucket: it fills at a steady rate up to one second's
// worth, and what is done takes from it. Whatever comes passes as long as a
// token is left, and may take more than there are: what is large makes others
// wait, and is not impossible. What turns out to have cost less is given back.
// (Those two are why this is not rate.Limiter, which refuses the first and has
// no word for the second.)
//
// A nil Bucket sets no limit. Methods may be called from any goroutine.
type Bucket struct {
	mu sync.Mutex
	bucket
}

// NewBucket returns a full bucket that fills at perSecond; nil if that is 0 or less.
func NewBucket(perSecond float64) *Bucket {
	if perSecond <= 0 {
		return nil
	}
	return &Bucket{bucket: newBucket(perSecond)}
}

// Take takes n tokens if there is at least one, or n where that is less, and
// returns 0. Otherwise it takes nothing, and says after how long there will be
// as many, if nobody else takes them.
func (b *Bucket) Take(now time.Time, n float64) (wait time.Duration) {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.take(now, n)
}

// Put gives n tokens back.
func (b *Bucket) Put(n float64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(n)
}

// Used is how much of what the bucket holds is taken, from 0 to 1.
func (b *Bucket) Used(now time.Time) float64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used(now)
}

// bucket is what a Bucket is but for its lock. It sets no limit if perSecond is 0.
type bucket struct {
	perSecond float64
	tokens    float64 // at the time of at
	at        time.Time
}

func newBucket(perSecond float64) bucket {
	b := bucket{perSecond: max(0, perSecond), at: time.Now()}
	b.tokens = b.most()
	return b
}

// most is what the bucket holds: one at least, or nothing would ever pass.
func (b *bucket) most() float64 { return max(1, b.perSecond) }

func (b *bucket) take(now time.Time, n float64) (wait time.Duration) {
	b.fill(now)
	if missing := min(1, n) - b.tokens; missing > 0 {
		return time.Duration(math.Ceil(missing / b.perSecond * float64(time.Second)))
	}
	b.tokens -= n
	return 0
}

func (b *bucket) put(n float64) { b.tokens = min(b.tokens+n, b.most()) }

func (b *bucket) used(now time.Time) float64 {
	b.fill(now)
	return min(1, 1-b.tokens/b.most())
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.tokens+d.Seconds()*b.perSecond, b.most())
		b.at = now
	}
}
