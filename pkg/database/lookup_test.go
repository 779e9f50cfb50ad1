package database

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestKeysAreSortedByBytesAndEqualOnesByNumber(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	kinds := map[string]func() []byte{
		"random":        func() []byte { return benchKey(rng.Uint64()) },
		"equal":         func() []byte { return []byte("always") },
		"few":           func() []byte { return []byte{byte(rng.IntN(3))} },
		"short":         func() []byte { return benchKey(rng.Uint64())[:rng.IntN(4)] },
		"one prefix":    func() []byte { return fmt.Appendf(nil, "account/%d", rng.IntN(1000)) },
		"mostly zeroes": func() []byte { return append(make([]byte, 7), byte(rng.Uint32()), byte(rng.Uint32())) },
	}
	for name, kind := range kinds {
		for _, n := range []int{0, 1, 2, heapedRefs - 1, heapedRefs, 5000} {
			keys := make([][]byte, n)
			want := make([]int, n)
			for i := range keys {
				keys[i], want[i] = kind(), i
			}
			slices.SortStableFunc(want, func(a, b int) int { return bytes.Compare(keys[a], keys[b]) })
			var got []int
			for _, r := range sortKeys(n, func(i int) []byte { return keys[i] }) {
				got = append(got, r.i)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d keys, %s: not in order", n, name)
			}
		}
	}
}
