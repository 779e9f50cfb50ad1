package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// A failure is what went wrong with the database while a request that it
// should have served was answered.
type failure uint8

const (
	corruption failure = iota
	otherFailure
	numFailures
)

func (f failure) String() string {
	return [numFailures]string{corruption: "corruption", otherFailure: "other"}[f]
}

// maxPrefix is the length of the longest length prefix, in bytes.
const maxPrefix = 4

// replyRoom is what any reply but operations fits in, in bytes: error texts
// are a line.
const replyRoom = 256

// A worker builds replies, one at a time.
type worker struct {
	srv *Server
	ops []byte // scratch: the operations of a reply
}

// do answers a request; the reply goes to its session, which is never waited for.
func (w *worker) do(j job) {
	c := j.session
	if j.chunk {
		c.chunk.let()
		return
	}
	defer c.pending.Done()
	if c.end.Err() != nil { // nobody would get it
		c.release(reply{reserved: j.reserved})
		return
	}
	buffer, frame, sub := w.answer(c, j.request)
	w.srv.opts.Metrics.duration.Observe(time.Since(j.admitted).Seconds())
	c.replies <- reply{frame: frame, buffer: buffer, sub: sub, reserved: c.settle(j.reserved, int64(len(frame)))}
}

// reservation is an upper bound of the reply's bytes, so far as the budgets
// allow: a reply is admitted even if it alone exceeds them.
func (s *Server) reservation(r request) int64 {
	n := replyRoom
	if r.kind == getOperations && r.get.Start < r.get.Size {
		codec := s.db.Codec()
		n = wire.MaxAnswer(codec, r.get.Size, s.count(r.get))
		if n > s.opts.MaxReplyBytes+maxOverhead {
			// Cut by bytes, but never to less than one operation.
			largest := codec.Size()
			if largest == 0 {
				largest = operation.MaxOperation
			}
			n = max(s.opts.MaxReplyBytes, largest) + maxOverhead
		}
	}
	return min(int64(n), s.opts.MaxInflightBytes, s.opts.MaxTotalBytes)
}

// count is the number of operations a request may get, so far as it and the
// options tell; it needs start < size.
func (s *Server) count(r wire.GetOperations) uint64 {
	return min(r.Max, r.Size-r.Start, uint64(s.opts.MaxOpsPerResponse))
}

// answer returns the frame of the reply, the pooled buffer it lies in, and the
// subscription that begins with it, if one does.
func (w *worker) answer(c *session, r request) (buffer *[]byte, frame []byte, sub subscription) {
	var err error
	switch r.kind {
	case getOperations:
		buffer, frame, err = w.operations(r.get)
	case getTarget:
		buffer, frame, err = w.target(r.id)
	case subscribe:
		buffer, frame, sub, err = w.subscribe(c, r.id)
	case getCompactTarget, getCompactState:
		err = refuse(wire.InvalidRequest, "this server serves full syncs, not compact ones (tag %d)", r.tag)
	default:
		err = refuse(wire.InvalidRequest, "tag %d is not a request", r.tag)
	}
	if err == nil {
		return buffer, frame, sub
	}
	refusal := w.refusal(r, err)
	w.srv.opts.Metrics.errors[refusal.Code].Inc()
	buffer, frame = w.frame(refusal)
	return buffer, frame, subscription{}
}

// frame puts a small message in its frame.
func (w *worker) frame(m wire.Message) (*[]byte, []byte) {
	b := w.srv.pool.get(replyRoom)
	*b, _ = wire.AppendFrame(*b, m) // small messages fit
	return b, *b
}

func (w *worker) target(id uint64) (*[]byte, []byte, error) {
	v, err := w.srv.db.View()
	if err != nil {
		return nil, nil, err
	}
	defer v.Close()
	b, frame := w.frame(&wire.TargetReply{ID: id, Target: targetOf(v)})
	return b, frame, nil
}

func targetOf(v View) wire.Target {
	return wire.Target{Root: v.Root(), Start: max(v.Floor(), v.Start()), End: v.Size()}
}

// subscribe answers with the newest target. The session is told of later ones
// from before that one was looked up, and sends them after it.
func (w *worker) subscribe(c *session, id uint64) (*[]byte, []byte, subscription, error) {
	p, err := w.srv.pushes.subscribe(c)
	if err != nil {
		return nil, nil, subscription{}, err
	}
	if !c.subscribed.Swap(true) {
		expectSilence(c.raw)
	}
	b := w.srv.pool.get(pushFrame)
	*b = p.appendTo(*b, id)
	return b, *b, subscription{id, p.seq}, nil
}

func (w *worker) operations(r wire.GetOperations) (*[]byte, []byte, error) {
	if r.Start >= r.Size {
		return nil, nil, refuse(wire.InvalidRequest, "start %d is not below op_count %d", r.Start, r.Size)
	}
	v, err := w.srv.db.View()
	if err != nil {
		return nil, nil, err
	}
	defer v.Close()
	switch size := v.Size(); {
	case r.Start >= size:
		return nil, nil, refuse(wire.InvalidRequest, "start %d is not below the size of the log, %d", r.Start, size)
	case r.Size > size:
		return nil, nil, refuse(wire.Database, "op_count %d is beyond the size of the log, %d", r.Size, size)
	case r.Start < v.Start():
		return nil, nil, refuse(wire.Database, "operations below location %d are pruned, start is %d", v.Start(), r.Start)
	}
	ops, n, err := v.AppendOperations(w.ops[:0], r.Start, r.Start+w.srv.count(r), w.srv.opts.MaxReplyBytes)
	if err != nil {
		return nil, nil, err
	}
	if cap(ops) <= 1<<maxBufferBits {
		w.ops = ops
	}
	proof, err := v.Prove(r.Size, r.Start, r.Start+uint64(n))
	if err != nil {
		return nil, nil, err
	}
	var pins []mmr.Digest
	if r.Pins {
		if pins, err = v.Pins(r.Start); err != nil {
			return nil, nil, err
		}
	}
	// The length of the message is known once it is built: its prefix goes
	// right before it.
	b := w.srv.pool.get(maxPrefix + 64 + len(ops) + (len(proof.Digests)+len(pins))*mmr.DigestSize)
	*b = wire.AppendOperationsReply((*b)[:maxPrefix], r.ID, proof, n, ops, pins, r.Pins)
	length := uint64(len(*b) - maxPrefix)
	if length > wire.MaxFrame {
		w.srv.pool.put(b)
		return nil, nil, fmt.Errorf("reply of %d bytes with %d operations does not fit a frame", length, n)
	}
	first := maxPrefix - (bits.Len64(length|1)+6)/7
	binary.PutUvarint((*b)[first:], length)
	w.srv.opts.Metrics.operations.Add(float64(n))
	return b, (*b)[first:], nil
}

// refusedError is a request that gets an Error message by the rules.
type refusedError struct {
	code wire.Code
	text string
}

func (e *refusedError) Error() string { return e.text }

func refuse(code wire.Code, format string, args ...any) error {
	return &refusedError{code, fmt.Sprintf(format, args...)}
}

// refusal turns an error into the message that tells the peer, and takes note
// of those that are the database's fault. Peers get its details only where
// they are about what was asked.
func (w *worker) refusal(r request, err error) *wire.Error {
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return &wire.Error{ID: r.id, Code: refused.code, Text: refused.text}
	}
	text, fault, ok := unservable(r.get, err)
	if ok {
		return &wire.Error{ID: r.id, Code: wire.Database, Text: text}
	}
	w.srv.opts.Metrics.failures[fault].Inc()
	args := []any{"request", r.kind.String(), "op_count", r.get.Size, "start", r.get.Start, "error", err}
	if fault == corruption {
		if w.srv.opts.Damaged != nil {
			w.srv.opts.Damaged(err)
		}
		w.srv.notes.Error("database is corrupt: request not served", args...)
	} else {
		w.srv.notes.Error("database failed: request not served", args...)
	}
	return &wire.Error{ID: r.id, Code: wire.Database, Text: text}
}
