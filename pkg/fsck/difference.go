package fsck

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// difference is what the index has too many and what it lacks, in some buckets.
type difference struct {
	c       *checker
	gone    []gap
	missing map[string]struct{} // entries that must be there; those that are get removed
	extra   []string
	held    int // bytes of extra
}

// expect collects the entries of the wanted buckets that follow from the
// operations. errMany: they are longer than they were taken to be.
func (d *difference) expect(ctx context.Context, p *pass, wanted *[buckets]bool, done *atomic.Uint64) error {
	c := d.c
	d.missing = map[string]struct{}{}
	var record []byte
	held := 0
	return c.g.CheckBundles(c.s.Start, c.s.Stored, func(b *store.Bundle, i, j int) error {
		done.Add(uint64(j - i))
		for k := i; k < j; k++ {
			op, err := c.codec.Decode(b.At(k))
			if err != nil || op.Kind == operation.Commit { // the first pass has spoken of it
				continue
			}
			record = c.g.AppendIndexRecord(record[:0], op.Key, b.First+uint64(k), byte(op.Kind))
			if !wanted[p.keys.bucket(record)] {
				continue
			}
			if held += len(record); held > 2*comparedBytes {
				return errMany
			}
			d.missing[string(record)] = struct{}{}
		}
		return ctx.Err()
	}, func(store.RangeFault) error { return nil })
}

// entry takes an entry of the index.
func (d *difference) entry(r *store.IndexRecord) error {
	if _, ok := d.missing[string(r.Raw)]; ok {
		delete(d.missing, string(r.Raw))
		return nil
	}
	for _, s := range d.c.lost {
		if r.Location >= s.from && r.Location < s.to {
			return nil // whether that is right nobody can tell any more
		}
	}
	if d.held += len(r.Raw); d.held > comparedBytes {
		return errMany
	}
	d.extra = append(d.extra, string(r.Raw))
	return nil
}

// report names the differences in the order of the index, and returns how many
// there are.
func (d *difference) report() (n int) {
	c := d.c
	kinds := map[string]byte{} // of missing entries, by what stands before the kind
	missing := make([]string, 0, len(d.missing))
	for raw := range d.missing {
		n := len(raw) - 1
		kinds[raw[:n]] = raw[n]
		missing = append(missing, raw)
	}
	slices.Sort(missing)
	slices.Sort(d.extra)
	for _, raw := range d.extra {
		n := len(raw) - 1
		r, _ := c.g.SplitIndexRecord(nil, []byte(raw))
		f := Finding{Space: Index, Problem: Extra, Key: r.Key, Ranged: true, From: r.Location, To: r.Location + 1, Repairable: true}
		if kind, ok := kinds[raw[:n]]; ok { // the other half is among those that are missing
			f.Problem, f.Expected, f.Found = Different, kindName(kind), kindName(raw[n])
			delete(kinds, raw[:n])
			c.fix(store.SetIndexRecord(append([]byte(raw[:n]), kind)))
		} else {
			f.Detail = "no operation on this key is at that location"
			c.fix(store.RemoveIndexRecord([]byte(raw)))
		}
		c.add(f)
	}
	n = len(d.extra)
	for _, raw := range missing {
		if _, ok := kinds[raw[:len(raw)-1]]; !ok || d.unreadable(raw) {
			continue
		}
		r, _ := c.g.SplitIndexRecord(nil, []byte(raw))
		c.fix(store.SetIndexRecord([]byte(raw)))
		c.add(Finding{
			Space: Index, Problem: Missing, Key: r.Key, Ranged: true, From: r.Location, To: r.Location + 1, Repairable: true,
			Expected: kindName(r.Kind),
		})
		n++
	}
	return n
}

// unreadable says whether an entry is missing because its table is unreadable,
// which was said before.
func (d *difference) unreadable(raw string) bool {
	return slices.ContainsFunc(d.gone, func(g gap) bool { return g.holds(bytes.Clone([]byte(raw[:len(raw)-1]))) })
}

func kindName(kind byte) string { return fmt.Sprint(operation.Kind(kind)) }
