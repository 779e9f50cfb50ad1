package main

import (
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/fsck"
)

func TestProgressIsALineNowAndThenWhereNobodyLooksOn(t *testing.T) {
	var out strings.Builder
	l := newProgressLines(&out)
	p := fsck.Progress{Generation: 3, Task: fsck.Checking, Done: 500, Total: 1000, Elapsed: 2 * time.Second}
	l.show(p)
	if out.Len() > 0 {
		t.Errorf("at once: %q", out.String())
	}
	l.last = time.Now().Add(-quietProgress)
	l.show(p)
	l.show(p)
	if want := "generation 3: checking, 500 of 1000 operations, 250 a second, 2s left\n"; out.String() != want {
		t.Errorf("%q, not %q", out.String(), want)
	}
}
