package crash

import (
	"errors"
	"sync"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// replica completes a kind of a replica's: run against a source of so many
// batches, then gone on with against all of them.
func replica(t testing.TB, k *kind, served int, run func(*process) error) *kind {
	t.Helper()
	k.codec = anyFixed
	k = writer(t, k)
	k.replica = true
	var err error
	if k.source, err = newUpstream(k.codec, k.batches, len(k.batches)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.source.stop)
	k.run = func(p *process) error {
		u, err := newUpstream(k.codec, k.batches, served)
		if err != nil {
			return err
		}
		defer u.stop()
		p.source.Store(u)
		return opened(p, func() error { return run(p) })
	}
	k.goOn = func(p *process) error { return p.sync(k.source, nil) }
	return k
}

// straight is a sync that nothing disturbs.
func straight(p *process) error { return p.sync(p.source.Load(), nil) }

// history is a log whose floor leaves its beginning far behind.
func history() []database.Batch { return batches(anyFixed, 6, 600, repeat(90, 14)...) }

// coldSync fills a first generation, and is cut off twice: what was verified
// until then is kept.
func coldSync(t testing.TB) *kind {
	return replica(t, &kind{name: "cold sync", batches: history(), syncs: 10}, 10, func(p *process) error {
		for range 2 {
			if err := p.sync(p.source.Load(), func(n int) bool { return n < 4 }); err != nil && !errors.Is(err, errCancelled) {
				return err
			}
		}
		return straight(p)
	})
}

// coldBulkSync goes around the log, in several commits that are written
// beside what comes in.
func coldBulkSync(t testing.TB) *kind {
	return replica(t, &kind{
		name: "cold sync in bulk", batches: batches(anyFixed, 7, 4_000, 1_500, 300, 100), load: 500, bulk: 400, syncs: 30,
	}, 3, straight)
}

// catchUp extends the generation in use.
func catchUp(t testing.TB) *kind {
	k := &kind{name: "catch-up", batches: history(), syncs: 5, small: true}
	k.prepare = synced(k, 12)
	return replica(t, k, 14, straight)
}

// movingTarget follows a source that commits with every answer it gives.
func movingTarget(t testing.TB) *kind {
	k := &kind{name: "moving target", batches: history(), syncs: 5}
	k.prepare = synced(k, 5)
	return replica(t, k, 6, func(p *process) error {
		var mu sync.Mutex
		to := 6
		u := p.source.Load()
		return p.sync(u, func(int) bool {
			mu.Lock()
			defer mu.Unlock()
			if to++; to <= len(k.batches) {
				if err := u.advance(to); err != nil {
					t.Error(err)
				}
			}
			return true
		})
	})
}

// generationSwitch follows a source whose floor moved past the replica, which
// replaces its generation by another.
func generationSwitch(t testing.TB) *kind {
	k := &kind{name: "generation switch", batches: history(), syncs: 15, small: true}
	k.prepare = synced(k, 2)
	return replica(t, k, len(k.batches), straight)
}

// abandonedTarget forgets, beyond what is readable, many operations of a history
// that the source gave up since.
func abandonedTarget(t testing.TB) *kind {
	k := &kind{name: "abandoned target", batches: history(), syncs: 5}
	k.prepare = func() (*storetest.Disk, int, error) {
		disk, n, err := synced(k, 12)()
		if err != nil {
			return nil, 0, err
		}
		p := newProcess(k, disk, n)
		return disk, n, opened(p, func() error { return storeStrange(p) })
	}
	return replica(t, k, 14, straight)
}

// synced prepares a replica of the first so many batches.
func synced(k *kind, n int) func() (*storetest.Disk, int, error) {
	return func() (*storetest.Disk, int, error) {
		u, err := newUpstream(k.codec, k.batches, n)
		if err != nil {
			return nil, 0, err
		}
		defer u.stop()
		p := newProcess(k, storetest.NewDisk(), -1)
		return p.disk, n, opened(p, func() error { return p.sync(u, nil) })
	}
}

// storeStrange stores 5,000 operations of another history, without publishing them.
func storeStrange(p *process) error {
	l, err := p.db.Load().Extend()
	if err != nil {
		return err
	}
	defer l.Close()
	for _, b := range batches(p.k.codec, 99, 20_000, repeat(100, 50)...) {
		var ops []byte
		for _, w := range b.Writes {
			op := operation.Operation{Kind: operation.Update, Key: w.Key, Value: w.Value}
			if ops, err = p.k.codec.Append(ops, op); err != nil {
				return err
			}
		}
		run, err := p.k.codec.NewRun(ops)
		if err != nil {
			return err
		}
		if err := l.Append(mmr.HashSpan(l.End(), run), run); err != nil {
			return err
		}
	}
	return l.Flush()
}
