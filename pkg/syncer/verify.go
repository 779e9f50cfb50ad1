package syncer

import (
	"context"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
)

// piece is a verified answer: operations from start on, and the digests that
// came of checking them. It must be released.
type piece struct {
	request source.Request
	start   uint64
	answer  *source.Answer
	span    *mmr.Span
	owner   *Syncer
}

func (p *piece) len() uint64 { return uint64(p.answer.Run.Len()) }
func (p *piece) end() uint64 { return p.start + p.len() }

func (p *piece) release() {
	if p.span == nil {
		return
	}
	p.answer.Release()
	p.owner.spans.Put(p.span)
	p.span = nil
}

// fetch asks for operations and checks the answer against root, on a worker.
// Its errors are those of the source, or a *VerificationError.
func (s *Syncer) fetch(ctx context.Context, r source.Request, root mmr.Digest) (*piece, error) {
	a, err := s.src.Operations(ctx, r)
	if err != nil {
		return nil, err
	}
	select {
	case s.workers <- struct{}{}:
	case <-ctx.Done():
		a.Release()
		return nil, ctx.Err()
	}
	defer func() { <-s.workers }()
	p := &piece{request: r, start: r.Start, answer: a, span: s.spans.Get().(*mmr.Span), owner: s}
	if err := verify(p.span, a, r, root); err != nil {
		if r.Codec == nil { // else it was a guess
			s.keepRefuted(a, r, root, err)
		}
		p.release()
		return nil, &VerificationError{a.Peer, r, err}
	}
	return p, nil
}

// verify checks an answer. That it fits the request is checked again, whatever
// the source promises: everything that follows leans on it.
func verify(span *mmr.Span, a *source.Answer, r source.Request, root mmr.Digest) error {
	n := uint64(a.Run.Len())
	if n == 0 || n > r.Max || n > r.Size-r.Start || a.Proof.Leaves != r.Size {
		return fmt.Errorf("%d operations for size %d do not answer [%d, %d) of %d", n, a.Proof.Leaves, r.Start, r.Start+r.Max, r.Size)
	}
	span.Reset(r.Start, a.Run)
	if r.Pins {
		return a.Proof.VerifyPins(span, a.Pins, root)
	}
	return a.Proof.Verify(span, root)
}

// lastOperation fetches the operation that ends a target and checks that it
// can: it is a commit, whose floor is not below the target's start. A target
// that claims a higher start would make a replica lose live keys. It is the
// first request of a new replica, so this is also where a log of another
// family or encoding shows (*MismatchError).
func (it *iteration) lastOperation(ctx context.Context, t source.Target) (*piece, error) {
	r := source.Request{Size: t.End, Start: t.End - 1, Max: 1, Peer: t.Peer}
	p, err := it.fetch(ctx, r, t.Root)
	if err != nil {
		return nil, it.probe(ctx, t, err)
	}
	if err := it.checkCommit(p.answer.Run.At(0), t, t.Start); err != nil {
		p.release()
		return nil, it.probe(ctx, t, err)
	}
	return p, nil
}

// checkCommit says whether op can be the last operation of t in a log that is
// retained from start on.
func (it *iteration) checkCommit(op []byte, t source.Target, start uint64) error {
	o, err := it.codec.Decode(op)
	switch {
	case err != nil:
		return &TargetError{t, "its last operation does not decode: " + err.Error()}
	case o.Kind != operation.Commit:
		return &TargetError{t, fmt.Sprintf("its last operation is no commit but %s", o.Kind)}
	case o.Floor < max(start, t.Start) || o.Floor >= t.End:
		return &TargetError{t, fmt.Sprintf("its inactivity floor is %d, outside [%d, %d)", o.Floor, max(start, t.Start), t.End)}
	}
	return nil
}

// knownCodecs are what a server's log may be.
var knownCodecs = func() (all []operation.Codec) {
	for _, f := range []operation.Family{operation.Any, operation.Immutable, operation.Keyless} {
		for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
			all = append(all, operation.NewCodec(f, e))
		}
	}
	return all
}()

// probe finds out whether an answer to the first request under a target went
// wrong because the log is of another family or encoding, which the protocol
// does not tell: the codec under which the target's last operation decodes,
// is a commit and is proven by the root is the log's. It returns a
// *MismatchError, or cause when that explains nothing.
func (it *iteration) probe(ctx context.Context, t source.Target, cause error) error {
	if classify(cause) != source.Wrong {
		return cause
	}
	for _, c := range knownCodecs {
		if c.Family() == it.codec.Family() && c.Encoding() == it.codec.Encoding() {
			continue
		}
		m, err := it.guess(ctx, t, c)
		if err != nil {
			return cause // nothing to be learned now
		}
		if m != nil {
			it.mismatches[t.Peer] = m
			return m
		}
	}
	return cause
}

// guess fetches the last operation of a target as one of the given codec, and
// returns the mismatch that shows if that is what it is; nil if it is not. An
// error says that there was no answer.
func (it *iteration) guess(ctx context.Context, t source.Target, c operation.Codec) (*MismatchError, error) {
	r := source.Request{Size: t.End, Start: t.End - 1, Max: 1, Peer: t.Peer, Codec: &c}
	p, err := it.fetch(ctx, r, t.Root)
	if err != nil {
		if classify(err) == source.Wrong {
			return nil, nil
		}
		return nil, err
	}
	defer p.release()
	op, err := c.Decode(p.answer.Run.At(0))
	if err != nil || op.Kind != operation.Commit || op.Floor < t.Start || op.Floor >= t.End {
		return nil, nil
	}
	return &MismatchError{Peer: p.answer.Peer, Local: it.codec, Remote: c}, nil
}

// stillMismatched asks a peer whose log was of another family or encoding in
// the way that has an answer: as ours it would not decode, an offence for which
// the connection is dropped, again and again. It returns a *MismatchError, an
// error of the source, or nil if the log is another one by now.
func (it *iteration) stillMismatched(ctx context.Context, t source.Target) error {
	known := it.mismatches[t.Peer]
	if known == nil {
		return nil
	}
	m, err := it.guess(ctx, t, known.Remote)
	switch {
	case err != nil:
		return err
	case m != nil:
		return m
	}
	delete(it.mismatches, t.Peer)
	return nil
}

// enterMismatch makes a mismatch the state; it says so at most once a minute.
func (it *iteration) enterMismatch(m *MismatchError, t source.Target) {
	if known := it.Status().Mismatch; known == nil || *known != *m {
		it.m.failures.WithLabelValues(source.Wrong.String()).Inc()
	}
	it.track.phase(PhaseMismatch)
	it.track.update(func(st *Status) { st.Mismatch, st.LastError = m, m })
	it.reportDiverged(m.Peer, t.Peer)
	if it.said.due("mismatch " + m.Peer) {
		it.log.Error("mismatch: the source's log is of another family or encoding",
			"peer", m.Peer, "local", m.Local, "remote", m.Remote)
	}
}
