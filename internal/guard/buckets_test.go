package guard

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestBucketsAreTakenFromTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuckets(10, 0, 100)
		take := func(tokens ...float64) (short int, wait time.Duration, left []float64) {
			short, wait = b.Take(time.Now(), tokens)
			return short, wait, tokens
		}
		for range 10 {
			if _, wait, left := take(1, 1e9, 5); wait != 0 || slices.Max(left) != 0 {
				t.Fatalf("waits %v, left %v", wait, left)
			}
		}
		short, wait, left := take(1, 1, 5)
		if short != 0 || wait != 100*time.Millisecond || !slices.Equal(left, []float64{1, 1, 5}) {
			t.Errorf("bucket %d short, wait %v, left %v", short, wait, left)
		}
		take(0, 0, 150) // more than there is: the others wait
		time.Sleep(wait)
		short, wait, left = take(1, 1, 5)
		if short != 2 || wait <= 0 || !slices.Equal(left, []float64{0, 0, 5}) {
			t.Errorf("bucket %d short, wait %v, left %v", short, wait, left)
		}
		time.Sleep(wait)
		if _, wait, left = take(left...); wait != 0 || slices.Max(left) != 0 {
			t.Errorf("waits %v, left %v", wait, left)
		}
	})
}

func TestBucketsTakeBackAndTellWhatIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuckets(100, 0)
		if !b.Unused(time.Now()) {
			t.Error("new ones are used")
		}
		b.Take(time.Now(), []float64{1000, 1000})
		if b.Used(0, time.Now()) != 1 || b.Used(1, time.Now()) != 0 || b.Unused(time.Now()) {
			t.Error("what was taken is not seen, or what has no limit is")
		}
		b.Put(0, 950)
		b.Put(1, 950)
		if used := b.Used(0, time.Now()); used != 0.5 {
			t.Errorf("used %v", used)
		}
		time.Sleep(time.Second)
		if !b.Unused(time.Now()) {
			t.Error("full ones are used")
		}
	})
}

func TestAllIsTakenOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuckets(10, 0, 100)
		take := func(want bool, tokens ...float64) {
			t.Helper()
			if got := b.TakeAll(time.Now(), tokens); got != want {
				t.Errorf("%v taken: %v", tokens, got)
			}
		}
		take(true, 6, 1e9, 50)
		take(false, 5, 0, 1)
		take(false, 1, 0, 51)
		take(true, 4, 1e9, 50) // the two before took nothing
		take(true, 0, 1e9, 0)
		take(false, 1, 0, 0)
		time.Sleep(time.Second)
		take(false, 11, 0, 0)
		take(true, 10, 0, 100)
	})
}
