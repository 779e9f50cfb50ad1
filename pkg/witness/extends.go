package witness

import (
	"context"
	"fmt"
	"slices"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
)

// maxAttempts is how many sources are asked for one proof, at most.
const maxAttempts = 4

// Proof shows what a root says about the tree at an earlier size: the operation
// at that location, and the peaks of everything before it.
type Proof struct {
	Location  uint64       `json:"location"`
	Operation []byte       `json:"operation"` // encoded; base64 in JSON
	Leaves    uint64       `json:"leaves"`    // of the later tree
	Inactive  uint64       `json:"inactive_peaks"`
	Digests   []mmr.Digest `json:"digests"`
	Pins      []mmr.Digest `json:"pins"` // peaks of the tree with Location leaves
}

// DivergedError says that a later checkpoint of an epoch does not contain the
// earlier one. Both are signed, and Proof holds under the root of the later one:
// whoever has the three can check it.
type DivergedError struct {
	Earlier, Later checkpoint.Checkpoint
	Proof          Proof
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("the log of size %d with root %s does not begin with that of size %d with root %s",
		e.Later.Target.End, e.Later.Target.Root, e.Earlier.Target.End, e.Earlier.Target.Root)
}

// UnprovenError says that no source had a proof that holds, so that nothing is known.
type UnprovenError struct {
	Err error // of the last source asked
}

func (e *UnprovenError) Error() string {
	return fmt.Sprintf("no source proves that the log continues: %v", e.Err)
}

// Unwrap returns the reason.
func (e *UnprovenError) Unwrap() error { return e.Err }

// Extends proves that the log of one checkpoint begins with the log of an earlier
// one: of the operation at the earlier size it has a source prove under the later
// root which peaks lie before it, and these have to give the earlier root. nil
// says that it is so. Errors: *DivergedError when it is proven not to be so,
// *UnprovenError, that of ctx.
//
// Origins, epochs and signatures are for the caller to compare.
func Extends(ctx context.Context, src source.Source, earlier, later checkpoint.Checkpoint) error {
	at, end := earlier.Target.End, later.Target.End
	if at > end {
		return fmt.Errorf("a log of size %d cannot begin with one of size %d", end, at)
	}
	if at == end {
		if earlier.Target.Root == later.Target.Root {
			return nil
		}
		return &DivergedError{Earlier: earlier, Later: later} // the two roots are the proof
	}
	attempts := 1
	if g, ok := src.(source.Group); ok {
		attempts = min(g.Sources(), maxAttempts)
	}
	var err error
	for range attempts {
		var p *Proof
		if p, err = prove(ctx, src, later, at); err == nil {
			return p.continues(earlier, later)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return &UnprovenError{err}
}

// prove fetches and checks what the later root says about the tree of size at.
func prove(ctx context.Context, src source.Source, later checkpoint.Checkpoint, at uint64) (*Proof, error) {
	a, err := src.Operations(ctx, source.Request{Size: later.Target.End, Start: at, Max: 1, Pins: true, Codec: &later.Codec})
	if err != nil {
		return nil, err
	}
	defer a.Release()
	span := mmr.HashSpan(at, a.Run)
	err = a.Proof.VerifyPins(span, a.Pins, later.Target.Root)
	if reporter, ok := src.(source.Reporter); ok {
		verdict := source.VerdictGood
		if err != nil {
			verdict = source.VerdictLying
		}
		reporter.Report(a.Peer, verdict)
	}
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", a.Peer, err)
	}
	return &Proof{
		Location: at, Operation: slices.Clone(a.Run.At(0)), Leaves: a.Proof.Leaves, Inactive: a.Proof.InactivePeaks,
		Digests: slices.Clone(a.Proof.Digests), Pins: slices.Clone(a.Pins),
	}, nil
}

// continues says whether the peaks that were proven are those under the earlier
// root. A checkpoint does not say how many of them were inactive, which the root
// hashes as well: there are few possibilities, and a root fits one at most.
func (p *Proof) continues(earlier, later checkpoint.Checkpoint) error {
	for inactive := range uint64(len(p.Pins) + 1) {
		root, err := mmr.Root(p.Location, inactive, p.Pins)
		if err != nil {
			return &UnprovenError{err}
		}
		if root == earlier.Target.Root {
			return nil
		}
	}
	return &DivergedError{earlier, later, *p}
}
