package fsck_test

import (
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestProgressEndsWithEverythingDone(t *testing.T) {
	fs := store.MemFS()
	write(t, fs, "db", operation.NewCodec(operation.Any, operation.Fixed), 300, 20_000)
	var last fsck.Progress
	r, err := fsck.Check(t.Context(), "db", fsck.Options{FS: fs, Progress: func(p fsck.Progress) {
		if p.Done < last.Done || p.Elapsed < last.Elapsed {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := r.Generations[0].Operations; last.Done != want || last.Total != want || last.Task != fsck.Checking || last.Rate() <= 0 || last.Left() != 0 {
		t.Errorf("%+v of %d operations, %f a second, %s left", last, want, last.Rate(), last.Left())
	}
}

func TestProgressTellsRateAndTimeLeft(t *testing.T) {
	half := fsck.Progress{Done: 500, Total: 1000, Elapsed: 2 * time.Second}
	if half.Rate() != 250 || half.Left() != 2*time.Second {
		t.Errorf("%f a second, %s left", half.Rate(), half.Left())
	}
	if none := (fsck.Progress{Total: 1000}); none.Rate() != 0 || none.Left() != 0 {
		t.Errorf("nothing done: %f a second, %s left", none.Rate(), none.Left())
	}
}
