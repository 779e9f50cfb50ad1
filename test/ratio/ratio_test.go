//go:build unix

package ratio

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// rounds is how often both sides of a comparison are measured.
const rounds = 5

// bounds of a comparison: how many times the floor's cost ours may have. For processor
// time it is one and a half to two and a half times what was measured on two cores of x86
// that have instructions for SHA-256; without those hashing is dearer, and the bound wider. For the time
// that passed it is several times that: a disk has to sync in it, and others may
// have had both cores.
type bounds struct{ cpu, elapsed float64 }

// cost is what a piece of work took: processor time of the whole process, the
// kernel's part included, and time that passed.
type cost struct{ cpu, elapsed time.Duration }

// work does one side of a comparison once, and measures the part that counts.
type work func() (cost, error)

// compare fails if ours is above its bounds; it says what it found.
func compare(t *testing.T, what string, b bounds, ours, floor work) {
	t.Helper()
	if err := within(b, ours, floor, func(said string) { t.Logf("%s: %s", what, said) }); err != nil {
		t.Error(err)
	}
}

// errDear: what used to cost a certain multiple of its floor costs several times that.
var errDear = errors.New("above its bound twice: something has become several times as dear; " +
	"profile it (go test -cpuprofile), or say beside the bound what it is for")

// within measures ours and its floor in turns. It is errDear if the ratio is above
// its bounds in two attempts.
func within(b bounds, ours, floor work, say func(string)) error {
	for range 2 {
		r, err := ratio(ours, floor)
		if err != nil {
			return err
		}
		say(fmt.Sprintf("ratio %.2f of at most %.2f; of the time that passed %.2f of at most %.2f", r.cpu, b.cpu, r.elapsed, b.elapsed))
		if r.cpu <= b.cpu && r.elapsed <= b.elapsed {
			return nil
		}
	}
	return errDear
}

// ratio is the one of the medians of processor time, and the one of the least
// times that passed: others on the machine can only make those longer.
func ratio(ours, floor work) (r bounds, err error) {
	var a, b []cost
	for i := range rounds + 1 {
		for _, side := range []struct {
			work  work
			costs *[]cost
		}{{ours, &a}, {floor, &b}} {
			c, err := side.work()
			if err != nil {
				return r, err
			}
			if c.cpu <= 0 || c.elapsed <= 0 {
				return r, fmt.Errorf("no cost was measured: %v", c)
			}
			if i > 0 { // the first one warms up
				*side.costs = append(*side.costs, c)
			}
		}
	}
	cpu := func(c cost) time.Duration { return c.cpu }
	elapsed := func(c cost) time.Duration { return c.elapsed }
	return bounds{
		float64(sorted(a, cpu)[rounds/2]) / float64(sorted(b, cpu)[rounds/2]),
		float64(sorted(a, elapsed)[0]) / float64(sorted(b, elapsed)[0]),
	}, nil
}

func sorted(costs []cost, of func(cost) time.Duration) []time.Duration {
	var all []time.Duration
	for _, c := range costs {
		all = append(all, of(c))
	}
	slices.Sort(all)
	return all
}

// measure does something n times and returns what one time cost. What was left
// to collect before is not counted.
func measure(n int, do func() error) (cost, error) {
	runtime.GC()
	before, err := processorTime()
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	for range n {
		if err := do(); err != nil {
			return cost{}, err
		}
	}
	elapsed := time.Since(began)
	after, err := processorTime()
	return cost{(after - before) / time.Duration(n), elapsed / time.Duration(n)}, err
}

// processorTime is what this process has used.
func processorTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// asked skips a comparison that nobody asked for.
func asked(t *testing.T) {
	t.Helper()
	if os.Getenv("PROOFSYNC_RATIOS") == "" {
		t.Skip("compares costs for a minute: PROOFSYNC_RATIOS=1")
	}
}

// A comparison that finds no loss, whatever happens, is worth nothing.
func TestDearWorkIsAboveItsBound(t *testing.T) {
	constant := func(cpu, elapsed time.Duration) work {
		return func() (cost, error) { return cost{cpu, elapsed}, nil }
	}
	calls := 0
	dearOnce := func() (cost, error) { // in the first attempt
		if calls++; calls <= rounds+1 {
			return cost{100, 100}, nil
		}
		return cost{30, 30}, nil
	}
	for _, tc := range []struct {
		name     string
		b        bounds
		ours     work
		want     error
		attempts int
	}{
		{"within", bounds{3, 7}, constant(30, 700), nil, 1},
		{"dear", bounds{2.9, 7}, constant(30, 700), errDear, 2},
		{"waiting", bounds{3, 6.9}, constant(30, 700), errDear, 2},
		{"dear once", bounds{3, 3}, dearOnce, nil, 2},
	} {
		said := 0
		if err := within(tc.b, tc.ours, constant(10, 100), func(string) { said++ }); !errors.Is(err, tc.want) || said != tc.attempts {
			t.Errorf("%s: %v after %d attempts, %v after %d expected", tc.name, err, said, tc.want, tc.attempts)
		}
	}
}

func TestWorkThatWasNotDoneIsNoMeasure(t *testing.T) {
	nothing := func() (cost, error) { return cost{}, nil }
	broken := errors.New("broken")
	fails := func() (cost, error) { return cost{}, broken }
	if _, err := ratio(nothing, nothing); err == nil {
		t.Error("work that cost nothing was measured")
	}
	if _, err := ratio(fails, nothing); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := measure(1, func() error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	busy := func() error {
		for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
			continue
		}
		return nil
	}
	if c, err := measure(4, busy); err != nil || c.cpu <= 0 || c.elapsed < 5*time.Millisecond {
		t.Errorf("%v %v", c, err)
	}
}
