package source

import (
	"bufio"
	"io"
	"math/bits"
	"sync"
)

// firstStep is how much is allocated for a frame on the word of its length
// prefix alone, in bytes; beyond it, memory grows as bytes arrive. A connection
// reads one frame at a time, and gives this much only to the answer of a request for
// operations, and no more than that allows: a peer that stalls holds it until its deadline.
// An answer of 10,000 fixed operations comes into memory of its size at once, which
// spares copies.
const firstStep = 768 << 10

// bufferPool keeps frame buffers for reuse. They are in use only between the
// arrival of a frame and Answer.Release, so their number is bounded by the
// requests under way. Buffers are kept by the power of two above their
// capacity, so that an answer never holds twice its length or more: callers
// count the memory of answers by their length.
type bufferPool struct {
	classes [bufferClasses]sync.Pool // of *[]byte; class k has capacities above 1<<(k-1), up to 1<<k
}

const bufferClasses = 25 // 1<<24 is above wire.MaxFrame

// bufferClass is the class of capacity n, which is positive.
func bufferClass(n int) int { return bits.Len(uint(n - 1)) }

// get returns an empty buffer of less than 2n bytes for a frame of n bytes;
// one that was used before may be too small by less than a half.
func (p *bufferPool) get(n int) []byte {
	if v, ok := p.classes[bufferClass(n)].Get().(*[]byte); ok {
		return (*v)[:0]
	}
	return make([]byte, 0, min(n, firstStep))
}

func (p *bufferPool) put(buf []byte) {
	if n := cap(buf); n > 0 && bufferClass(n) < bufferClasses {
		p.classes[bufferClass(n)].Put(&buf)
	}
}

// readBody reads exactly n bytes into buf, which it grows at most to twice of
// what has arrived.
func readBody(r *bufio.Reader, buf []byte, n int) ([]byte, error) {
	buf = buf[:0]
	for len(buf) < n {
		have := len(buf)
		if cap(buf) == have {
			grown := make([]byte, have, min(n, max(2*have, firstStep)))
			copy(grown, buf)
			buf = grown
		}
		end := min(n, cap(buf))
		buf = buf[:end]
		if got, err := io.ReadFull(r, buf[have:end]); err != nil {
			return buf[:have+got], err
		}
	}
	return buf, nil
}
