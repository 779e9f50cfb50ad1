package syncer_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/space"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/syncer"
)

const mib = 1 << 20

// narrow is a client on a volume whose free space a test sets; 100 MiB of it
// have to stay free.
func narrow(t *testing.T, c operation.Codec, o syncer.Options, free *atomic.Int64, addr string) *client {
	t.Helper()
	cl := &client{fs: store.MemFS(), logs: new(logs), addr: []string{addr}, o: o}
	cl.room = space.New(space.Options{
		Floor: space.Floor{Bytes: 100 * mib}, Interval: 5 * time.Millisecond,
		Measure: func() (space.Usage, error) { return space.Usage{Free: uint64(free.Load()), Total: 1 << 40}, nil },
	})
	cl.start(t, c)
	t.Cleanup(func() { cl.stop(t) })
	return cl
}

func TestAColdSyncThatDoesNotFitWaitsForRoomBeforeItBegins(t *testing.T) {
	for _, c := range sourcetest.Codecs[:2] {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			db := sourcetest.Writer(t, c)
			sourcetest.Commit(t, db, 1, 8, 5000)
			var free atomic.Int64
			free.Store(101 * mib)
			cl := narrow(t, c, syncer.Options{BatchSize: 5000}, &free, startServer(t, db, serve.Options{}))
			stop := cl.run(t)
			until(t, "paused", func() bool { return cl.Status().Phase == syncer.PhasePaused })
			want := "a sync of 40008 operations needs about "
			if err := cl.Status().Paused; err == nil || c.Size() > 0 && !strings.HasPrefix(err.Error(), want) {
				t.Errorf("paused: %v, want %q", err, want)
			}
			if err := cl.room.Check(); err == nil {
				t.Error("ready while paused")
			}
			// The target moves: what is needed is told anew.
			if c.Size() > 0 {
				sourcetest.Commit(t, db, 2, 1, 5000)
				until(t, "a new estimate", func() bool {
					err := cl.Status().Paused
					return err != nil && !strings.HasPrefix(err.Error(), want)
				})
				if l := cl.db.Loads(); l.Staged {
					t.Errorf("began all the same: %+v", l)
				}
			}
			free.Store(1 << 30)
			until(t, "synced", func() bool { return cl.Status().Phase == syncer.PhaseWaiting })
			stop()
			equal(t, db, cl.db)
			if n := cl.logs.count("sync is paused until there is space"); n != 1 {
				t.Errorf("said %d times that the sync is paused\n%s", n, cl.logs)
			}
			if n := cl.logs.count("sync estimated"); n != 1 {
				t.Errorf("%d estimates\n%s", n, cl.logs)
			}
			if err := cl.room.Check(); err != nil {
				t.Errorf("not ready after the pause: %v", err)
			}
		})
	}
}

func TestASyncPausesWhenTheDiskFillsAndGoesOnWhereItWas(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 2, 100)
	var free atomic.Int64
	free.Store(1 << 30)
	cl := narrow(t, anyFixed, syncer.Options{BatchSize: 50, SyncInterval: 5 * time.Millisecond}, &free, startServer(t, db, serve.Options{}))
	stop := cl.run(t)
	until(t, "synced", func() bool { return cl.Status().Phase == syncer.PhaseWaiting })
	first := cl.Status().Size

	free.Store(99 * mib)
	time.Sleep(100 * time.Millisecond) // a measurement is believed for as long
	sourcetest.Commit(t, db, 2, 2, 100)
	until(t, "paused", func() bool { return cl.Status().Phase == syncer.PhasePaused })
	time.Sleep(50 * time.Millisecond)
	if s := cl.Status(); s.Size != first || s.Failures != 0 {
		t.Errorf("while paused: %+v", s)
	}
	v, err := cl.db.View()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(sourcetest.Digest(1, 7)); err != nil {
		t.Errorf("reading while paused: %v", err)
	}
	v.Close()
	free.Store(105 * mib) // above the floor, below the mark for going on
	time.Sleep(50 * time.Millisecond)
	if p := cl.Status().Phase; p != syncer.PhasePaused {
		t.Errorf("phase %s just above the floor", p)
	}
	free.Store(1 << 30)
	until(t, "synced", func() bool { return cl.Status().Size > first })
	stop()
	equal(t, db, cl.db)
}

func TestOnceNamesTheFullDiskWhenItsTimeIsOver(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	var free atomic.Int64
	cl := narrow(t, anyFixed, syncer.Options{Once: true}, &free, startServer(t, db, serve.Options{}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := cl.Run(ctx)
	if low := (*space.LowError)(nil); !errors.As(err, &low) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run: %v", err)
	}
}
