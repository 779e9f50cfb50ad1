package syncer

import (
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/wire"
)

// action is how a target is to be reached from what is stored.
type action uint8

const (
	// compare: the target is not beyond our size; our own root there decides.
	compare action = iota
	// behind: the target ends before what we retain; it cannot be compared.
	behind
	// continueStaged: go on with the generation in the making.
	continueStaged
	// extend: go on with the published generation.
	extend
	// stage: begin a new generation at the target's start.
	stage
)

func (a action) String() string {
	return [...]string{"compare", "behind", "continue staged", "extend", "stage"}[a]
}

// choose decides how to reach t. It is pure; forks are found later, when the
// chosen load is linked to the target.
func choose(l database.LoadState, t wire.Target) action {
	switch {
	case l.Published && t.End <= l.Size && t.End <= l.Start:
		return behind
	case l.Published && t.End <= l.Size:
		return compare
	case stagedFits(l, t):
		return continueStaged
	case l.Published && t.Start <= l.Stored:
		return extend
	}
	return stage
}

// chooseAnew decides how to reach t without the published generation, whose
// history is not the target's.
func chooseAnew(l database.LoadState, t wire.Target) action {
	if stagedFits(l, t) {
		return continueStaged
	}
	return stage
}

// stagedFits says whether the generation in the making can become t: it holds
// everything from the target's start on, as far as it goes.
func stagedFits(l database.LoadState, t wire.Target) bool {
	return l.Staged && l.StagedStart <= t.Start && t.Start <= l.StagedEnd && l.StagedEnd <= t.End
}
