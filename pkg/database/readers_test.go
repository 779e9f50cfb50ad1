package database

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Every commit writes all keys with one and the same value, so a view that
// mixes states shows two values.
func TestReadsShowOneStateWhileCommitsAndGenerationsAreSwitchedIn(t *testing.T) {
	for _, c := range codecs[:2] {
		t.Run(c.String(), func(t *testing.T) {
			src, replica := openAt(t, store.MemFS(), c, true), openAt(t, store.MemFS(), c, false)
			const keys = 20
			var done atomic.Bool
			var group sync.WaitGroup
			for i := range uint64(4) {
				group.Go(func() {
					rng := rand.New(rand.NewPCG(i, i))
					last := uint64(0)
					for !done.Load() {
						v, err := replica.View()
						if errors.Is(err, ErrEmpty) {
							continue
						}
						if err == nil {
							err = oneState(v, keys, rng)
							if v.Size() < last {
								err = errors.Join(err, fmt.Errorf("size %d after %d", v.Size(), last))
							}
							last = v.Size()
							v.Close()
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			rng := rand.New(rand.NewPCG(7, 7))
			for n := range uint64(40) {
				var b Batch
				for k := range uint64(keys) {
					b.Writes = append(b.Writes, Write{Key: key20(c, k), Value: testValue(c, n)})
				}
				last, err := src.Apply(context.Background(), b)
				if err != nil {
					t.Fatal(err)
				}
				var l *Load
				if n%6 == 0 {
					v, _ := src.View()
					start := v.Floor()
					pins, perr := v.Pins(start)
					v.Close()
					if perr != nil {
						t.Fatal(perr)
					}
					l, err = replica.Stage(start, pins)
				} else {
					l, err = replica.Extend()
				}
				if err != nil {
					t.Fatal(err)
				}
				feed(t, src, l, last.Size, last.Root, rng)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			done.Store(true)
			group.Wait()
			closeDB(t, replica)
			closeDB(t, src)
		})
	}
}

// key20 is one of a few keys that differ in every encoding.
func key20(c operation.Codec, n uint64) []byte {
	if c.Encoding() == operation.Fixed {
		return testKey(c, n)
	}
	return []byte{0, byte(n)}
}

// oneState checks that all keys of a view have one value, whichever way they
// are read.
func oneState(v *View, keys int, rng *rand.Rand) error {
	var first []byte
	same := func(value []byte) error {
		if first == nil {
			first = bytes.Clone(value)
		}
		if !bytes.Equal(first, value) {
			return fmt.Errorf("values %x and %x at size %d", first, value, v.Size())
		}
		return nil
	}
	for k := range uint64(keys) {
		e, err := v.Get(key20(v.Codec(), k))
		if err == nil {
			err = same(e.Value)
		}
		if err != nil {
			return err
		}
	}
	n := 0
	var mixed error
	err := v.Scan(nil, nil, func(_ []byte, e Entry) bool {
		n++
		mixed = same(e.Value)
		return mixed == nil
	})
	if err = errors.Join(err, mixed); err != nil {
		return err
	}
	if n != keys {
		return fmt.Errorf("%d keys of %d at size %d", n, keys, v.Size())
	}
	loc := v.Start() + rng.Uint64N(v.Size()-v.Start())
	if _, err := v.Prove(v.Size(), loc, loc+1); err != nil {
		return err
	}
	if root, err := v.RootAt(v.Size()); err != nil || root != v.Root() {
		return fmt.Errorf("root %s at size %d: %w", root, v.Size(), err)
	}
	return nil
}
