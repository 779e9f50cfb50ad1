package checkpoint

import "fmt"

// RollbackError says that a checkpoint is older than one that was accepted
// before: of a lower epoch, or of the same with less in it.
type RollbackError struct{ Checkpoint, Last Checkpoint }

func (e *RollbackError) Error() string {
	if e.Checkpoint.Epoch != e.Last.Epoch {
		return fmt.Sprintf("checkpoint of epoch %d, after one of epoch %d was accepted", e.Checkpoint.Epoch, e.Last.Epoch)
	}
	return fmt.Sprintf("checkpoint of size %d from location %d on, after one of size %d from %d on was accepted",
		e.Checkpoint.Target.End, e.Checkpoint.Target.Start, e.Last.Target.End, e.Last.Target.Start)
}

// ForkError says that two checkpoints of one epoch contradict each other:
// they give the same size different roots. Both are signed, so whoever has both
// can prove it to others.
type ForkError struct{ Checkpoint, Last Checkpoint }

func (e *ForkError) Error() string {
	return fmt.Sprintf("checkpoint of size %d with root %s contradicts the accepted one with root %s", e.Checkpoint.Target.End, e.Checkpoint.Target.Root, e.Last.Target.Root)
}

// Follows says whether c may be accepted after last: nil, a *RollbackError or a
// *ForkError. That the log of c continues that of last has to be proven by
// operations; a higher epoch says that it does not have to.
func (c Checkpoint) Follows(last Checkpoint) error {
	switch {
	case c.Origin != last.Origin:
		return &OriginError{c.Origin, last.Origin}
	case c.Epoch > last.Epoch:
		return nil
	case c.Epoch < last.Epoch, c.Target.End < last.Target.End, c.Target.Start < last.Target.Start:
		return &RollbackError{c, last}
	case c.Target.End == last.Target.End && c.Target.Root != last.Target.Root:
		return &ForkError{c, last}
	}
	return nil
}
