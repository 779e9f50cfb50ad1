package serve

import "testing"

func TestBuffersHaveRoomAndLargeOnesAreNotKept(t *testing.T) {
	var p bufferPool
	for _, n := range []int{0, 1, 255, 256, 257, 4096, 1<<maxBufferBits - 1, 1 << maxBufferBits, 1<<maxBufferBits + 1, 5 << 20, 3 << 21} {
		b := p.get(n)
		if len(*b) != 0 || cap(*b) < n {
			t.Errorf("get(%d): %d bytes, room for %d", n, len(*b), cap(*b))
		}
		if kept := 2 * max(n, 1<<minBufferBits); n <= 1<<maxBufferBits && cap(*b) > kept {
			t.Errorf("get(%d): room for %d, more than %d", n, cap(*b), kept)
		}
		*b = append(*b, make([]byte, n)...)
		p.put(b)
	}
	for i := range p.classes {
		for {
			b, ok := p.classes[i].Get().(*[]byte)
			if !ok {
				break
			}
			if least := 1 << (minBufferBits + i); cap(*b) < least || cap(*b) > 1<<maxBufferBits {
				t.Errorf("class %d keeps a buffer of %d bytes", i, cap(*b))
			}
		}
	}
}
