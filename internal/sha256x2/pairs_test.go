package sha256x2

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

type message struct {
	number     uint64
	head, body []byte
}

func (m message) sha256() [Size]byte {
	return sha256.Sum256(slices.Concat(binary.BigEndian.AppendUint64(nil, m.number), m.head, m.body))
}

func needPairs(t testing.TB) {
	if !enabled {
		t.Skip("this processor or build has no SHA instructions, or Go is in FIPS mode")
	}
}

// check hashes messages and compares every digest with crypto/sha256. Heads are
// overwritten as soon as they may be.
func check(t *testing.T, messages []message) {
	t.Helper()
	var head [MaxHead]byte
	dst := make([][Size]byte, len(messages))
	n := Pairs(dst, func(i int) (uint64, []byte, []byte) {
		m := messages[i]
		for j := copy(head[:], m.head); j < len(head); j++ {
			head[j]++
		}
		return m.number, head[:len(m.head)], m.body
	})
	if want := len(messages) &^ 1; n != want {
		t.Fatalf("%d of %d messages are hashed, want %d", n, len(messages), want)
	}
	for i, m := range messages[:n] {
		if want := m.sha256(); dst[i] != want {
			t.Fatalf("message %d of %d, a head of %d and a body of %d bytes beside %d and %d:\n%x, want\n%x",
				i, n, len(m.head), len(m.body), len(messages[i^1].head), len(messages[i^1].body), dst[i], want)
		}
	}
}

// source makes messages out of random bytes.
type source struct {
	rng  *rand.Rand
	data []byte
}

func newSource(size int) *source {
	s := &source{rand.New(rand.NewPCG(7, 8)), make([]byte, size)}
	for i := range s.data {
		s.data[i] = byte(s.rng.Uint32())
	}
	return s
}

// bytes are n bytes from anywhere, at an address that is a multiple of nothing.
func (s *source) bytes(n int) []byte {
	at := s.rng.IntN(len(s.data) - n + 1)
	return s.data[at : at+n : at+n]
}

func (s *source) message(head, body int) message {
	return message{s.rng.Uint64(), s.bytes(head), s.bytes(body)}
}

func TestEveryLengthInBothLanes(t *testing.T) {
	needPairs(t)
	s := newSource(4096)
	for n := range 301 {
		for _, other := range []int{n, n + 1, n + 63, 300 - n, s.rng.IntN(301)} {
			check(t, []message{s.message(0, n), s.message(0, other)})
			check(t, []message{s.message(0, other), s.message(0, n)})
			check(t, []message{s.message(s.rng.IntN(MaxHead+1), n), s.message(s.rng.IntN(MaxHead+1), other)})
		}
	}
}

func TestEveryLengthOfAHead(t *testing.T) {
	needPairs(t)
	s := newSource(4096)
	for n := range MaxHead + 1 {
		for body := range 200 {
			check(t, []message{s.message(n, body), s.message(MaxHead-n, body)})
		}
	}
}

func TestLongMessages(t *testing.T) {
	needPairs(t)
	s := newSource(1 << 20)
	for range 100 {
		check(t, []message{
			s.message(0, s.rng.IntN(100_000)), s.message(3, s.rng.IntN(100_000)),
			s.message(0, s.rng.IntN(100_000)), s.message(0, s.rng.IntN(100)),
		})
	}
	check(t, []message{s.message(0, 1<<20), s.message(0, 1<<20-1)})
}

// What a message leaves in memory must not show in the next: many after one
// another, some of the same length, in long and short runs.
func TestManyMessages(t *testing.T) {
	needPairs(t)
	s := newSource(4096)
	for count := range 40 {
		for range 50 {
			sizes := []int{s.rng.IntN(1000), s.rng.IntN(200), s.rng.IntN(60), 64}
			var messages []message
			for range count {
				messages = append(messages, s.message(s.rng.IntN(3)*16, sizes[s.rng.IntN(len(sizes))]))
			}
			check(t, messages)
		}
	}
}

// A level of a tree may be hashed into the beginning of the one below it.
func TestDigestsMayReplaceWhatWasHashed(t *testing.T) {
	needPairs(t)
	s := newSource(64 * Size)
	row := make([][Size]byte, 64)
	for i := range row {
		row[i] = [Size]byte(s.data[i*Size:])
	}
	var want [][Size]byte
	for i := range 32 {
		want = append(want, message{uint64(i), row[2*i][:], row[2*i+1][:]}.sha256())
	}
	Pairs(row[:32], func(i int) (uint64, []byte, []byte) { return uint64(i), row[2*i][:], row[2*i+1][:] })
	if !slices.Equal(row[:32], want) {
		t.Fatal("digests differ")
	}
}

func TestMessagesAreAskedForOnceAndInOrder(t *testing.T) {
	needPairs(t)
	for count := range 9 {
		untouched := [Size]byte{1, 2, 3}
		dst := make([][Size]byte, count)
		for i := range dst {
			dst[i] = untouched
		}
		asked := 0
		n := Pairs(dst, func(i int) (uint64, []byte, []byte) {
			if i != asked {
				t.Fatalf("message %d is asked for, want %d", i, asked)
			}
			asked++
			return 0, nil, nil
		})
		if n != asked || n != count&^1 {
			t.Fatalf("%d digests of %d messages, %d were asked for", n, count, asked)
		}
		if n < count && dst[n] != untouched {
			t.Fatalf("digest %d was written", n)
		}
	}
}

func TestWithoutTheInstructionsNothingIsHashed(t *testing.T) {
	was := enabled
	enabled = false
	defer func() { enabled = was }()
	dst := make([][Size]byte, 4)
	n := Pairs(dst, func(int) (uint64, []byte, []byte) {
		t.Error("a message is asked for")
		return 0, nil, nil
	})
	if n != 0 || dst[0] != ([Size]byte{}) {
		t.Fatalf("%d digests", n)
	}
}

func TestAHeadThatIsTooLongIsRefused(t *testing.T) {
	needPairs(t)
	defer func() {
		if recover() == nil {
			t.Fatal("hashed")
		}
	}()
	Pairs(make([][Size]byte, 2), func(int) (uint64, []byte, []byte) { return 0, make([]byte, MaxHead+1), nil })
}

// FuzzPairs cuts data into messages: each of sizes is how long the next one is.
func FuzzPairs(f *testing.F) {
	f.Add(make([]byte, 130), []byte{65, 65})
	f.Add([]byte("numbers of one and another length"), []byte{1, 7, 0, 20, 3})
	f.Add(make([]byte, 400), []byte{120, 28, 20, 15, 11, 8})
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		needPairs(t)
		var messages []message
		for i, size := range sizes {
			m := message{number: uint64(size) << (i % 57)}
			head, body := min(i%(MaxHead+1), len(data)), int(size)*(1+i%9)
			m.head, data = data[:head], data[head:]
			body = min(body, len(data))
			m.body, data = data[:body], data[body:]
			messages = append(messages, m)
		}
		check(t, messages)
	})
}
