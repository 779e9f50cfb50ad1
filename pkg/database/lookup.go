package database

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/store"
)

// keyRef is a key while keys are sorted.
type keyRef struct {
	prefix uint64 // first bytes of the key: they decide nearly every comparison
	i      int
}

func newKeyRef(key []byte, i int) keyRef {
	if len(key) >= 8 {
		return keyRef{binary.BigEndian.Uint64(key), i}
	}
	var prefix [8]byte
	copy(prefix[:], key)
	return keyRef{binary.BigEndian.Uint64(prefix[:]), i}
}

// sortKeys sorts n keys bytewise, equal ones by number.
func sortKeys(n int, key func(i int) []byte) []keyRef {
	refs := make([]keyRef, n)
	for i := range refs {
		refs[i] = newKeyRef(key(i), i)
	}
	return sortRefs(refs, key)
}

// sortRefs sorts references to keys. Many are first dealt out to heaps of a few, by
// the first bits in which they differ. It may return another slice than it is given.
func sortRefs(refs []keyRef, key func(i int) []byte) []keyRef {
	compare := func(a, b keyRef) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return cmp.Or(bytes.Compare(key(a.i), key(b.i)), cmp.Compare(a.i, b.i))
	}
	if len(refs) < heapedRefs {
		slices.SortFunc(refs, compare)
		return refs
	}
	ones, some := ^uint64(0), uint64(0)
	for _, r := range refs {
		ones, some = ones&r.prefix, some|r.prefix
	}
	common := bits.LeadingZeros64(ones ^ some)
	width := min(bits.Len(uint(len(refs)/heapRefs)), mostHeapBits)
	heap := func(r keyRef) int { return int(r.prefix << common >> (64 - width)) }
	ends := make([]int, 1<<width+1) // of the heap before, while they are dealt out of the heap itself
	for _, r := range refs {
		ends[heap(r)+1]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	dealt := make([]keyRef, len(refs))
	for _, r := range refs {
		h := heap(r)
		dealt[ends[h]] = r
		ends[h]++
	}
	from := 0
	for _, end := range ends[:1<<width] {
		slices.SortFunc(dealt[from:end], compare)
		from = end
	}
	return dealt
}

const (
	heapedRefs   = 256 // so many are worth heaps
	heapRefs     = 8   // in a heap, about
	mostHeapBits = 16  // of their number
)

// lookup finds the newest index entries of many keys. Its slices are used again.
type lookup struct {
	keys    [][]byte // ascending: that is several times faster
	entries []entry  // of each key
}

type entry struct {
	loc  uint64
	kind byte
	ok   bool // there is one
}

// lookupShare is how many keys a goroutine looks up at a time.
const lookupShare = 4096

// latest looks up the newest entry of each key below size: with r, which sees
// that much, and where there are many on other cores as well. Shares are taken as
// they come, so that all cores are through at the same time.
func (x *lookup) latest(r *store.Reader, g *generation, size uint64) error {
	n := len(x.keys)
	x.entries = slices.Grow(x.entries[:0], n)[:n]
	clear(x.entries)
	shares := (n + lookupShare - 1) / lookupShare
	var taken atomic.Int64
	work := func(r *store.Reader) error {
		for {
			i := int(taken.Add(1)) - 1
			if i >= shares {
				return nil
			}
			if err := x.part(r, size, i*lookupShare, min(n, (i+1)*lookupShare)); err != nil {
				return err
			}
		}
	}
	var others errgroup.Group
	for range min(runtime.GOMAXPROCS(0), shares) - 1 {
		others.Go(func() error {
			r := g.ReaderAt(size)
			defer r.Release()
			return work(r)
		})
	}
	err := work(r)
	return cmp.Or(err, others.Wait())
}

func (x *lookup) part(r *store.Reader, size uint64, from, to int) error {
	index, err := r.Index()
	if err != nil {
		return err
	}
	entries := x.entries[from:to]
	return index.LatestEach(x.keys[from:to], size, func(i int, loc uint64, kind byte) {
		entries[i] = entry{loc, kind, true}
	})
}
