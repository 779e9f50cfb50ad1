package fsck

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// pass is the one walk over everything: operations and tiles beside the index.
type pass struct {
	c    *checker
	keys fingerprinter

	there fingerprint // of the entries that follow from the operations
	index fingerprint // of the entries the index has

	gone []gap  // what of the index could not be read
	low  uint64 // live keys below the floor, if the index is right

	operations, entries atomic.Uint64 // done
}

func (c *checker) pass(ctx context.Context) (*pass, error) {
	p := &pass{c: c, keys: newFingerprinter()}
	total := c.s.Stored - c.s.Start
	done := c.o.watch(Progress{Generation: c.g.Number(), Task: Checking, Total: total}, func() uint64 {
		return min(p.operations.Load(), p.entries.Load())
	})
	defer done()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.readOperations(ctx) })
	group.Go(func() error { return p.readIndex(ctx) })
	err := group.Wait()
	return p, err
}

// watch tells Progress how far a task is until the returned function is
// called, and once more then.
func (o *Options) watch(p Progress, done func() uint64) (end func()) {
	if o.Progress == nil {
		return func() {}
	}
	began := time.Now()
	tell := func() {
		p.Done, p.Elapsed = done(), time.Since(began)
		o.Progress(p)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		t := time.NewTicker(progressInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				tell()
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		group.Wait()
		done = func() uint64 { return p.Total }
		tell()
	}
}

const progressInterval = 500 * time.Millisecond
