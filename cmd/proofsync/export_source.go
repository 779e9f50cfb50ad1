package main

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/remote"
)

// liveSet is one state of a database whose keys and values are walked.
type liveSet struct {
	encoding operation.Encoding
	size     uint64
	root     string
	// each calls fn with every key that begins with prefix, and its value, until
	// fn fails. Both are valid during the call only.
	each func(ctx context.Context, prefix []byte, fn func(key, value []byte) error) error
	// count counts those keys; nil: that would cost as much as reading them.
	count func(ctx context.Context, prefix []byte) (uint64, error)
	close func()
}

// open finds the database as other commands do; a directory that nobody holds is
// read without the detour over the API, as there may be very many keys.
func (e *exportFlags) open(cmd *cobra.Command) (*liveSet, error) {
	a := &e.at
	address, dir := cmd.Flags().Changed("url"), cmd.Flags().Changed("storage-dir")
	if address || a.dir == "" || a.address != "" && !dir {
		s, err := a.open(cmd, reading) // it knows what is wrong, too
		if err != nil {
			return nil, err
		}
		return e.asked(cmd.Context(), s)
	}
	var db *database.DB
	s, err := a.orHolder(cmd, func() (err error) {
		codec, err := database.Detect(a.dir, nil)
		if err == nil {
			db, err = database.Open(a.dir, database.Options{Codec: codec, ReadOnly: true})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if s != nil {
		return e.asked(cmd.Context(), s)
	}
	live, err := e.read(db)
	if err != nil {
		err = errors.Join(err, db.Close())
	}
	return live, err
}

// read is a database of this process.
func (e *exportFlags) read(db *database.DB) (*liveSet, error) {
	v, err := db.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	size := e.atSize
	if size == 0 {
		size = v.Size()
	}
	at, err := v.At(size)
	if err != nil {
		return nil, err
	}
	return &liveSet{
		encoding: db.Codec().Encoding(), size: at.Size(), root: at.Root().String(),
		each: func(ctx context.Context, prefix []byte, fn func(key, value []byte) error) error {
			var failed error
			err := at.PageContext(ctx, prefix, nil, math.MaxInt, func(key []byte, x database.Entry) bool {
				failed = fn(key, x.Value)
				return failed == nil
			})
			if failed != nil {
				return failed
			}
			return err
		},
		count: func(ctx context.Context, prefix []byte) (n uint64, err error) {
			err = at.KeysContext(ctx, prefix, nil, func([]byte, uint64) bool { n++; return true })
			return n, err
		},
		close: func() { at.Close(); _ = db.Close() }, // only read
	}, nil
}

// asked is a database that another process has.
func (e *exportFlags) asked(ctx context.Context, s *session) (*liveSet, error) {
	live := &liveSet{close: func() { _ = s.stop() }}
	fail := func(err error) (*liveSet, error) {
		live.close()
		return nil, s.explain(err)
	}
	c, err := s.database(ctx)
	if err != nil {
		return fail(err)
	}
	live.encoding, live.size = c.Encoding(), e.atSize
	if live.size == 0 {
		st, err := s.Status(ctx)
		if err != nil {
			return fail(err)
		}
		if st.Head == nil {
			return fail(database.ErrEmpty)
		}
		live.size = st.Head.Size
	}
	// The page of the state says its root, and that the state can be read.
	page, err := s.Page(ctx, remote.ListOptions{AtSize: live.size, Limit: 1})
	if err != nil {
		return fail(err)
	}
	live.root = page.Root
	live.each = func(ctx context.Context, prefix []byte, fn func(key, value []byte) error) error {
		if len(prefix) == 0 {
			prefix = nil
		}
		for x, err := range s.List(ctx, remote.ListOptions{AtSize: live.size, Values: true, Prefix: prefix, Limit: maxPage}) {
			if err != nil {
				return s.explain(err)
			}
			key, err := s.Decode(x.Key)
			if err != nil {
				return err
			}
			var value []byte
			if x.Value != nil {
				if value, err = s.Decode(*x.Value); err != nil {
					return err
				}
			}
			if err := fn(key, value); err != nil {
				return err
			}
		}
		return nil
	}
	return live, nil
}

// tally is the number of keys there are, once it is known.
type tally struct {
	n    atomic.Uint64
	done sync.WaitGroup
}

// counting counts the keys beside whoever reads them, if that turns out to take
// long.
func (l *liveSet) counting(ctx context.Context, prefix []byte) *tally {
	t := new(tally)
	if l.count == nil {
		return t
	}
	t.done.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(meterPatience):
		}
		if n, err := l.count(ctx, prefix); err == nil { // whoever reads hears of the same error
			t.n.Store(n)
		}
	})
	return t
}

// now is the number if it is known; else 0.
func (t *tally) now() uint64 { return t.n.Load() }

// wait waits for the end of the counting, which comes with its context.
func (t *tally) wait() { t.done.Wait() }
