package store

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestIndexEntriesAreSortedByTheirKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	for what, key := range map[string]func() []byte{
		"random":        func() []byte { return append(number(r.Uint64()), number(r.Uint64())...) },
		"few":           func() []byte { return append(number(r.Uint64N(3)<<62), number(r.Uint64N(4))...) },
		"one beginning": func() []byte { return append([]byte("the same for all of them/"), number(r.Uint64())...) },
		"low bits":      func() []byte { return number(1<<40 + r.Uint64N(1000)) },
		"short":         func() []byte { return append(number(r.Uint64())[:r.IntN(9)], number(r.Uint64())...) },
	} {
		for _, n := range []int{1, 2, 1000} {
			b := &bulk{bulkBuffers: &bulkBuffers{}}
			for range n {
				at := len(b.keys)
				b.keys = append(append(b.keys, spaceIndex), key()...)
				b.addEntry(at, byte(at))
			}
			all := slices.Clone(b.entries)
			b.sort(b.entries)
			if !slices.IsSortedFunc(b.entries, func(x, y entryRef) int { return bytes.Compare(b.key(x), b.key(y)) }) {
				t.Errorf("%s, %d: not sorted", what, n)
			}
			for _, e := range all {
				if !slices.Contains(b.entries, e) {
					t.Fatalf("%s, %d: an entry is gone", what, n)
				}
			}
		}
	}
}
