package fsck

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Operations go to the workers in chunks that end at a slot, so that no digest
// has to be computed twice, or where a root is to be compared.
const (
	chunkOperations = 2048
	chunkBytes      = 1 << 20
	maxWorkers      = 16 // bounds the chunks, and so the memory
	slot            = 1 << mmr.SpanHeight
)

// chunk is a run of operations on its way: read, then hashed and decoded, then
// appended to the tree in order.
type chunk struct {
	first uint64
	data  []byte
	ends  []uint32 // end offset of each operation
	span  mmr.Span
	tip   operation.Operation // the last operation; Key and Value are not kept
	bad   []badOperation

	fault *store.RangeFault // instead of operations
	ready chan struct{}     // holds a token when a worker is done
}

// badOperation does not decode.
type badOperation struct {
	loc uint64
	err error
}

// Len and At make a chunk mmr.Elements.
func (k *chunk) Len() int { return len(k.ends) }

// At is the i-th operation.
func (k *chunk) At(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = k.ends[i-1]
	}
	return k.data[from:k.ends[i]]
}

func (k *chunk) end() uint64 { return k.first + uint64(len(k.ends)) }

// readOperations reads, hashes and compares all operations.
func (p *pass) readOperations(ctx context.Context) error {
	t, err := p.newTree()
	if err != nil {
		return err
	}
	defer t.close()
	workers := min(p.c.o.Workers, maxWorkers)
	work := make(chan *chunk, workers)
	order := make(chan *chunk, 2*workers)
	free := make(chan *chunk, 4*workers)
	for range cap(free) {
		free <- &chunk{ready: make(chan struct{}, 1)}
	}
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	sums := make([]fingerprint, workers)
	for i := range sums {
		group.Go(func() error {
			var record []byte
			for k := range work {
				record = p.hash(k, &sums[i], record)
				k.ready <- struct{}{}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(order)
		defer close(work)
		r := reader{p: p, ctx: ctx, free: free, work: work, order: order}
		return r.run()
	})
	for k := range order {
		if k.fault == nil {
			<-k.ready
		}
		if err == nil {
			if err = t.chunk(k); err != nil {
				cancel()
			}
		}
		p.operations.Add(uint64(k.Len()))
		free <- k // there is room for all of them
	}
	werr := group.Wait()
	cancel()
	if err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	for i := range sums {
		p.there.merge(&sums[i])
	}
	return t.finish()
}

// hash is a worker's part: digests, the entries the index must have, and
// whether everything decodes. record is memory to use; the worker gets it back.
func (p *pass) hash(k *chunk, sum *fingerprint, record []byte) []byte {
	k.span.Reset(k.first, k)
	for i := range k.ends {
		op, err := p.c.codec.Decode(k.At(i))
		if err != nil {
			k.bad = append(k.bad, badOperation{k.first + uint64(i), err})
			k.tip = operation.Operation{Kind: operation.Append} // no commit
			continue
		}
		if i == len(k.ends)-1 {
			k.tip = operation.Operation{Kind: op.Kind, Floor: op.Floor}
		}
		if op.Kind == operation.Commit {
			continue
		}
		record = p.c.g.AppendIndexRecord(record[:0], op.Key, k.first+uint64(i), byte(op.Kind))
		p.keys.add(sum, record)
	}
	return record
}

// reader cuts what the disk has into chunks.
type reader struct {
	p           *pass
	ctx         context.Context
	free        chan *chunk
	work, order chan<- *chunk
	k           *chunk   // being filled; nil: none
	cuts        []uint64 // locations at which a chunk ends in any case, ascending
}

func (r *reader) run() error {
	c := r.p.c
	for _, at := range []uint64{c.head.Size, c.s.Size} {
		if at > c.s.Start {
			r.cuts = append(r.cuts, at)
		}
	}
	slices.Sort(r.cuts)
	err := c.g.CheckBundles(c.s.Start, c.s.Stored, r.bundle, r.fault)
	if err == nil {
		err = r.send()
	}
	return err
}

func (r *reader) bundle(b *store.Bundle, i, j int) error {
	r.p.c.sum.Bundles++
	for i < j {
		at := b.First + uint64(i)
		if r.k == nil {
			if err := r.take(at); err != nil {
				return err
			}
		}
		n := min(j, i+int(r.limit(at)-at))
		for ; i < n; i++ {
			r.k.data = append(r.k.data, b.At(i)...)
			r.k.ends = append(r.k.ends, uint32(len(r.k.data)))
		}
		end := r.k.end()
		full := r.k.Len() >= chunkOperations || len(r.k.data) >= chunkBytes
		if full && end%slot == 0 || len(r.k.data) >= 2*chunkBytes || slices.Contains(r.cuts, end) {
			if err := r.send(); err != nil {
				return err
			}
		}
	}
	return nil
}

// limit is where what begins at a location has to end at the latest.
func (r *reader) limit(at uint64) uint64 {
	end := (at/slot + 1) * slot
	for _, cut := range r.cuts {
		if cut > at {
			return min(end, cut)
		}
	}
	return end
}

func (r *reader) take(first uint64) error {
	select {
	case k := <-r.free:
		*k = chunk{first: first, data: k.data[:0], ends: k.ends[:0], span: k.span, bad: k.bad[:0], ready: k.ready}
		r.k = k
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

func (r *reader) fault(f store.RangeFault) error {
	if err := r.send(); err != nil {
		return err
	}
	if err := r.take(f.From); err != nil {
		return err
	}
	r.k.fault = &f
	return r.send()
}

// send hands the chunk on, in order and to whoever hashes it.
func (r *reader) send() error {
	k := r.k
	if r.k = nil; k == nil {
		return nil
	}
	select {
	case r.order <- k:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	if k.fault != nil {
		return nil
	}
	// Workers never wait for anything but work.
	r.work <- k
	return nil
}

// rangeFault reports what is wrong with the bundles of a range.
func (c *checker) rangeFault(f *store.RangeFault) {
	out := Finding{Space: Operations, Ranged: true, From: f.From, To: f.To, File: f.File, Detail: reason(f.Err)}
	switch {
	case !f.Lost:
		out.Problem, out.Rebuild = Malformed, true
	case f.File != "":
		out.Problem = Unreadable
	default:
		out.Problem = Missing
	}
	if f.Lost {
		c.lost = append(c.lost, span{f.From, f.To})
		c.plan.impossible = true
	}
	c.add(out)
}

func (c *checker) badOperation(b badOperation) {
	c.plan.impossible = true
	c.add(Finding{Space: Operations, Problem: Malformed, Ranged: true, From: b.loc, To: b.loc + 1, Detail: fmt.Sprint(b.err)})
}
