package vectors

import (
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Conformance is a published hash: SHA-256 over LE64(length) || bytes of the
// cases of the seeds 0 to Cases-1.
type Conformance struct {
	Name  string
	Cases int    `json:"n_cases"`
	Hash  Digest `json:"hash"`
}

// Published is the published hash whose name has this suffix; exactly one has.
func Published(tb TB, suffix string) Conformance {
	tb.Helper()
	var all map[string]Conformance
	if err := decodeDatabaseFile("conformance", &all); err != nil {
		tb.Fatalf("%v", err)
	}
	var found []Conformance
	for name, c := range all {
		if strings.HasSuffix(name, suffix) {
			c.Name = name
			found = append(found, c)
		}
	}
	if len(found) != 1 || found[0].Cases == 0 {
		tb.Fatalf("%d published hashes are named …%s, exactly one expected", len(found), suffix)
	}
	return found[0]
}

// Check makes the cases of all seeds, on all processors at once, and fails the
// test if their hash is another one. makeCase appends the bytes of a case to
// dst; it is called concurrently.
func (c Conformance) Check(tb TB, makeCase func(dst []byte, seed uint64) []byte) {
	tb.Helper()
	const perChunk = 64
	chunks := make([][]byte, (c.Cases+perChunk-1)/perChunk)
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				var out []byte
				for seed := i * perChunk; seed < min((i+1)*perChunk, c.Cases); seed++ {
					start := len(out)
					out = makeCase(append(out, make([]byte, 8)...), uint64(seed))
					binary.LittleEndian.PutUint64(out[start:], uint64(len(out)-start-8))
				}
				chunks[i] = out
			}
		})
	}
	for i := range chunks {
		next <- i
	}
	close(next)
	workers.Wait()
	h := sha256.New()
	for _, b := range chunks {
		h.Write(b)
	}
	if got := Digest(h.Sum(nil)); got != c.Hash {
		tb.Fatalf("%s: hash of %d cases is %x, published is %x", c.Name, c.Cases, got, c.Hash)
	}
}

func key(i uint64) []byte {
	d := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
	return d[:]
}

func value(i, salt uint64) []byte {
	d := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, i), salt+1))
	return d[:]
}

// colliding keys share all but their last bytes with each other.
func colliding(prefix byte, i uint64) []byte {
	k := make([]byte, 24, 32)
	k[0] = prefix
	return binary.BigEndian.AppendUint64(k, 10000+i)
}

func puts(first, end uint64, key func(uint64) []byte, salt uint64) []Write {
	var ws []Write
	for i := first; i < end; i++ {
		ws = append(ws, Write{Key: key(i), Value: value(i, salt)})
	}
	return ws
}

// KeyedBatches are the four batches, without metadata, that the published
// roots of any and current databases are made with, for one seed. Keys and
// values have 32 bytes; in the variable encoding, too, they are written without
// their length there.
func KeyedBatches(seed uint64) [][]Write {
	n := seed%50 + 5
	collide := func(i uint64) []byte { return colliding(byte(seed), i) }
	gone := func(i uint64) bool { return (seed^i)%5 == 0 }
	second := puts(0, n, key, 2)
	for i := range second {
		if gone(uint64(i)) {
			second[i] = Write{Key: second[i].Key, Delete: true}
		}
	}
	var third []Write
	for i := range n {
		if gone(i) {
			third = append(third, Write{Key: key(i), Value: value(i, 3)})
		}
	}
	last := puts(0, n/2, collide, 6)
	for i := 1; i < len(last); i += 2 {
		last[i] = Write{Key: last[i].Key, Delete: true}
	}
	return [][]Write{
		puts(0, n, key, 1),
		second,
		append(third, puts(0, n/2, collide, 4)...),
		slices.Concat(puts(0, n, key, 5), last),
	}
}

// ImmutableBatches are the three batches, without metadata and with floor 0,
// that the published roots of immutable databases are made with, for one
// seed. Items are those of KeyedBatches.
func ImmutableBatches(seed uint64) [][]Write {
	n := seed%30 + 5
	collide := func(i uint64) []byte { return colliding(byte(seed), i) }
	return [][]Write{puts(0, n, key, 1), puts(n, 2*n, key, 2), puts(0, n/2, collide, 3)}
}
