package app

import (
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/syncer"
)

func TestLagIsUnknownUnlessTheTargetIsNewAndOfOurHistory(t *testing.T) {
	const oldest = time.Minute
	now := time.Now()
	for name, c := range map[string]struct {
		s    syncer.Status
		want bool
	}{
		"no target yet":          {syncer.Status{}, false},
		"new target":             {syncer.Status{Phase: syncer.PhaseSyncing, TargetTime: now}, true},
		"old target":             {syncer.Status{Phase: syncer.PhaseWaiting, TargetTime: now.Add(-2 * oldest)}, false},
		"behind, of our roots":   {syncer.Status{Phase: syncer.PhaseBehind, TargetTime: now}, true},
		"behind, not comparable": {syncer.Status{Phase: syncer.PhaseBehind, TargetTime: now, Incomparable: &syncer.IncomparableError{}}, false},
		"forked":                 {syncer.Status{Phase: syncer.PhaseForked, TargetTime: now, Fork: &syncer.ForkError{}}, false},
		"mismatch":               {syncer.Status{Phase: syncer.PhaseMismatch, TargetTime: now, Mismatch: &syncer.MismatchError{}}, false},
	} {
		if got := lagKnown(c.s, oldest); got != c.want {
			t.Errorf("%s: known is %t", name, got)
		}
	}
}
