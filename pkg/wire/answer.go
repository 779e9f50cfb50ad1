package wire

// Answers checks that m is an answer to req: its id, its size, at least one
// operation and at most as many as were asked for, none beyond the size, and
// pinned nodes exactly if they were asked for. Errors are *AnswerError. What m
// says is true only once its proof is verified as well.
func (m *Operations) Answers(req GetOperations) error {
	n := uint64(m.Run.Len())
	switch {
	case m.ID != req.ID:
		return answerErrorf("request id %d, asked with %d", m.ID, req.ID)
	case m.Proof.Leaves != req.Size:
		return answerErrorf("proof for size %d, asked for %d", m.Proof.Leaves, req.Size)
	case n == 0:
		return answerErrorf("no operations")
	case n > req.Max:
		return answerErrorf("%d operations, asked for at most %d", n, req.Max)
	case req.Start >= req.Size || n > req.Size-req.Start:
		return answerErrorf("%d operations from %d, beyond size %d", n, req.Start, req.Size)
	case req.Pins && !m.HasPins:
		return answerErrorf("no pinned nodes")
	case !req.Pins && m.HasPins:
		return answerErrorf("pinned nodes that were not asked for")
	}
	return nil
}
