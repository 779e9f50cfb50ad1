package syncer

import (
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
)

// Room is made in advance for the outcome of every request that may be under way.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	for asked, want := range map[int]int{0: maxOutstanding, 1: 1, 1000: 1000, 1_000_000: mostOutstanding} {
		o := Options{MaxOutstanding: asked}.withDefaults("")
		if w := newWindow(operation.NewCodec(operation.Any, operation.Fixed), o); w.most != want {
			t.Errorf("up to %d requests with %d asked for, want %d", w.most, asked, want)
		}
	}
}
