package wire_test

import (
	"math"
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestTheLongestPushIsAsLongAsSaid(t *testing.T) {
	m := &wire.TargetPush{ID: math.MaxUint64, Features: math.MaxUint64, Target: wire.Target{Start: mmr.MaxLeaves - 1, End: mmr.MaxLeaves}}
	if n := len(m.AppendTo(nil)); n > wire.MaxPush || n < wire.MaxPush-1 { // the largest start takes a byte less
		t.Errorf("%d bytes, said to be at most %d", n, wire.MaxPush)
	}
}

// A program that knows the protocol only as published drops these frames: their
// tags must be none of its own.
func TestExtensionsHaveTagsOfTheirOwn(t *testing.T) {
	for tag := range 256 {
		_, err := wire.Decode(append([]byte{byte(tag)}, make([]byte, 8+8+4+32)...), codecs["any/fixed"])
		if own := wire.Extension(byte(tag)); own != (tag >= 0xc0 && tag <= 0xc1) || own && err == nil {
			t.Errorf("tag %d: extension %t, %v", tag, own, err)
		}
	}
}
