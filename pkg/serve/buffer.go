package serve

import (
	"math/bits"
	"sync"
)

// Reply buffers come in powers of two between these. The smallest holds a
// target or an error, the largest that is kept a reply of 10,000 fixed
// operations; what needs more is left to the garbage collector, so that one
// large reply does not hold its memory for ever.
const (
	minBufferBits = 8
	maxBufferBits = 20
)

// bufferPool recycles the memory of replies. The zero value is ready.
type bufferPool struct {
	classes [maxBufferBits - minBufferBits + 1]sync.Pool // of *[]byte with capacity 1<<(minBufferBits+i)
}

// class is the index of the smallest class whose buffers hold n bytes.
func class(n int) int { return max(bits.Len(uint(max(n, 1)-1))-minBufferBits, 0) }

// get returns an empty buffer with room for n bytes. Whoever holds it owns it.
func (p *bufferPool) get(n int) *[]byte {
	c := class(n)
	if c >= len(p.classes) {
		b := make([]byte, 0, n)
		return &b
	}
	if b, ok := p.classes[c].Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, 1<<(minBufferBits+c))
	return &b
}

// put takes a buffer back; the caller must not touch its bytes any more.
// A buffer that has grown goes to the largest class it can serve.
func (p *bufferPool) put(b *[]byte) {
	c := bits.Len(uint(cap(*b))) - 1 - minBufferBits
	if c < 0 || cap(*b) > 1<<maxBufferBits {
		return
	}
	p.classes[c].Put(b)
}
