package committer

import (
	"context"
	"errors"
	"sync/atomic"
)

// request is a batch on its way through the committer.
type request struct {
	batch Batch
	bytes int   // of keys and values
	held  int64 // of Committer.room
	state atomic.Int32
	done  chan struct{}

	// Of memory, for batches that have an idempotency key.
	waiters int  // calls of Commit that wait for done
	adds    bool // its key is counted as one that will be known

	// Of Run until done is closed, and then nobody's to change.
	result  Result
	err     error
	inGroup bool // err was decided by an earlier batch of the same group
}

// The states of a request.
const (
	waiting = iota
	taken   // by Run: it will be answered
	givenUp // by all its callers: Run leaves it out
)

// errNotQueued: the call that others were waiting for gave up before its
// batch was queued.
var errNotQueued = errors.New("not queued")

// submit queues a request and waits for its answer.
func (c *Committer) submit(ctx context.Context, r *request) (Result, error) {
	err := c.enqueue(ctx, r)
	if err == nil {
		return c.await(ctx, r)
	}
	c.mem.end(r)
	r.err = errNotQueued
	close(r.done)
	return Result{}, err
}

func (c *Committer) enqueue(ctx context.Context, r *request) error {
	// When Run has ended, those that wait are answered and give way to others.
	if err := c.room.Acquire(ctx, r.held); err != nil {
		return err
	}
	err := ErrClosed
	select {
	case <-c.stopped: // the queue may have room still
	default:
		select {
		case c.queue <- r:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.stopped:
		}
	}
	c.room.Release(r.held)
	return err
}

// await waits for the answer to a request, which may be another call's.
func (c *Committer) await(ctx context.Context, r *request) (Result, error) {
	select {
	case <-r.done:
		return r.result, r.err
	case <-c.stopped:
		// What Run took it has answered; what it did not take is not committed.
		select {
		case <-r.done:
			return r.result, r.err
		default:
			c.leave(r)
			return Result{}, ErrClosed
		}
	case <-ctx.Done():
		c.leave(r)
		return Result{}, ctx.Err()
	}
}

// leave says that a call waits no longer. If nobody does and Run has not taken
// the request, its batch is let go at once: Run may be busy for long.
func (c *Committer) leave(r *request) {
	if !c.mem.leave(r) {
		return
	}
	r.batch = Batch{}
	c.room.Release(r.held)
}

func (c *Committer) answer(group []*request) {
	for _, r := range group {
		c.mem.end(r)
		close(r.done)
		c.room.Release(r.held)
	}
}

func (c *Committer) answerAll(rs []*request, err error) {
	for _, r := range rs {
		r.err = err
	}
	c.answer(rs)
}
