package space

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Options configure a Guard.
type Options struct {
	Floor Floor
	// Measure looks at the volume. It takes microseconds and is called by several
	// goroutines. An error means that nothing is known: nobody is stopped then.
	Measure func() (Usage, error)
	// Interval is the time between two looks of Run, and the longest that Wait
	// takes to notice room; 0: a second.
	Interval time.Duration
	Path     string       // of the volume, for the log
	Logger   *slog.Logger // nil: discard
}

// Guard answers whether there is room. Its methods are safe for concurrent use;
// a nil Guard has room for everything.
type Guard struct {
	o Options

	mu      sync.Mutex
	known   bool // usage was measured, the last time it was tried
	warned  bool // said that it cannot be
	usage   Usage
	floor   uint64
	at      time.Time
	granted uint64 // bytes allowed since

	low       bool
	suspended bool
	waiting   map[*LowError]struct{} // steps that wait for more than the floor
	paused    bool                   // as it was said last
	since     time.Time
}

const (
	defaultInterval = time.Second
	// freshFor and freshBytes are how long, and for how many bytes allowed, a
	// measurement is believed.
	freshFor   = 100 * time.Millisecond
	freshBytes = 1 << 20
)

// New returns a guard. It measures when it is asked; Run makes it look by itself.
func New(o Options) *Guard {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Guard{o: o, waiting: map[*LowError]struct{}{}}
}

// LowError says that a step was not begun because it would leave less than the
// floor. Nothing was written.
type LowError struct {
	Free  uint64 // bytes, when it was asked
	Want  uint64 // bytes that have to be free: the floor, and the step
	Floor uint64

	step  uint64
	guard *Guard
}

func (e *LowError) Error() string {
	return fmt.Sprintf("disk nearly full: %s free, %s wanted", Bytes(e.Free), Bytes(e.Want))
}

// Step is how many bytes the step was going to write.
func (e *LowError) Step() uint64 { return e.step }

// Need says whether a step that writes about so many bytes may begin: nil, or a
// *LowError. 0 asks about the floor alone.
func (g *Guard) Need(bytes uint64) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.need(bytes)
	if g.suspended && err == nil {
		err = &LowError{Free: g.usage.Free, Want: g.want() + bytes, Floor: g.floor, step: bytes, guard: g}
	}
	return err
}

// Suspend refuses every step from now on, whatever is free: there was no room
// to begin with. Waiting for what it returns, a step of so many bytes, tells when
// there is enough to begin anew.
func (g *Guard) Suspend(bytes uint64) *LowError {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspended = true
	g.measure()
	return &LowError{Free: g.usage.Free, Want: g.least(true) + bytes, Floor: g.floor, step: bytes, guard: g}
}

// fits is Need for those that wait for a suspended guard's room.
func (g *Guard) fits(e *LowError) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.need(e.step) != nil {
		return false
	}
	return !g.suspended || g.usage.Free >= e.Want
}

func (g *Guard) need(bytes uint64) error {
	if time.Since(g.at) > freshFor || g.granted+bytes > freshBytes {
		g.measure()
	}
	if !g.known {
		return nil
	}
	free := g.usage.Free - min(g.usage.Free, g.granted)
	if !g.low && free >= g.floor && free-g.floor >= bytes {
		g.granted += bytes
		return nil
	}
	if !g.low && bytes <= freshBytes {
		// Small steps all come to this, one after the other: stopping and going
		// on with every one that just fits would be a state that flickers.
		g.low = true
		g.say()
	}
	return &LowError{Free: free, Want: g.least(g.low) + bytes, Floor: g.floor, step: bytes, guard: g}
}

// measure looks at the volume; g.mu is held.
func (g *Guard) measure() {
	u, err := g.o.Measure()
	g.at, g.granted = time.Now(), 0
	g.known = err == nil
	if err != nil {
		g.low = false
		if !g.warned {
			g.warned = true
			g.o.Logger.Warn("free space is not known, nothing is held back for it", "path", g.o.Path, "error", err)
		}
	} else {
		g.warned = false
		g.usage, g.floor = u, g.o.Floor.Of(u.Total)
		g.low = low(g.low, u.Free, g.floor)
	}
	g.say()
}

// say logs the beginning and the end of a pause, once each; g.mu is held.
func (g *Guard) say() {
	paused := g.low || len(g.waiting) > 0
	if paused == g.paused {
		return
	}
	g.paused = paused
	if paused {
		g.since = time.Now()
		g.o.Logger.Warn("disk nearly full: writing is paused, reading goes on",
			"path", g.o.Path, "free", Bytes(g.usage.Free), "wanted", Bytes(g.want()), "floor", Bytes(g.floor))
		return
	}
	g.o.Logger.Info("writing goes on: there is space on the disk again",
		"path", g.o.Path, "free", Bytes(g.usage.Free), "floor", Bytes(g.floor), "paused_for", time.Since(g.since).Round(time.Second))
}

// least is what has to stay free: the floor, and where writing has stopped some more
// before it goes on. g.mu is held.
func (g *Guard) least(stopped bool) uint64 {
	if stopped {
		return g.floor + g.floor/resumeAbove
	}
	return g.floor
}

// want is how much has to be free before everything goes on; g.mu is held.
func (g *Guard) want() uint64 {
	want := g.least(g.low)
	for e := range g.waiting {
		want = max(want, e.Want)
	}
	return want
}

// Hold makes the guard paused until release is called: something has to wait
// for room.
func (e *LowError) Hold() (release func()) {
	g := e.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting[e] = struct{}{}
	g.say()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.waiting, e)
		g.say()
	}
}

// Wait holds the guard and returns when there is room for the step, or with the
// error of ctx.
func (e *LowError) Wait(ctx context.Context) error {
	g := e.guard
	defer e.Hold()()
	tick := time.NewTicker(g.o.Interval)
	defer tick.Stop()
	for {
		if g.fits(e) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Retry calls fn until it returns something else than a *LowError, and waits
// for room in between. It is for writers that have nothing better to do.
func Retry(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		low, ok := errors.AsType[*LowError](err)
		if !ok {
			return err
		}
		if err := low.Wait(ctx); err != nil {
			return err
		}
	}
}

// Run looks at the volume until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	tick := time.NewTicker(g.o.Interval)
	defer tick.Stop()
	for {
		g.mu.Lock()
		g.measure()
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// State is a snapshot of a Guard.
type State struct {
	Known  bool   // the figures mean something
	Free   uint64 // bytes
	Total  uint64
	Floor  uint64
	Want   uint64 // that have to be free for everything to go on; the floor, if nothing is paused
	Paused bool
}

// State returns the last measurement.
func (g *Guard) State() State {
	if g == nil {
		return State{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return State{
		Known: g.known, Free: g.usage.Free, Total: g.usage.Total,
		Floor: g.floor, Want: g.want(), Paused: g.paused,
	}
}

// Check is the readiness probe: an error while writing is paused.
func (g *Guard) Check() error {
	s := g.State()
	if !s.Paused {
		return nil
	}
	return &LowError{Free: s.Free, Want: s.Want, Floor: s.Floor}
}
