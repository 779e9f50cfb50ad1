package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/database"
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
	if x.Size > 0 {
		it.lost = x
	}
	it.log.Warn("rebuilding damaged data from the source", "generation", x.Generation, "size", x.Size, "root", x.Root, "error", x.Err)
	return nil
}

// compareLost looks, when something is readable again, whether the state that
// was lost with damaged data is a part of it: a source must not be able to make a
// replica forget its history unnoticed.
func (it *iteration) compareLost() error {
	x := it.lost
	if x == nil {
		return nil
	}
	v, err := it.db.View()
	if err != nil {
		return local("compare with what was lost", err)
	}
	defer v.Close()
	root, err := v.RootAt(x.Size)
	switch {
	case errors.Is(err, database.ErrBeyond):
		return nil // later
	case errors.Is(err, database.ErrPruned):
		it.m.linksMissing.Inc()
		it.log.Warn("history link missing: the source does not retain the size of the damaged data, whether the new history continues it is not proven",
			"size", x.Size, "root", x.Root, "new_start", v.Start())
	case err == nil && root == x.Root:
		it.log.Info("rebuilt: the new data continues what was damaged", "size", x.Size, "root", x.Root)
	case err == nil, errors.Is(err, database.ErrNotBoundary):
		it.m.forks.Inc()
		it.log.Error("fork: what was rebuilt is not the history of the damaged data, which is in quarantine",
			"size", x.Size, "root", x.Root, "root_there_now", fmt.Sprint(root))
	default:
		return local("compare with what was lost", err)
	}
	it.lost = nil
	return nil
}
