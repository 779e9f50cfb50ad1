package operation_test

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/operation"
)

func TestUvarint(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		bits int
		want uint64
		n    int // 0: refused
	}{
		{[]byte{0}, 32, 0, 1},
		{[]byte{0x7F, 9}, 32, 127, 1},
		{[]byte{0x80, 1}, 32, 128, 2},
		{[]byte{0x80, 0}, 32, 0, 0},       // not the shortest form
		{[]byte{0x80, 0x80, 0}, 64, 0, 0}, // neither
		{[]byte{}, 64, 0, 0},              // cut
		{[]byte{0x80}, 64, 0, 0},          // cut
		{[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F}, 32, math.MaxUint32, 5},
		{[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x10}, 32, 0, 0},    // 33 bits
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 1}, 32, 0, 0}, // a sixth byte
		{[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}, 64, math.MaxUint64, 10},
		{[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2}, 64, 0, 0},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x81, 0}, 64, 0, 0},
	} {
		v, n, err := operation.ReadUvarint(c.in, c.bits)
		if v != c.want || n != c.n || (err == nil) != (c.n > 0) || err != nil && !errors.Is(err, operation.ErrDecode) {
			t.Errorf("%x in %d bits: %d, %d bytes, %v", c.in, c.bits, v, n, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64().Draw(t, "v")
		b := operation.AppendUvarint(nil, v)
		if got, n, err := operation.ReadUvarint(b, 64); got != v || n != len(b) || err != nil {
			t.Fatalf("%d reads as %d, %d of %d bytes, %v", v, got, n, len(b), err)
		}
		if _, _, err := operation.ReadUvarint(b, 32); (err == nil) != (v <= math.MaxUint32) {
			t.Fatalf("%d in 32 bits: %v", v, err)
		}
	})
}
