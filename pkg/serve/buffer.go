package serve

import (
	"math/bits"
	"sync"
)

// Reply buffers come in powers of two between these. The smallest holds a
// target or an error, the largest that is kept the operations of the largest reply by
// default; what needs more is left to the garbage collector.
const (
	minBufferBits = 8
	maxBufferBits = 22
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

// fit returns the bytes of b in a buffer that is not several times as large, as refusals
// need less than what was asked for: what a reply holds while it waits for its peer is
// about what is counted. Whoever holds the result owns it; b is gone.
func (p *bufferPool) fit(b *[]byte) *[]byte {
	if cap(*b) <= 4<<minBufferBits || cap(*b) <= 4*len(*b) {
		return b
	}
	small := p.get(len(*b))
	*small = append(*small, *b...)
	p.put(b)
	return small
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
