package guard

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBucketHoldsASecondsWorth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(10)
		taken := func() (n int) {
			for b.Take(time.Now(), 1) == 0 {
				n++
			}
			return n
		}
		if n := taken(); n != 10 {
			t.Errorf("%d at first", n)
		}
		if wait := b.Take(time.Now(), 1); wait != 100*time.Millisecond {
			t.Errorf("the next after %v", wait)
		}
		time.Sleep(300 * time.Millisecond)
		if n := taken(); n != 3 {
			t.Errorf("%d after three tenths of a second", n)
		}
		time.Sleep(time.Hour)
		if n := taken(); n != 10 {
			t.Errorf("%d after an hour", n)
		}
	})
}

func TestBucketKeepsItsRateWhateverIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []float64{0.5, 1, 7, 1000, 5000} {
			b := NewBucket(1000)
			began := time.Now()
			var taken float64
			for time.Since(began) < time.Minute {
				for wait := b.Take(time.Now(), n); wait > 0; wait = b.Take(time.Now(), n) {
					time.Sleep(wait)
				}
				taken += n
			}
			if least, most := 60_000.0, 61_000+2*n; taken < least || taken > most {
				t.Errorf("%v in a minute, %v at a time, want %v to %v", taken, n, least, most)
			}
		}
	})
}

func TestBucketTakesBackWhatWasNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(100)
		b.Take(time.Now(), 1000)
		if used := b.Used(time.Now()); used != 1 {
			t.Errorf("used %v", used)
		}
		b.Put(950)
		if wait := b.Take(time.Now(), 50); wait != 0 {
			t.Errorf("another %v later", wait)
		}
		b.Put(1e9)
		if b.Take(time.Now(), 100) != 0 || b.Take(time.Now(), 1) == 0 {
			t.Error("it holds more than a second's worth")
		}
	})
}

func TestNoBucketIsNoLimit(t *testing.T) {
	for _, b := range []*Bucket{NewBucket(0), NewBucket(-1)} {
		for range 1000 {
			if b.Take(time.Now(), 1e12) != 0 {
				t.Fatal("there is a limit")
			}
		}
		b.Put(1)
		if b.Used(time.Now()) != 0 {
			t.Error("it is used up")
		}
	}
}
