package syncer

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRateAndTimeToGoOfALongSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTracker(NewMetrics(nil))
		tr.restart()
		const perSecond, target = 1000, 20_000
		for end := uint64(100); end <= 10_000; end += 100 {
			time.Sleep(100 * time.Millisecond)
			tr.applied(100, end, target)
		}
		s := tr.snapshot()
		if s.Stored != 10_000 || s.Rate < 0.9*perSecond || s.Rate > 1.1*perSecond {
			t.Errorf("stored %d, rate %f", s.Stored, s.Rate)
		}
		if s.ETA < 9*time.Second || s.ETA > 11*time.Second {
			t.Errorf("ETA %s with 10 s to go", s.ETA)
		}
	})
}

func TestStallIsSaidOnceAndEndsWithProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTracker(NewMetrics(nil))
		tr.phase(PhaseSyncing)
		stalls := 0
		wait := func(d time.Duration) {
			for range int(d / time.Second) {
				time.Sleep(time.Second)
				if _, fresh := tr.stall(time.Minute); fresh {
					stalls++
				}
			}
		}
		wait(50 * time.Second)
		tr.applied(1, 1, 10)
		wait(50 * time.Second)
		if stalls != 0 {
			t.Fatal("stalled in spite of progress")
		}
		wait(5 * time.Minute)
		if stalls != 1 || !tr.snapshot().Stalled {
			t.Errorf("said %d times", stalls)
		}
		tr.applied(1, 2, 10)
		if tr.snapshot().Stalled {
			t.Error("progress does not end it")
		}
		for _, p := range []Phase{PhaseWaiting, PhaseBehind, PhaseForked, PhaseMismatch} {
			tr.phase(p) // each a state of its own, in which nothing is expected
			wait(2 * time.Minute)
		}
		if stalls != 1 {
			t.Errorf("stalled while nothing was expected")
		}
	})
}
