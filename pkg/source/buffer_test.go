package source

import (
	"testing"

	"github.com/proofsync/proofsync/pkg/wire"
)

// What an answer holds is counted by its length.
func TestSmallFrameDoesNotHoldALargeBuffer(t *testing.T) {
	var p bufferPool
	for range 100 { // a pool may drop what it is given
		p.put(make([]byte, 0, wire.MaxFrame))
		p.put(make([]byte, 0, firstStep))
		for _, n := range []int{1, 2, 100, 4096, 4097, firstStep, firstStep + 1, wire.MaxFrame} {
			if buf := p.get(n); len(buf) != 0 || cap(buf) >= 2*n && cap(buf) > 1 {
				t.Fatalf("%d bytes for a frame of %d", cap(buf), n)
			}
		}
	}
}

func TestBuffersAreUsedAgain(t *testing.T) {
	var p bufferPool
	for range 1000 {
		p.put(make([]byte, 0, 3000))
		if cap(p.get(4000)) == 3000 {
			return
		}
	}
	t.Error("never")
}
