package operation

import (
	"encoding/binary"
	"math/bits"
)

// AppendUvarint appends v as an unsigned LEB128 varint in its shortest form.
func AppendUvarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

// ReadUvarint reads an unsigned LEB128 varint of at most this many bits (32
// or 64) from the front of b and returns it with the number of bytes it took.
// Longer forms than the shortest, wider numbers and missing bytes are a
// *DecodeError.
func ReadUvarint(b []byte, width int) (v uint64, n int, err error) {
	if len(b) > 0 && b[0] < 0x80 { // nearly all of them
		return uint64(b[0]), 1, nil
	}
	for shift := 0; n < len(b); shift += 7 {
		x := b[n]
		if x == 0 && n > 0 {
			return 0, 0, &DecodeError{Offset: n, Reason: "varint not in its shortest form"}
		}
		// In the last byte that fits, neither a bit beyond the width nor a
		// continuation is left room for.
		if room := width - shift; room < 8 && bits.Len8(x) > room {
			return 0, 0, &DecodeError{Offset: n, Reason: "varint too wide"}
		}
		v |= uint64(x&0x7F) << shift
		n++
		if x < 0x80 {
			return v, n, nil
		}
	}
	return 0, 0, &DecodeError{Offset: n, Reason: "varint cut short"}
}

// UvarintLen is the length in bytes of what AppendUvarint appends.
func UvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
