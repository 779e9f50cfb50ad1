package committer

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/store"
)

func TestBatchesOfCallersThatLeftTakeNoMemory(t *testing.T) {
	c := newCommitter(t, open(t, store.MemFS(), anyVariable), Options{MaxWaitingBytes: 4 << 20})
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	for i := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		b := batch(Write{Key: []byte("k"), Value: make([]byte, 1<<20)})
		if i%2 == 0 {
			b.IdempotencyKey = string(rune('a' + i))
		}
		ended := make(chan error)
		go func() {
			_, err := c.Commit(ctx, b)
			ended <- err
		}()
		waitFor(t, func() bool { return len(c.queue) == i+1 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("%d KiB are held", (after-before)>>10)
	}
	if !c.room.TryAcquire(c.opts.MaxWaitingBytes) {
		t.Error("room is taken")
	}
	c.room.Release(c.opts.MaxWaitingBytes)
	// Their names are free, and what they left is passed over.
	run(t, c)
	if res, err := c.Commit(t.Context(), Batch{IdempotencyKey: "a", Writes: []Write{put("a", "1")}}); err != nil || res.Replayed {
		t.Error(res, err)
	}
	if v := value(t, c.db, "k"); v != "none" {
		t.Error("a batch that was given up is written")
	}
}

func TestTheMemoryOfWaitingBatchesIsBounded(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{MaxWaitingBytes: 1 << 20})
	large := func(key string) Batch {
		return batch(Write{Key: []byte(key), Value: bytes.Repeat([]byte{'x'}, 600<<10)})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Commit(context.Background(), large("a")); err != nil {
			t.Error(err)
		}
	})
	waitFor(t, func() bool { return len(c.queue) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := c.Commit(ctx, large("b")); !errors.Is(err, context.DeadlineExceeded) || len(c.queue) != 1 {
		t.Errorf("%v, %d are queued", err, len(c.queue))
	}
	// With Run at work all get their turn, also one larger than the bound.
	run(t, c)
	for _, key := range []string{"c", "d"} {
		wg.Go(func() {
			if _, err := c.Commit(context.Background(), large(key)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := c.Commit(t.Context(), batch(Write{Key: []byte("e"), Value: make([]byte, 2<<20)})); err != nil {
		t.Error(err)
	}
	if value(t, db, "b") != "none" || len(value(t, db, "d")) != 600<<10 {
		t.Error("b is there, or d is not")
	}
}

func TestABatchIsGivenUpOnlyWhenNobodyWaitsForIt(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{})
	first, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	commit := func(ctx context.Context) {
		_, err := c.Commit(ctx, named("one", 1, put("a", "1")))
		ended <- err
	}
	go commit(first)
	waitFor(t, func() bool { return len(c.queue) == 1 })
	go commit(context.Background())
	waitFor(t, func() bool {
		c.mem.mu.Lock()
		defer c.mem.mu.Unlock()
		return c.mem.inFlight["one"].waiters == 2
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	run(t, c)
	if err := <-ended; err != nil || value(t, db, "a") != "1" {
		t.Errorf("the second caller: %v, a is %s", err, value(t, db, "a"))
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
		time.Sleep(50 * time.Microsecond)
	}
}
