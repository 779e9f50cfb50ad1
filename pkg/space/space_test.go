package space

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

func TestFloorIsAShareWithinBounds(t *testing.T) {
	for _, c := range []struct {
		floor       Floor
		total, want uint64
	}{
		{Floor{Auto: true}, 1 << 40, 1 << 30},
		{Floor{Auto: true}, 10 << 30, 512 * mib},
		{Floor{Auto: true}, 1 << 30, 128 * mib},
		{Floor{Auto: true}, 64 * mib, 16 * mib},
		{Floor{Bytes: 7}, 1 << 40, 7},
		{Floor{}, 1 << 40, 0},
	} {
		if got := c.floor.Of(c.total); got != c.want {
			t.Errorf("%+v of %s is %s, want %s", c.floor, Bytes(c.total), Bytes(got), Bytes(c.want))
		}
	}
}

// volume is a volume whose free space a test sets.
type volume struct {
	mu   sync.Mutex
	free uint64
	err  error
}

func (v *volume) set(free uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.free = free
}

func (v *volume) measure() (Usage, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Usage{Free: v.free, Total: 1 << 40}, v.err
}

func newGuard(v *volume, log *bytes.Buffer) *Guard {
	o := Options{Floor: Floor{Bytes: 100 * mib}, Measure: v.measure, Path: "/data"}
	if log != nil {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	return New(o)
}

func TestWritersStopAtTheFloorAndGoOnAboveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &volume{free: 100 * mib}
		g := newGuard(v, nil)
		for _, step := range []struct {
			free uint64
			ok   bool
		}{{100 * mib, true}, {100*mib - 1, false}, {105 * mib, false}, {110*mib - 1, false}, {110 * mib, true}, {100 * mib, true}} {
			v.set(step.free)
			time.Sleep(2 * freshFor) // the last measurement is old
			err := g.Need(0)
			if (err == nil) != step.ok {
				t.Errorf("%d bytes free: %v", step.free, err)
			}
			if low := (*LowError)(nil); err != nil && (!errors.As(err, &low) || low.Free != step.free) {
				t.Errorf("%d bytes free: %#v", step.free, err)
			}
			if paused := g.State().Paused; paused == step.ok || (g.Check() == nil) != step.ok {
				t.Errorf("%d bytes free: paused %v", step.free, paused)
			}
		}
	})
}

func TestAStepMustLeaveTheFloor(t *testing.T) {
	v := &volume{free: 150 * mib}
	g := newGuard(v, nil)
	if err := g.Need(50 * mib); err != nil {
		t.Error(err)
	}
	err := g.Need(50*mib + 1)
	if low := (*LowError)(nil); !errors.As(err, &low) || low.Want != 150*mib+1 || low.Step() != 50*mib+1 {
		t.Errorf("one byte too many: %v", err)
	}
	if g.State().Paused {
		t.Error("a step that does not fit has stopped the others")
	}
}

func TestWhatWasAllowedCountsUntilTheNextMeasurement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(&volume{free: 100*mib + 1000}, nil)
		if err := g.Need(600); err != nil {
			t.Error(err)
		}
		if g.Need(600) == nil {
			t.Error("the same bytes were given twice")
		}
	})
}

func TestRetryGoesOnWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		v := &volume{free: 10 * mib}
		g := newGuard(v, &log)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		written := make(chan error)
		go func() { written <- Retry(ctx, func() error { return g.Need(200 * mib) }) }()
		time.Sleep(time.Minute)
		if err := g.Check(); err == nil || err.Error() != "disk nearly full: 10MiB free, 310MiB wanted" {
			t.Errorf("probe: %v", err)
		}
		v.set(200 * mib) // above the floor; not enough for the step
		time.Sleep(time.Minute)
		if err := g.Check(); err == nil || err.Error() != "disk nearly full: 200MiB free, 310MiB wanted" {
			t.Errorf("probe: %v", err)
		}
		select {
		case err := <-written:
			t.Fatalf("went on without room: %v", err)
		default:
		}
		v.set(400 * mib)
		if err := <-written; err != nil {
			t.Error(err)
		}
		if err := g.Check(); err != nil {
			t.Errorf("probe: %v", err)
		}
		cancel()
		<-done
		if n := strings.Count(log.String(), "writing is paused"); n != 1 {
			t.Errorf("%d lines say that writing is paused\n%s", n, &log)
		}
		if n := strings.Count(log.String(), "writing goes on"); n != 1 {
			t.Errorf("%d lines say that writing goes on\n%s", n, &log)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(&volume{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := Retry(ctx, func() error { return g.Need(1) }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestAVolumeThatCannotBeMeasuredStopsNobody(t *testing.T) {
	var log bytes.Buffer
	g := newGuard(&volume{err: errors.New("no such call")}, &log)
	for range 3 {
		if err := g.Need(1 << 50); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(log.String(), "free space is not known"); n != 1 {
		t.Errorf("said %d times\n%s", n, &log)
	}
	if err := (*Guard)(nil).Need(1); err != nil || (*Guard)(nil).Check() != nil {
		t.Error("no guard stops nobody")
	}
}

func TestBytesAreForPeople(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 1023: "1023B", 1 << 10: "1KiB", 512 * mib: "512MiB", 3 << 29: "1.5GiB", 1 << 42: "4TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestSmallStepsDoNotFlicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &volume{free: 100*mib + 1000}
		g := newGuard(v, nil)
		if err := g.Need(2000); err == nil {
			t.Fatal("the floor was not left")
		}
		v.set(101 * mib) // that step would fit, and the one after it would not
		time.Sleep(2 * freshFor)
		if err := g.Need(2000); err == nil || !g.State().Paused {
			t.Errorf("goes on for a moment: %v", err)
		}
		v.set(111 * mib)
		time.Sleep(2 * freshFor)
		if err := g.Need(2000); err != nil || g.State().Paused {
			t.Errorf("does not go on: %v", err)
		}
	})
}
