package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/space"
)

const (
	// estimateFrom is how many operations make it worth telling before what
	// they will take. Smaller syncs are over by then, and every write asks for
	// room by itself.
	estimateFrom = 16 << 10
	// sampleOperations is how many operations of varying length have to be seen
	// before their mean says something.
	sampleOperations = 1024
	// assumedRate is the verified operations per second of a first sync, until
	// it has one: less than was measured with small requests on busy machines.
	assumedRate = 100_000
)

// perOperation is about how many bytes an operation takes on disk, of which
// mean are its own: with a fixed encoding, 54 more for its index entry, its
// digests and the blocks they lie in (docs/PERFORMANCE.md); keys of varying
// length take a little more.
func perOperation(c operation.Codec, mean float64) float64 {
	if n := c.Size(); n > 0 {
		return float64(n) + 54
	}
	return mean + 64
}

// sizes is the mean length of the operations that were seen.
type sizes struct {
	operations uint64
	bytes      uint64
}

func (s *sizes) add(operations, bytes int) {
	s.operations += uint64(operations)
	s.bytes += uint64(bytes)
}

// mean is in bytes; ok is false until enough was seen.
func (s *sizes) mean() (mean float64, ok bool) {
	if s.operations < sampleOperations {
		return 0, false
	}
	return float64(s.bytes) / float64(s.operations), true
}

// estimate says, before a long sync writes anything, what it will take, or that
// it does not fit (a *space.LowError). known is false if that cannot be told
// before operations have been seen. from is where the sync begins; what is there
// already, as an old generation that is read until the new one is complete, is
// not free and so needs no place in the sum.
func (it *iteration) estimate(t source.Target, from uint64) (known bool, err error) {
	if from >= t.End || t.End-from < estimateFrom {
		return true, it.db.Room(0)
	}
	mean, ok := it.seen.mean()
	if !ok && it.codec.Size() == 0 {
		return false, it.db.Room(0)
	}
	n := t.End - from
	need := uint64(float64(n) * perOperation(it.codec, mean))
	if err := it.db.Room(need); err != nil {
		return true, fmt.Errorf("a sync of %d operations needs about %s: %w", n, space.Bytes(need), err)
	}
	rate := it.rate
	if rate == 0 {
		rate = assumedRate
	}
	if !it.estimated {
		it.estimated = true
		it.log.Info("sync estimated", "sync_iteration", it.iteration, "operations", n, "disk", space.Bytes(need),
			"time", time.Duration(float64(n)/rate*float64(time.Second)).Round(time.Second), "at_rate", int64(rate))
	}
	return true, nil
}

// enterPaused makes it the state that there is no room, and waits a moment. The
// guard says so once for as long as this goes on, however the target moves.
func (it *iteration) enterPaused(ctx context.Context, err error, low *space.LowError) error {
	next := low.Hold()
	it.resumed()
	it.unhold = next
	if it.Status().Phase != PhasePaused {
		it.log.Warn("sync is paused until there is space", "sync_iteration", it.iteration, "why", err)
	}
	it.track.phase(PhasePaused)
	it.track.update(func(st *Status) { st.Paused, st.LastError, st.Rate, st.ETA = err, err, 0, 0 })
	return sleep.For(ctx, it.o.TargetInterval)
}

// resumed ends what enterPaused began, if it did.
func (it *iteration) resumed() {
	if it.unhold != nil {
		it.unhold()
		it.unhold = nil
	}
}

func asLow(err error) (*space.LowError, bool) { return errors.AsType[*space.LowError](err) }
