// Package sha256x2 hashes many short messages, two at a time.
//
// The SHA instructions of x86 take four cycles for two rounds and could begin
// another two in the meantime, but the rounds of one message wait for each other.
// So a second message costs little, if its rounds stand between those
// of the first. crypto/sha256 has one message at hand. Libraries that hash several
// in parallel do so for messages of exactly 64 bytes, which ours are not, or want
// AVX-512 and a goroutine that collects them.
//
// It is not for a single message, and not for streams: those are crypto/sha256's,
// as is everything on other processors and with the build tag purego. The digests
// are the same.
package sha256x2

import (
	"crypto/fips140"
	"encoding/binary"
)

const (
	// Size is the length of a digest in bytes.
	Size = 32
	// MaxHead is the largest length of a head in bytes.
	MaxHead = blockSize - numberSize

	blockSize  = 64
	numberSize = 8
	lengthSize = 8
)

// initial is the state before the first block (FIPS 180-4 section 5.3.3). States
// are written as digests are: the one after the last block is the digest.
var initial = [Size]byte{
	0x6a, 0x09, 0xe6, 0x67, 0xbb, 0x67, 0xae, 0x85, 0x3c, 0x6e, 0xf3, 0x72, 0xa5, 0x4f, 0xf5, 0x3a,
	0x51, 0x0e, 0x52, 0x7f, 0x9b, 0x05, 0x68, 0x8c, 0x1f, 0x83, 0xd9, 0xab, 0x5b, 0xe0, 0xcd, 0x19,
}

// enabled is false where the processor lacks the instructions, and where nobody
// but Go's validated module may hash. Tests change it.
var enabled = supported() && !fips140.Enabled()

// Pairs stores digests of messages in dst, the first in front, and returns how
// many: all but one at most, or none where it is not enabled. The others are left
// to crypto/sha256.
//
// Message i is a number of eight bytes, big-endian, a head of at most MaxHead
// bytes and a body of any length. Messages are asked for in order, up to three
// ahead of the digest that is written next. A head has to stay as it is until the next
// message is asked for, a body until its digest is written. So dst may be the beginning
// of what the messages lie in, if message i begins at or behind the place of digest 2i.
func Pairs[D ~[Size]byte](dst []D, message func(i int) (number uint64, head, body []byte)) int {
	n := len(dst) &^ 1
	if !enabled || n == 0 {
		return 0
	}
	// A pair is written before the one in front of it is hashed. The processor
	// would otherwise wait for bytes that it reads in other pieces than it has just
	// written them in: a sixth of the time.
	var memory [2]pair
	now, next := &memory[0], &memory[1]
	var h [2][Size]byte
	now[0].set(message(0))
	now[1].set(message(1))
	for i := 0; i < n; i += 2 {
		if i+2 < n {
			next[0].set(message(i + 2))
			next[1].set(message(i + 3))
		}
		h[0], h[1] = initial, initial
		now.sum(&h)
		dst[i], dst[i+1] = D(h[0]), D(h[1])
		now, next = next, now
	}
	return n
}

// lane is a message as it is hashed: the first block of edge, the blocks of
// middle, and the rest of edge.
type lane struct {
	edge   [3 * blockSize]byte // the beginning, and the end with its padding
	end    int                 // of edge
	middle []byte              // whole blocks of a long body, where the caller has it
	size   int                 // of the message
}

func (l *lane) set(number uint64, head, body []byte) {
	if len(head) > MaxHead {
		panic("sha256x2: the head of a message is too long")
	}
	binary.BigEndian.PutUint64(l.edge[:], number)
	at := numberSize + copy(l.edge[numberSize:], head)
	size := at + len(body)
	l.middle = nil
	if size >= 2*blockSize {
		n := copy(l.edge[at:blockSize], body)
		whole := (size - blockSize) &^ (blockSize - 1)
		l.middle, body = body[n:n+whole], body[n+whole:]
		at = blockSize
	}
	at += copy(l.edge[at:], body)
	if size == l.size {
		return // the padding stands where it stood
	}
	// A one, zeros, and the length in bits (FIPS 180-4 section 5.1.1).
	l.size, l.end = size, (at+1+lengthSize+blockSize-1)&^(blockSize-1)
	l.edge[at] = 0x80
	clear(l.edge[at+1 : l.end-lengthSize])
	binary.BigEndian.PutUint64(l.edge[l.end-lengthSize:], uint64(size)*8)
}

type pair [2]lane

// sum goes on from the states h with both messages.
func (p *pair) sum(h *[2][Size]byte) {
	a, b := &p[0], &p[1]
	if len(a.middle) == 0 && len(b.middle) == 0 {
		compress(h, a.edge[:a.end], b.edge[:b.end])
		return
	}
	compress(h, a.edge[:blockSize], b.edge[:blockSize])
	compress(h, a.middle, b.middle)
	compress(h, a.edge[blockSize:a.end], b.edge[blockSize:b.end])
}

// compress goes on from the states h with the whole blocks a of one message and
// b of the other.
func compress(h *[2][Size]byte, a, b []byte) {
	n := min(len(a), len(b))
	if n > 0 {
		blocks(h, &a[0], &b[0], n/blockSize)
	}
	if a = a[n:]; len(a) > 0 {
		alone(&h[0], a)
	}
	if b = b[n:]; len(b) > 0 {
		alone(&h[1], b)
	}
}

// alone goes on with one message, twice at once: that takes as long as once.
func alone(h *[Size]byte, p []byte) {
	both := [2][Size]byte{*h, *h}
	blocks(&both, &p[0], &p[0], len(p)/blockSize)
	*h = both[0]
}
