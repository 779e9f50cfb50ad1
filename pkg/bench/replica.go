package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// patience bounds a wait for a commit to become readable on a replica.
const patience = 2 * time.Minute

// replica is a child that syncs its database from a server, as the program
// client does.
type replica struct {
	*local
	src    *clocked
	engine *syncer.Syncer

	follow context.CancelFunc // nil: it does not follow
	tasks  sync.WaitGroup     // of following
	failed chan error         // the one that ended following
}

func newReplica(ctx context.Context, j job) (worker, answer, error) {
	l, a, err := openLocal(j)
	if err != nil {
		return nil, a, err
	}
	servers := source.NewServers(ctx, []string{j.Addr}, source.ServersOptions{
		Peer: source.PeerOptions{Codec: j.codec, Metrics: source.NewMetrics(l.reg)},
	})
	r := &replica{local: l, src: &clocked{Servers: servers, heard: make(map[uint64]time.Time), readable: make(map[uint64]time.Time)}, failed: make(chan error, 1)}
	r.engine = syncer.New(l.db, r.src, syncer.Options{BatchSize: j.BatchSize, Follow: true, Metrics: syncer.NewMetrics(l.reg)})
	return r, a, nil
}

func (r *replica) close() error {
	if r.follow != nil {
		r.follow()
		r.tasks.Wait()
	}
	return errors.Join(r.src.Close(), r.local.close())
}

func (r *replica) do(ctx context.Context, s step) (a answer, err error) {
	switch s.Do {
	case "sync":
		return r.sync(ctx)
	case "follow":
		return r.begin(ctx)
	case "await":
		return r.await(ctx, s.Size)
	}
	return r.local.do(ctx, s)
}

// sync does one sync, from the start of it to the root being readable and on disk.
func (r *replica) sync(ctx context.Context) (a answer, err error) {
	watch := startWatch()
	result, err := r.engine.Sync(ctx)
	watch.stop(&a)
	if err != nil {
		return a, err
	}
	a.Size, a.Root, a.Operations = result.Size, result.Root, result.Fetched
	return a, nil
}

// begin starts to follow, and answers when the newest target is readable and new
// ones are pushed.
func (r *replica) begin(ctx context.Context) (a answer, err error) {
	ctx, r.follow = context.WithCancel(ctx)
	r.tasks.Go(func() {
		if err := r.engine.Run(ctx); err != nil {
			r.failed <- err
		}
	})
	r.tasks.Go(func() { r.src.watch(ctx, r.local) })
	for began := time.Now(); ; {
		status := r.engine.Status()
		if status.Following && !status.LastSync.IsZero() {
			return r.state()
		}
		if time.Since(began) > patience {
			return a, fmt.Errorf("not in step with the server after %s: phase %s, last error %w", patience, status.Phase, status.LastError)
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case err := <-r.failed:
			return a, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// await answers when the log is readable to a size: with the time from the target
// being known to the replica.
func (r *replica) await(ctx context.Context, size uint64) (a answer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("size %d not readable after %s", size, patience))
	defer cancel()
	for {
		changed := r.db.Changed()
		if known, done, ok := r.src.both(size); ok {
			a, err = r.state()
			a.Seconds = done.Sub(known).Seconds()
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case err := <-r.failed:
			return a, err
		case <-changed:
		case <-time.After(time.Millisecond): // the watcher may be a moment behind
		}
	}
}

// clocked are servers whose targets are noted with the time they were heard of,
// and the time they became readable.
type clocked struct {
	*source.Servers
	mu              sync.Mutex
	heard, readable map[uint64]time.Time // by size
}

// Follow implements source.Follower.
func (c *clocked) Follow(ctx context.Context, fn func(source.Target)) {
	c.Servers.Follow(ctx, func(t source.Target) {
		c.hear(t)
		fn(t)
	})
}

// Target implements source.Source.
func (c *clocked) Target(ctx context.Context) (source.Target, error) {
	t, err := c.Servers.Target(ctx)
	if err == nil {
		c.hear(t)
	}
	return t, err
}

func (c *clocked) hear(t source.Target) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.heard[t.End]; !known {
		c.heard[t.End] = now
	}
}

// watch notes which sizes become readable.
func (c *clocked) watch(ctx context.Context, l *local) {
	for {
		changed := l.db.Changed()
		if v, err := l.db.View(); err == nil {
			now := time.Now()
			c.mu.Lock()
			if _, known := c.readable[v.Size()]; !known {
				c.readable[v.Size()] = now
			}
			c.mu.Unlock()
			v.Close()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// both are the times of a size, once it is readable; smaller ones are forgotten.
func (c *clocked) both(size uint64) (known, done time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, heard := c.heard[size]
	done, read := c.readable[size]
	if !heard || !read {
		return known, done, false
	}
	for _, m := range []map[uint64]time.Time{c.heard, c.readable} {
		for n := range m {
			if n < size {
				delete(m, n)
			}
		}
	}
	return known, done, true
}
