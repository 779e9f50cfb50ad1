package database

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// keyRef is a key while keys are sorted.
type keyRef struct {
	prefix uint64 // first bytes of the key: they decide nearly every comparison
	i      int
}

// sortKeys sorts n keys bytewise, equal ones by number.
func sortKeys(n int, key func(i int) []byte) []keyRef {
	refs := make([]keyRef, n)
	for i := range refs {
		var prefix [8]byte
		copy(prefix[:], key(i))
		refs[i] = keyRef{binary.BigEndian.Uint64(prefix[:]), i}
	}
	slices.SortFunc(refs, func(a, b keyRef) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return cmp.Or(bytes.Compare(key(a.i), key(b.i)), cmp.Compare(a.i, b.i))
	})
	return refs
}

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

// lookupShare is how many keys are worth a goroutine.
const lookupShare = 4096

// latest looks up the newest entry of each key below size, on several cores
// where there are many.
func (x *lookup) latest(g *generation, size uint64) error {
	n := len(x.keys)
	x.entries = slices.Grow(x.entries[:0], n)[:n]
	shares := min(runtime.GOMAXPROCS(0), 1+n/lookupShare)
	if shares == 1 {
		return x.part(g, size, 0, n)
	}
	var group errgroup.Group
	for i := range shares {
		group.Go(func() error { return x.part(g, size, i*n/shares, (i+1)*n/shares) })
	}
	return group.Wait()
}

func (x *lookup) part(g *generation, size uint64, from, to int) error {
	r := g.ReaderAt(size)
	defer r.Release()
	index, err := r.Index()
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		e := &x.entries[i]
		if e.loc, e.kind, e.ok, err = index.Latest(x.keys[i], size); err != nil {
			return err
		}
	}
	return nil
}
