package guard

import (
	"sync"
	"time"
)

// Buckets are several of what Bucket describes, which one thing takes from
// together: under one lock, as that is most of what taking costs. Methods may be
// called from any goroutine.
type Buckets struct {
	mu  sync.Mutex
	all []bucket // the length and the rates never change
}

// NewBuckets returns full buckets that fill at so many tokens a second; 0 or less
// is one that sets no limit.
func NewBuckets(perSecond ...float64) *Buckets {
	b := &Buckets{all: make([]bucket, len(perSecond))}
	for i, rate := range perSecond {
		b.all[i] = newBucket(rate)
	}
	return b
}

// Limited tells whether a bucket sets a limit.
func (b *Buckets) Limited(i int) bool { return b.all[i].perSecond > 0 }

// Take takes tokens[i] from the bucket i, one bucket after the other, and sets
// what it has taken to 0: so that calling it again goes on. It stops at the first
// bucket that has too little, see Bucket.Take, and returns it, and when there will be
// enough in it; the wait is 0 if everything was taken.
func (b *Buckets) Take(now time.Time, tokens []float64) (short int, wait time.Duration) {
	if !b.concerned(tokens) {
		return 0, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range tokens {
		if tokens[i] == 0 {
			continue
		}
		if b.Limited(i) {
			if wait := b.all[i].take(now, tokens[i]); wait > 0 {
				return i, wait
			}
		}
		tokens[i] = 0
	}
	return 0, 0
}

// TakeAll takes tokens[i] from the bucket i if each of them holds as many, and tells
// whether it did; otherwise it takes nothing. What is more than a bucket ever holds is
// only to be had from Take.
func (b *Buckets) TakeAll(now time.Time, tokens []float64) bool {
	if !b.concerned(tokens) {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, n := range tokens {
		if n == 0 || !b.Limited(i) {
			continue
		}
		if b.all[i].fill(now); b.all[i].tokens < n {
			return false
		}
	}
	for i, n := range tokens {
		if b.Limited(i) {
			b.all[i].tokens -= n
		}
	}
	return true
}

// concerned tells whether there is anything to be taken from a bucket with a limit.
func (b *Buckets) concerned(tokens []float64) bool {
	for i, n := range tokens {
		if n != 0 && b.Limited(i) {
			return true
		}
	}
	return false
}

// Put gives n tokens back to a bucket.
func (b *Buckets) Put(i int, n float64) {
	if !b.Limited(i) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[i].put(n)
}

// Used is how much of what a bucket holds is taken, from 0 to 1.
func (b *Buckets) Used(i int, now time.Time) float64 {
	if !b.Limited(i) {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[i].used(now)
}

// Unused tells whether new ones would be the same.
func (b *Buckets) Unused(now time.Time) bool {
	for i := range b.all {
		if b.Used(i, now) > 0 {
			return false
		}
	}
	return true
}
