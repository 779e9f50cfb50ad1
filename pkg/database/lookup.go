package database

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/store"
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

// latest looks up the newest entry of each key below size: with r, which sees
// that much, and where there are many on other cores as well.
func (x *lookup) latest(r *store.Reader, g *generation, size uint64) error {
	n := len(x.keys)
	x.entries = slices.Grow(x.entries[:0], n)[:n]
	shares := min(runtime.GOMAXPROCS(0), 1+n/lookupShare)
	var others errgroup.Group
	for i := 1; i < shares; i++ {
		others.Go(func() error {
			r := g.ReaderAt(size)
			defer r.Release()
			return x.part(r, size, i*n/shares, (i+1)*n/shares)
		})
	}
	err := x.part(r, size, 0, n/shares)
	return cmp.Or(err, others.Wait())
}

func (x *lookup) part(r *store.Reader, size uint64, from, to int) error {
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
