package generator

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// largestValue bounds generated values in the variable encoding, in bytes.
const largestValue = 128

// writes returns the n writes, all of different keys, of the batch that is
// applied to a log of size operations. It depends on its arguments alone: a
// generator that is stopped and started again goes on as if it had not been.
func writes(c operation.Codec, seed, size uint64, n int) []database.Write {
	rng := rand.New(rand.NewChaCha8(digest("batch", seed, size)))
	out := make([]database.Write, 0, n)
	drawn := make(map[uint64]bool, n)
	for i := range uint64(n) {
		// A location is never used twice, so neither is the number of an immutable key.
		number := size + i
		if c.Family() == operation.Any {
			// Numbers are drawn from a space that grows with the log, so that some
			// keys are new and some exist already.
			space := 2*size + 4*uint64(n)
			for number = rng.Uint64N(space); drawn[number]; {
				number = rng.Uint64N(space)
			}
			drawn[number] = true
		}
		out = append(out, database.Write{Key: key(c, seed, number), Value: value(c, rng)})
	}
	return out
}

func key(c operation.Codec, seed, number uint64) []byte {
	d := digest("key", seed, number)
	if c.Encoding() == operation.Fixed {
		return d[:]
	}
	return append([]byte("demo/"), hex.EncodeToString(d[:8])...)
}

func value(c operation.Codec, rng *rand.Rand) []byte {
	n := sha256.Size
	if c.Encoding() == operation.Variable {
		n = rng.IntN(largestValue + 1)
	}
	b := make([]byte, (n+7)/8*8)
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b[:n]
}

// digest derives independent values from the seed.
func digest(use string, seed, n uint64) [sha256.Size]byte {
	b := append(make([]byte, 0, 64), "proofsync demonstration "...)
	b = append(append(b, use...), 0)
	b = binary.BigEndian.AppendUint64(b, seed)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, n))
}
