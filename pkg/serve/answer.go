package serve

import (
	"errors"
	"fmt"
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

// replyRoom is what any reply but operations fits in, in bytes: error texts
// are a line.
const replyRoom = 256

// replyOverhead bounds what a reply with operations has beside them and digests, in
// bytes: prefix, tag, id and numbers.
const replyOverhead = 64

// A worker builds replies, those of one batch at a time.
type worker struct {
	srv  *Server
	view View    // of the batch; nil: not needed yet
	out  *[]byte // the frames of the batch, pooled; nil: none yet
	last int     // bytes of the operations it read last: about as many as those of the next reply
}

// do answers a batch; the replies go to its session, which is never waited for.
func (w *worker) do(j job) {
	c := j.session
	if j.chunk {
		c.chunk.let()
		return
	}
	defer c.pending.Done()
	defer w.srv.batches.put(j.batch)
	all := *j.batch
	if c.end.Err() != nil { // nobody would get it
		c.release(reply{requests: len(all), reserved: j.reserved})
		return
	}
	for len(all) > 0 {
		r, rest := w.answer(c, all)
		took := time.Since(j.admitted).Seconds()
		for range r.requests {
			w.srv.opts.Metrics.duration.Observe(took)
		}
		r.reserved = c.settle(all[:r.requests].reserved(), int64(len(r.frames)))
		c.replies <- r
		all = rest
	}
	if w.view != nil {
		w.view.Close()
		w.view = nil
	}
}

// defaultPatience is how long replies wait for others of their batch. Requests that take
// so long wait for the disk: so many of the connection's next ones as goAlone says go to
// workers one by one, who wait side by side.
const (
	defaultPatience = 20 * time.Millisecond
	goAlone         = 64
)

// answer builds the replies of a batch, of one published state, and returns those it had
// no patience for.
func (w *worker) answer(c *session, all batch) (r reply, rest batch) {
	began := time.Now()
	if len(all) > 1 {
		w.out = w.srv.pool.get(int(all.reserved())) // which is not too far off then
	}
	for rest = all; len(rest) > 0; rest = rest[1:] {
		if r.requests > 0 && time.Since(began) >= w.srv.opts.patience {
			c.alone.Store(goAlone)
			break
		}
		if sub := w.one(c, &rest[0]); sub.sent > 0 {
			r.sub = sub
		}
		r.requests++
	}
	r.buffer = w.srv.pool.fit(w.out)
	r.frames, w.out = *r.buffer, nil
	return r, rest
}

// room is where a frame of so many bytes is appended.
func (w *worker) room(n int) *[]byte {
	if w.out == nil {
		w.out = w.srv.pool.get(n)
	}
	return w.out
}

// reservation is an upper bound of the reply's bytes, so far as the budgets
// allow: a reply is admitted even if it alone exceeds them.
func (s *Server) reservation(r *request) int64 {
	n := replyRoom
	if r.kind == getOperations && r.get.Start < r.get.Size {
		codec := s.db.Codec()
		n = wire.MaxAnswer(codec, r.get.Size, s.count(&r.get))
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
func (s *Server) count(r *wire.GetOperations) uint64 {
	return min(r.Max, r.Size-r.Start, uint64(s.opts.MaxOpsPerResponse))
}

// one appends the reply to a request, and returns the subscription that begins with
// it, if one does.
func (w *worker) one(c *session, r *request) (sub subscription) {
	var err error
	switch r.kind {
	case getOperations:
		err = w.operations(&r.get)
	case getTarget:
		err = w.target(r.id)
	case subscribe:
		sub, err = w.subscribe(c, r.id)
	case getCompactTarget, getCompactState:
		err = refuse(wire.InvalidRequest, "this server serves full syncs, not compact ones (tag %d)", r.tag)
	default:
		err = refuse(wire.InvalidRequest, "tag %d is not a request", r.tag)
	}
	if err != nil {
		refusal := w.refusal(r, err)
		w.srv.opts.Metrics.errors[refusal.Code].Inc()
		w.frame(refusal)
	}
	return sub
}

// frame appends a small message in its frame.
func (w *worker) frame(m wire.Message) {
	b := w.room(replyRoom)
	*b, _ = wire.AppendFrame(*b, m) // small messages fit
}

// open returns the newest state as of the first request of the batch that needs one.
func (w *worker) open() (View, error) {
	if w.view != nil {
		return w.view, nil
	}
	v, err := w.srv.db.View()
	if err != nil {
		return nil, err
	}
	w.view = v
	return v, nil
}

func (w *worker) target(id uint64) error {
	v, err := w.open()
	if err == nil {
		w.frame(&wire.TargetReply{ID: id, Target: targetOf(v)})
	}
	return err
}

func targetOf(v View) wire.Target {
	return wire.Target{Root: v.Root(), Start: max(v.Floor(), v.Start()), End: v.Size()}
}

// subscribe answers with the newest target. The session is told of later ones
// from before that one was looked up, and sends them after it.
func (w *worker) subscribe(c *session, id uint64) (subscription, error) {
	p, err := w.srv.pushes.subscribe(c)
	if err != nil {
		return subscription{}, err
	}
	if !c.subscribed.Swap(true) {
		expectSilence(c.raw)
	}
	b := w.room(pushFrame)
	*b = p.appendTo(*b, id)
	return subscription{id, p.seq}, nil
}

func (w *worker) operations(r *wire.GetOperations) error {
	if r.Start >= r.Size {
		return refuse(wire.InvalidRequest, "start %d is not below op_count %d", r.Start, r.Size)
	}
	v, err := w.open()
	if err != nil {
		return err
	}
	switch size := v.Size(); {
	case r.Start >= size:
		return refuse(wire.InvalidRequest, "start %d is not below the size of the log, %d", r.Start, size)
	case r.Size > size:
		return refuse(wire.Database, "op_count %d is beyond the size of the log, %d", r.Size, size)
	case r.Start < v.Start():
		return refuse(wire.Database, "operations below location %d are pruned, start is %d", v.Start(), r.Start)
	}
	scratch := w.srv.pool.get(w.last)
	defer w.srv.pool.put(scratch)
	ops, n, err := v.AppendOperations(*scratch, r.Start, r.Start+w.srv.count(r), w.srv.opts.MaxReplyBytes)
	if err != nil {
		return err
	}
	*scratch, w.last = ops, len(ops)
	proof, err := v.Prove(r.Size, r.Start, r.Start+uint64(n))
	if err != nil {
		return err
	}
	var pins []mmr.Digest
	if r.Pins {
		if pins, err = v.Pins(r.Start); err != nil {
			return err
		}
	}
	b := w.room(replyOverhead + len(ops) + (len(proof.Digests)+len(pins))*mmr.DigestSize)
	if *b, err = wire.AppendOperationsFrame(*b, r.ID, proof, n, ops, pins, r.Pins); err != nil {
		return fmt.Errorf("reply with %d operations: %w", n, err)
	}
	w.srv.opts.Metrics.operations.Add(float64(n))
	return nil
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
func (w *worker) refusal(r *request, err error) *wire.Error {
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
