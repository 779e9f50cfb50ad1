package syncer

import (
	"context"
	"errors"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/store"
)

// CorruptionPolicy says what to do when stored data is found to be damaged.
type CorruptionPolicy string

const (
	// RebuildDamaged sets the damaged generation aside and fetches everything
	// anew; nothing is readable until that is complete.
	RebuildDamaged CorruptionPolicy = "rebuild"
	// HaltDamaged changes nothing any more. What can be read goes on being read.
	HaltDamaged CorruptionPolicy = "halt"
)

// DamageError says that stored data is damaged, and that the policy is to leave
// it as it is.
type DamageError struct{ *database.Damage }

func (e *DamageError) Error() string {
	return "halted, nothing is fetched until it is repaired or removed: " + e.Err.Error()
}

// Unwrap returns what was met.
func (e *DamageError) Unwrap() error { return e.Err }

func isHalted(err error) bool {
	_, ok := errors.AsType[*DamageError](err)
	return ok
}

// noteDamage tells the database that what it stores was found to be damaged, and
// says whether that is so: then going on begins with mend. The number of the
// generation is 0 for the one in use.
func (it *iteration) noteDamage(generation uint64, err error) bool {
	if !errors.Is(err, store.ErrCorrupt) {
		return false
	}
	it.db.NoteDamage(generation, err)
	return it.db.Damage() != nil
}

// mend deals with damage, if some is known, before anything is written. It is
// called when a source has named a target: while there is nobody to fetch from,
// what can still be read is better than nothing.
func (it *iteration) mend(ctx context.Context) error {
	x := it.db.Damage()
	if x == nil {
		return nil
	}
	if it.o.OnCorruption == HaltDamaged {
		err := &DamageError{x}
		it.track.phase(PhaseDamaged)
		it.track.update(func(st *Status) { st.Damage, st.LastError = err, err })
		if it.o.Once {
			return local("sync", err)
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if err := it.db.Room(0); err != nil {
		return local("set damaged data aside", err)
	}
	if _, err := it.db.Quarantine(); err != nil {
		return local("set damaged data aside", err)
	}
	it.m.quarantines.Inc()
	it.lookLocal()
	if x.Size > it.lost.Size {
		it.lost = store.Lost{Size: x.Size, Root: x.Root}
	}
	it.log.Warn("rebuilding damaged data from the source", "generation", x.Generation, "size", x.Size, "root", x.Root, "error", x.Err)
	return nil
}

// rememberLost goes on with what an earlier process has set aside.
func (s *Syncer) rememberLost() {
	lost, err := s.db.Lost()
	if err != nil { // the database has read it when it was opened
		s.log.Error("history lost with damaged data is not compared", "error", err)
		return
	}
	if s.lost = lost; lost.Size > 0 {
		s.log.Info("remembers the history that was lost with damaged data: what is fetched has to continue it", "size", lost.Size, "root", lost.Root)
	}
}

// replaced says what became of the state that was lost with damaged data, now that
// t is readable in its place. Whether it is a part of it was looked at before
// anything was fetched: see linkRemembered.
func (it *iteration) replaced(t source.Target) {
	x := it.lost
	switch {
	case x.Size == 0 || x.Size > t.End:
		return // or later
	case it.relinked:
		it.log.Info("rebuilt: the new data continues what was damaged", "size", x.Size, "root", x.Root)
	case it.forkSeen != nil:
		it.log.Warn("rebuilt: the new data is not what was damaged, which is in quarantine", "size", x.Size, "root", x.Root)
	default:
		it.m.linksMissing.Inc()
		it.log.Warn("history link missing: the source does not retain the size of the damaged data, whether the new history continues it is not proven",
			"size", x.Size, "root", x.Root, "new_start", t.Start)
	}
	it.lost, it.relinked = store.Lost{}, false
	if err := it.db.ForgetLost(); err != nil {
		it.log.Warn("what was lost with damaged data is compared again after a restart", "error", err)
	}
}
