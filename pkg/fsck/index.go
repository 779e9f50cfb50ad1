package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// gap is a range of keys of the index that could not be read, as they lie on
// disk: after one, before the other. nil: from the start, to the end.
type gap struct{ after, to []byte }

func (g gap) holds(raw []byte) bool {
	return bytes.Compare(raw, g.after) > 0 && (g.to == nil || bytes.Compare(raw, g.to) < 0)
}

// readIndex walks the index once: it takes the fingerprint of the entries and
// counts keys.
func (p *pass) readIndex(ctx context.Context) error {
	s := indexScan{c: p.c, n: &p.entries, last: make([]byte, 0, 64)}
	err := p.c.g.CheckIndex(ctx, func(r *store.IndexRecord) error {
		if s.entry(r) {
			p.keys.add(&p.index, r.Raw)
		}
		return nil
	}, func(f store.IndexFault) error {
		p.indexFault(f)
		return nil
	})
	if err != nil {
		return err
	}
	p.entries.Store(^uint64(0) >> 1) // commits have no entries: that was all
	p.low = s.finish()
	return nil
}

func (p *pass) indexFault(f store.IndexFault) {
	out := Finding{Space: Index, Repairable: true, File: f.File, Detail: reason(f.Err)}
	if f.Record != nil {
		out.Problem, out.Key = Malformed, f.Record
		p.c.fix(store.RemoveRecord(f.Record))
	} else {
		out.Problem, out.Rebuild = Unreadable, true
		p.gone = append(p.gone, gap{f.After, f.To})
	}
	p.c.add(out)
}

// indexScan counts keys while entries go by, newest of each key first.
type indexScan struct {
	c    *checker
	n    *atomic.Uint64 // entries so far
	last []byte         // key of the entry before
	seen bool           // there was one
	told bool           // the newest entry of last that is readable has gone by

	keys, live, low, pending, entries uint64
}

// entry counts an entry, and says whether it is one of those that follow from
// the operations that are retained.
func (s *indexScan) entry(r *store.IndexRecord) bool {
	if s.entries++; s.entries%1024 == 0 {
		s.n.Store(s.entries)
	}
	if r.Location < s.c.s.Start {
		s.pending++
		return false
	}
	if !s.seen || !bytes.Equal(r.Key, s.last) {
		s.last, s.seen, s.told = append(s.last[:0], r.Key...), true, false
	}
	if !s.told && r.Location < s.c.s.Size {
		s.told = true
		s.keys++
		if operation.Kind(r.Kind) != operation.Delete {
			s.live++
			if r.Location < s.c.s.Floor {
				s.low++
			}
		}
	}
	return true
}

// finish reports the counts, and returns how many live keys lie below the floor.
func (s *indexScan) finish() (low uint64) {
	c := s.c
	c.sum.Entries, c.sum.Keys, c.sum.LiveKeys = s.entries-s.pending, s.keys, s.live
	if s.pending > 0 {
		c.add(Finding{
			Space: Index, Severity: Note, Problem: Extra,
			Detail: fmt.Sprintf("%d entries of operations below the start: pruned, to be removed when the database is open for writing", s.pending),
		})
	}
	return s.low
}

// comparedBytes bounds the memory for entries that are compared one by one.
const comparedBytes = 64 << 20

// errMany ends a walk that has found more differences than are held.
var errMany = errors.New("more differences than are held")

// differences names the entries that the index has too many or lacks. It
// looks only at buckets whose fingerprints differ, as many as fit into memory.
func (c *checker) differences(ctx context.Context, p *pass) error {
	wanted, all := c.differing(p)
	if wanted == nil {
		c.floor(p.low)
		return nil
	}
	total := c.s.Stored - c.s.Start
	var done atomic.Uint64
	end := c.o.watch(Progress{Generation: c.g.Number(), Task: Comparing, Total: total}, done.Load)
	defer end()
	d := difference{c: c, gone: p.gone}
	err := d.expect(ctx, p, wanted, &done)
	if err == nil {
		err = c.g.CheckIndex(ctx, func(r *store.IndexRecord) error {
			if r.Location < c.s.Start || !wanted[p.keys.bucket(r.Raw)] {
				return nil
			}
			return d.entry(r)
		}, func(store.IndexFault) error { return nil })
	} else if errors.Is(err, errMany) {
		d.missing = nil // the rest of them is not known, so nothing can be said of any
	}
	if err != nil && !errors.Is(err, errMany) {
		return err
	}
	if !all || err != nil {
		c.add(Finding{
			Space: Index, Problem: Different, Rebuild: true,
			Detail: "it differs in more entries than were compared; those that are named are not all",
		})
		c.r.atLeast()
	}
	if n := d.report(); n == 0 && all && err == nil && len(c.lost) == 0 && len(p.gone) == 0 {
		c.add(Finding{Space: Index, Problem: Different, Rebuild: true, Detail: "it is not what follows from the operations; which entries differ was not found"})
	}
	return nil
}

// floor compares the floor with the keys that live, in an index that is right.
func (c *checker) floor(low uint64) {
	if low == 0 || c.codec.Family() != operation.Any {
		return
	}
	c.add(Finding{
		Space: State, Problem: Different, Ranged: true, From: c.s.Start, To: c.s.Floor,
		Expected: "no live key below the inactivity floor", Found: fmt.Sprint(low),
		Detail: "whoever wrote the last commit has set a wrong floor",
	})
}

// differing are the buckets to compare, and whether those are all that differ.
func (c *checker) differing(p *pass) (wanted *[buckets]bool, all bool) {
	all = true
	memory := uint64(0)
	for i := range p.there {
		if p.there[i] == p.index[i] {
			continue
		}
		if wanted == nil {
			wanted = new([buckets]bool)
		}
		if memory += p.there[i].n * recordMemory; memory > comparedBytes && memory > p.there[i].n*recordMemory {
			return wanted, false
		}
		wanted[i] = true
	}
	return wanted, all
}

// recordMemory is about what an entry takes in a map, keys of ordinary length
// assumed.
const recordMemory = 160
