package bench

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// The workload: key n and its values follow from numbers alone, so that every
// process knows what has to be there without being told.

// keyBytes is the length of keys in both encodings.
const keyBytes = operation.ItemSize

// absentKeys is where the numbers of keys begin that are never written.
const absentKeys = 1 << 48

// What random bytes are for.
const (
	seedKey   = 1
	seedValue = 2 // and up, by version
)

func fillRandom(dst []byte, seed, n uint64) {
	var r rand.PCG
	r.Seed(seed, n)
	for len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, r.Uint64())
		dst = dst[8:]
	}
	if len(dst) > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], r.Uint64())
		copy(dst, last[:])
	}
}

// appendKey appends key n.
func appendKey(dst []byte, n uint64) []byte {
	dst = append(dst, make([]byte, keyBytes)...)
	fillRandom(dst[len(dst)-keyBytes:], seedKey, n)
	return dst
}

// appendValue appends the value that key n has in a version; 0 is the first.
func appendValue(dst []byte, n, version uint64, size int) []byte {
	dst = append(dst, make([]byte, size)...)
	fillRandom(dst[len(dst)-size:], seedValue+version, n)
	return dst
}

// writer makes batches; it reuses its memory.
type writer struct {
	valueBytes int
	buf        []byte
	writes     []database.Write
}

// batch are the writes of count keys, the i-th of which is number(i). It is valid
// until the next one.
func (w *writer) batch(count int, version uint64, number func(i int) uint64) []database.Write {
	each := keyBytes + w.valueBytes
	if cap(w.buf) < count*each {
		w.buf = make([]byte, 0, count*each)
		w.writes = make([]database.Write, 0, count)
	}
	b, writes := w.buf[:0], w.writes[:0]
	for i := range count {
		n, at := number(i), len(b)
		b = appendValue(appendKey(b, n), n, version, w.valueBytes)
		writes = append(writes, database.Write{Key: b[at : at+keyBytes], Value: b[at+keyBytes:]})
	}
	return writes
}

// fillBatch is how many writes a commit of prepared and imported data has:
// importer.DefaultBatchSize, or less where values are so large that a batch
// would not fit into a modest process.
func fillBatch(valueBytes int) int { return within(64<<20, valueBytes, 10_000) }

// within is how many writes fit into so many bytes, at most most.
func within(bytes, valueBytes, most int) int {
	return max(1, min(most, bytes/(keyBytes+valueBytes)))
}

// shuffle is a fixed permutation of the numbers below n that looks random to
// whoever reads in order: neighbours are far apart.
type shuffle struct{ n, step uint64 }

func newShuffle(n uint64) shuffle {
	step := uint64(0x9e3779b97f4a7c15) % n
	for gcd(step, n) != 1 {
		step++
	}
	return shuffle{n, step}
}

// at is the i-th number, i of any size.
func (s shuffle) at(i uint64) uint64 {
	hi, lo := bits.Mul64(i%s.n, s.step)
	_, rest := bits.Div64(hi, lo, s.n)
	return rest
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
