package vectors

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Arbitrary reads values from the endless stream of bytes that a seed stands
// for, as the conformance tests of the format read them: ChaCha8 under a key
// expanded from the seed.
type Arbitrary struct {
	key     [8]uint32
	counter uint64
	block   [64]byte
	used    int // bytes of block
}

// NewArbitrary returns the stream of a seed.
func NewArbitrary(seed uint64) *Arbitrary {
	a := &Arbitrary{used: 64}
	for i := range a.key { // one step of PCG32 for each word
		seed = seed*6364136223846793005 + 11634580027462260723
		a.key[i] = bits.RotateLeft32(uint32((seed>>18^seed)>>27), -int(seed>>59))
	}
	return a
}

func quarter(a, b, c, d *uint32) {
	*a += *b
	*d = bits.RotateLeft32(*d^*a, 16)
	*c += *d
	*b = bits.RotateLeft32(*b^*c, 12)
	*a += *b
	*d = bits.RotateLeft32(*d^*a, 8)
	*c += *d
	*b = bits.RotateLeft32(*b^*c, 7)
}

func (a *Arbitrary) refill() {
	start := [16]uint32{0x61707865, 0x3320646E, 0x79622D32, 0x6B206574}
	copy(start[4:], a.key[:])
	start[12], start[13] = uint32(a.counter), uint32(a.counter>>32)
	x := start
	for range 4 { // double rounds
		for i := range 4 {
			quarter(&x[i], &x[4+i], &x[8+i], &x[12+i])
		}
		for i := range 4 {
			quarter(&x[i], &x[4+(i+1)%4], &x[8+(i+2)%4], &x[12+(i+3)%4])
		}
	}
	for i := range x {
		binary.LittleEndian.PutUint32(a.block[4*i:], x[i]+start[i])
	}
	a.counter++
	a.used = 0
}

func (a *Arbitrary) byte() byte {
	if a.used == len(a.block) {
		a.refill()
	}
	a.used++
	return a.block[a.used-1]
}

// Take is the next n bytes.
func (a *Arbitrary) Take(n int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; {
		if a.used == len(a.block) {
			a.refill()
		}
		m := copy(b[at:], a.block[a.used:])
		at += m
		a.used += m
	}
	return b
}

// Bool takes one byte.
func (a *Arbitrary) Bool() bool { return a.byte()&1 == 1 }

// Uint64 takes eight bytes.
func (a *Arbitrary) Uint64() uint64 { return binary.LittleEndian.Uint64(a.Take(8)) }

// Between is a number from low to high, both included. It takes as many bytes
// as the span needs.
func (a *Arbitrary) Between(low, high uint64) uint64 {
	span := high - low
	if span == 0 {
		return low
	}
	var n uint64
	for used := 0; used < 8 && span>>(8*used) > 0; used++ {
		n = n<<8 | uint64(a.byte())
	}
	if span+1 == 0 {
		return low + n
	}
	return low + n%(span+1)
}

// Digest is the hash of 0 to 256 bytes.
func (a *Arbitrary) Digest() Digest {
	n := int(a.Between(0, 256))
	return sha256.Sum256(a.Take(n))
}

// Bytes is a byte string; each byte follows a Bool that says that it is there.
func (a *Arbitrary) Bytes() []byte {
	b := []byte{}
	for a.Bool() {
		b = append(b, a.byte())
	}
	return b
}
