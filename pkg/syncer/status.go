package syncer

import (
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Phase is what a Syncer is doing, in one word.
type Phase string

// The phases. All but PhaseFailed can be left again.
const (
	PhaseConnecting Phase = "connecting" // no target learned in this iteration yet
	PhaseSyncing    Phase = "syncing"    // fetching what is missing
	PhaseWaiting    Phase = "waiting"    // in step; waiting for the next iteration
	PhaseBehind     Phase = "behind"     // the source has less than we do, or what cannot be compared; waiting
	PhaseForked     Phase = "forked"     // the source's history is not ours
	PhaseMismatch   Phase = "mismatch"   // the source's log is of another family or encoding
	PhaseStale      Phase = "stale"      // the newest signed target is too old to be followed
	PhaseRollback   Phase = "rollback"   // the newest signed target is older than one accepted before
	PhasePaused     Phase = "paused"     // no room on the disk; waiting for it
	PhaseDamaged    Phase = "damaged"    // stored data is damaged, and stays as it is
	PhaseFailed     Phase = "failed"     // our own storage failed; Run has ended
)

var phases = []Phase{PhaseConnecting, PhaseSyncing, PhaseWaiting, PhaseBehind, PhaseForked, PhaseMismatch, PhaseStale, PhaseRollback, PhasePaused, PhaseDamaged, PhaseFailed}

// Status is a snapshot of a Syncer. It is a copy; the errors it points to do
// not change any more.
type Status struct {
	Phase     Phase
	Iteration uint64 // from 1; 0 before the first

	Target     wire.Target // newest one the source named; meaningless while TargetTime is zero
	TargetTime time.Time   // when the source named it last

	Size   uint64     // published and readable; 0 before the first sync
	Root   mmr.Digest // at Size
	Stored uint64     // end of what is verified: in the sync under way, or beyond Size
	Rate   float64    // verified operations per second, recently
	ETA    time.Duration

	LastSync time.Time // when we were last in step with a target; zero if never
	Failures int       // in a row, since the last progress
	// LastError is the last thing that went wrong; nil after a completed sync.
	LastError error
	Fork      *ForkError     // in PhaseForked
	Mismatch  *MismatchError // in PhaseMismatch
	Damage    *DamageError   // in PhaseDamaged
	Paused    error          // in PhasePaused: matches *space.LowError
	Untrusted error          // in PhaseStale and PhaseRollback
	// Incomparable is why, in PhaseBehind, it is unknown how far behind the
	// source is; nil if its target is one of our roots.
	Incomparable *IncomparableError
	// Stalled says that there was no progress for Options.StallAfter, outside
	// the pauses between syncs.
	Stalled bool
	// Following says that a source pushes its targets (Options.Follow).
	Following bool
}

// Obstacle is why the source cannot be followed as it is: its fork, its
// mismatch, or that its target cannot be compared; nil if nothing is known.
func (s Status) Obstacle() error {
	switch {
	case s.Fork != nil:
		return s.Fork
	case s.Mismatch != nil:
		return s.Mismatch
	case s.Incomparable != nil:
		return s.Incomparable
	}
	return nil
}

// Lag is how many operations of the target are not readable yet.
func (s Status) Lag() uint64 {
	if s.Target.End > s.Size {
		return s.Target.End - s.Size
	}
	return 0
}

// tracker keeps the Status and the gauges that follow it.
type tracker struct {
	m *Metrics

	mu       sync.Mutex
	s        Status
	progress time.Time // of the last one
	meter    meter
}

func newTracker(m *Metrics) *tracker {
	t := &tracker{m: m, progress: time.Now()}
	t.s.Phase = PhaseConnecting
	t.gauges()
	return t
}

// update changes the status.
func (t *tracker) update(fn func(s *Status)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn(&t.s)
	t.gauges()
}

func (t *tracker) gauges() {
	for _, p := range phases {
		v := 0.0
		if p == t.s.Phase {
			v = 1
		}
		t.m.phase.WithLabelValues(string(p)).Set(v)
	}
	t.m.targetSize.Set(float64(t.s.Target.End))
	t.m.localSize.Set(float64(t.s.Size))
	t.m.lag.Set(float64(t.s.Lag()))
	t.m.mismatch.Set(boolGauge(t.s.Mismatch != nil))
	t.m.forked.Set(boolGauge(t.s.Fork != nil))
	t.m.stalled.Set(boolGauge(t.s.Stalled))
	t.m.failuresInRow.Set(float64(t.s.Failures))
}

// phase changes the phase, and forgets what belongs to the one before.
func (t *tracker) phase(p Phase) {
	t.update(func(s *Status) {
		s.Phase = p
		if p != PhaseForked {
			s.Fork = nil
		}
		if p != PhaseMismatch {
			s.Mismatch = nil
		}
		if p != PhaseDamaged {
			s.Damage = nil
		}
		if p != PhasePaused {
			s.Paused = nil
		}
		if p != PhaseStale && p != PhaseRollback {
			s.Untrusted = nil
		}
		if p != PhaseBehind {
			s.Incomparable = nil
		}
	})
}

// applied notes n operations stored, up to end, of a sync that ends at target.
func (t *tracker) applied(n int, end, target uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.progress = now
	t.s.Stored, t.s.Failures, t.s.Stalled = end, 0, false
	t.s.Rate = t.meter.add(now, n)
	t.s.ETA = 0
	if t.s.Rate > 0 && target > end {
		t.s.ETA = time.Duration(float64(target-end) / t.s.Rate * float64(time.Second)).Round(time.Second)
	}
	t.m.stalled.Set(0)
	t.m.failuresInRow.Set(0)
}

// alive notes progress that is not an operation: a sync completed, or a pause
// in which none is expected.
func (t *tracker) alive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress = time.Now()
	t.s.Stalled = false
	t.m.stalled.Set(0)
}

// stall says whether there was no progress for after, and whether that is new.
func (t *tracker) stall(after time.Duration) (idle time.Duration, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	idle = time.Since(t.progress)
	switch t.s.Phase {
	case PhaseConnecting, PhaseSyncing:
	default:
		return idle, false // states of their own
	}
	if idle < after || t.s.Stalled {
		return idle, false
	}
	t.s.Stalled = true
	t.m.stalled.Set(1)
	return idle, true
}

func (t *tracker) snapshot() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// meter measures a rate over windows of at least a quarter of a second and
// smooths it.
type meter struct {
	since time.Time
	count int
	rate  float64
}

func (m *meter) add(now time.Time, n int) float64 {
	if m.since.IsZero() {
		m.since = now
	}
	m.count += n
	if d := now.Sub(m.since); d >= 250*time.Millisecond {
		r := float64(m.count) / d.Seconds()
		if m.rate == 0 {
			m.rate = r
		}
		m.rate += (r - m.rate) * 0.3
		m.since, m.count = now, 0
	}
	return m.rate
}

// restart forgets the rate: a new sync begins.
func (t *tracker) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.meter = meter{since: time.Now()}
	t.s.Rate, t.s.ETA = 0, 0
}
