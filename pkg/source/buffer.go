package source

import (
	"bufio"
	"io"
	"sync"
)

// firstStep is how much is allocated for a frame on the word of its length
// prefix alone, in bytes; beyond it, memory grows as bytes arrive.
const firstStep = 64 << 10

// bufferPool keeps frame buffers for reuse. They are in use only between the
// arrival of a frame and Answer.Release, so their number is bounded by the
// requests under way.
type bufferPool struct{ pool sync.Pool }

// get returns an empty buffer, with room for n bytes if a used one happens to have it.
func (p *bufferPool) get(n int) []byte {
	if v, ok := p.pool.Get().(*[]byte); ok {
		return (*v)[:0]
	}
	return make([]byte, 0, min(n, firstStep))
}

func (p *bufferPool) put(buf []byte) {
	if cap(buf) > 0 {
		p.pool.Put(&buf)
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
