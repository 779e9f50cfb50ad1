package targets

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/source"
)

// answer is what a place had.
type answer struct {
	place string
	note  []byte
	err   error
}

// candidate is what one or several places with the same text say.
type candidate struct {
	place  string
	note   []byte
	signed *checkpoint.Signed // enough trusted keys have signed it; nil: they have not
	err    error              // why it is not to be followed
}

// choose picks the newest statement that is to be followed after last, which is
// nil if there was none. It is pure. If there is none, the error is an *Error, or
// a *source.ContradictionError if two contradict each other; that counts even if
// there is one that could be followed.
func choose(trust *checkpoint.Trust, answers []answer, last *checkpoint.Signed, now time.Time) (*checkpoint.Signed, error) {
	all := candidates(trust, answers, now)
	var best *checkpoint.Signed
	var epoch uint64 // in which contradictions count
	for _, c := range all {
		if c.signed == nil {
			continue
		}
		epoch = max(epoch, c.signed.Epoch)
		if last != nil {
			err := c.signed.Follows(last.Checkpoint)
			if _, fork := errors.AsType[*checkpoint.ForkError](err); err != nil && !fork {
				c.err = err // says more than that it is stale
			}
		}
		if c.err == nil && (best == nil || compare(c.signed.Checkpoint, best.Checkpoint) > 0) {
			best = c.signed
		}
	}
	if best != nil {
		epoch = best.Epoch
	}
	if err := contradiction(all, last, epoch); err != nil {
		return nil, err
	}
	if best != nil {
		return best, nil
	}
	return nil, mostTelling(all)
}

// compare orders statements of one log by age.
func compare(a, b checkpoint.Checkpoint) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Target.End, b.Target.End),
		cmp.Compare(a.Target.Start, b.Target.Start), a.Time.Compare(b.Time))
}

// contradiction finds two statements of an epoch that give a size different roots.
func contradiction(all []*candidate, last *checkpoint.Signed, epoch uint64) error {
	var seen []*checkpoint.Signed
	if last != nil && last.Epoch == epoch {
		seen = append(seen, last)
	}
	for _, c := range all {
		if c.signed == nil || c.signed.Epoch != epoch {
			continue
		}
		for _, other := range seen {
			if c.signed.Target.End == other.Target.End && c.signed.Target.Root != other.Target.Root {
				return &source.ContradictionError{Target: targetOf(c.signed), Last: targetOf(other)}
			}
		}
		seen = append(seen, c.signed)
	}
	return nil
}

// mostTelling is the error of the candidate whose reason says most.
func mostTelling(all []*candidate) error {
	e := &Error{Place: "no place", Err: errors.New("nothing was asked"), Others: len(all) - 1}
	most := -1
	for _, c := range all {
		if n := slices.Index(reasons, reasonOf(c.err)); n > most {
			most, e.Place, e.Err = n, c.place, c.err
		}
	}
	return e
}

// candidates verifies answers. Signatures under the same text count together,
// wherever they were found; those of short notes first, so that no place can keep
// out others by many that do not count.
func candidates(trust *checkpoint.Trust, answers []answer, now time.Time) []*candidate {
	var all []*candidate
	answers = slices.SortedStableFunc(slices.Values(answers), func(a, b answer) int { return cmp.Compare(len(a.note), len(b.note)) })
	for _, a := range answers {
		c := &candidate{place: a.place, note: a.note, err: a.err}
		if a.err == nil {
			c.signed, c.err = trust.Verify(a.note, now)
		}
		if !slices.ContainsFunc(all, func(o *candidate) bool { return o.absorb(trust, c, now) }) {
			all = append(all, c)
		}
	}
	return all
}

// absorb adds the signatures of another one of the same text. One with so many that
// they do not fit stays apart.
func (c *candidate) absorb(trust *checkpoint.Trust, other *candidate, now time.Time) bool {
	if !sound(c.err) || !sound(other.err) || !bytes.Equal(textOf(c.note), textOf(other.note)) {
		return false
	}
	merged, err := checkpoint.Merge(c.note, other.note)
	if err != nil {
		return false
	}
	signed, err := trust.Verify(merged, now)
	if !sound(err) {
		return false
	}
	c.note, c.signed, c.err = merged, signed, err
	return true
}

// sound says whether a note, verified with that error, has the right form and no
// signature that is wrong: others may be added.
func sound(err error) bool {
	switch reasonOf(err) {
	case "quorum", "stale", "future":
		return true
	}
	return err == nil
}

// textOf is what is signed of a note.
func textOf(note []byte) []byte {
	return note[:max(0, bytes.LastIndex(note, []byte("\n\n")))]
}

// targetOf is a statement as a target. Its peer is the log itself: whoever keeps
// its notes vouches for nothing.
func targetOf(s *checkpoint.Signed) source.Target {
	return source.Target{Target: s.Target, Peer: s.Origin, Signed: true, Epoch: s.Epoch, Note: s.Note}
}
