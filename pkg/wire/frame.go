package wire

import (
	"bufio"
	"errors"
	"io"
	"math/bits"
	"slices"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// AppendFrame appends the message in its frame: its length, then its bytes. A
// message of more than MaxFrame bytes is a *FrameError, and dst is returned
// as it was.
func AppendFrame(dst []byte, m Message) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, maxPrefix)...)
	dst = m.AppendTo(dst)
	n := len(dst) - start - maxPrefix
	if n > MaxFrame {
		return dst[:start], &FrameError{Length: uint64(n), Max: MaxFrame}
	}
	// The length is known only now: close the gap between it and the message.
	var prefix [maxPrefix]byte
	p := operation.AppendUvarint(prefix[:0], uint64(n))
	if gap := maxPrefix - len(p); gap > 0 {
		copy(dst[start+len(p):], dst[start+maxPrefix:])
		dst = dst[:len(dst)-gap]
	}
	copy(dst[start:], p)
	return dst, nil
}

// AppendOperationsFrame appends the frame of the message that AppendOperationsReply
// makes of the same parts. A message of more than MaxFrame bytes is a *FrameError, and
// dst is returned as it was.
func AppendOperationsFrame(dst []byte, id uint64, p mmr.Proof, count int, ops []byte, pins []mmr.Digest, hasPins bool) ([]byte, error) {
	n := operationsReplySize(p, count, ops, pins, hasPins)
	if n > MaxFrame {
		return dst, &FrameError{Length: uint64(n), Max: MaxFrame}
	}
	dst = slices.Grow(dst, maxPrefix+n)
	dst = operation.AppendUvarint(dst, uint64(n))
	return AppendOperationsReply(dst, id, p, count, ops, pins, hasPins), nil
}

// maxPrefix is the length in bytes of the longest length prefix of a frame
// that is not too large.
const maxPrefix = 4

// ReadFrameLen reads the length prefix of a frame. It returns io.EOF if the
// stream ends before it, io.ErrUnexpectedEOF if it ends within, a *FrameError
// if the number is not in its shortest form, wider than 32 bits or above
// MaxFrame, and any other error of r.
func ReadFrameLen(r io.ByteReader) (int, error) {
	var prefix [5]byte // enough for 32 bits
	n := 0
	for n < len(prefix) {
		b, err := r.ReadByte()
		if err != nil {
			if n > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		prefix[n] = b
		if n++; b < 0x80 {
			break
		}
	}
	v, _, err := operation.ReadUvarint(prefix[:n], 32)
	if err != nil {
		return 0, &FrameError{Reason: "length prefix is not a 32-bit number in its shortest form"}
	}
	if v > MaxFrame {
		return 0, &FrameError{Length: v, Max: MaxFrame}
	}
	return int(v), nil
}

// aheadOfData is how many bytes a declared length alone may allocate.
const aheadOfData = 64 << 10

// ReadFrame reads a whole frame of at most most bytes and returns its message,
// which lies in buf's memory if that is large enough. Memory grows with the
// bytes that arrive: a length that is declared but not delivered costs at most
// 64 KiB. Errors are those of ReadFrameLen; a stream that ends within the
// frame is io.ErrUnexpectedEOF.
func ReadFrame(r *bufio.Reader, buf []byte, most int) ([]byte, error) {
	n, err := ReadFrameLen(r)
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, &FrameError{Length: uint64(n), Max: most}
	}
	buf = buf[:0]
	for len(buf) < n {
		if len(buf) == cap(buf) {
			// Twice what has arrived, and the first step.
			grown := make([]byte, len(buf), min(n, aheadOfData+2*len(buf)))
			copy(grown, buf)
			buf = grown
		}
		have := len(buf)
		buf = buf[:min(n, cap(buf))]
		m, err := io.ReadFull(r, buf[have:])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		buf = buf[:have+m]
	}
	return buf, nil
}

// MaxAnswer is an upper bound in bytes of an honest, whole answer frame with
// ops operations against a log of size operations: exact up to a few proof
// digests in Fixed, the largest frame in Variable.
func MaxAnswer(c operation.Codec, size, ops uint64) int {
	const largest = maxPrefix + MaxFrame
	if c.Size() == 0 || ops > MaxOperations {
		return largest
	}
	// Subtrees before the range tile [0, start): at most one of each height.
	// Those after it tile [end, size): at most two of each height. Pins: one
	// of each height.
	const header, numbers = maxPrefix + 1 + 8, 2*10 + 3*2 + 1
	digests := 4 * bits.Len64(size)
	return min(largest, header+numbers+digests*mmr.DigestSize+int(ops)*c.Size())
}
