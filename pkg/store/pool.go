package store

import (
	"runtime"
	"sync"
)

// readerPool keeps readers between uses. All of them see the published state;
// a reader that does not any more is closed, whether idle or when it comes
// back, because iterators keep files and memory alive that the storage engine
// is done with.
type readerPool struct {
	mu     sync.Mutex
	idle   []*Reader // used last at the end
	size   uint64    // published
	tick   uint64
	closed bool
}

// A reader is closed after so many ticks of the directory's clock, however
// much it is used: the files it keeps alive may have been compacted.
const readerTicks = 5

// maxIdle bounds the readers that are kept.
func maxIdle() int { return max(16, 4*runtime.GOMAXPROCS(0)) }

func (p *readerPool) get() *Reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	r := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return r
}

func (p *readerPool) now() (size, tick uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size, p.tick
}

// put takes a reader back, or says that it is to be closed.
func (p *readerPool) put(r *Reader) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || r.size < p.size || p.tick-r.born >= readerTicks || len(p.idle) >= maxIdle() || !r.healthy() {
		return false
	}
	p.idle = append(p.idle, r)
	return true
}

// publish returns the readers to close: all idle ones.
func (p *readerPool) publish(size uint64) []*Reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size <= p.size {
		return nil
	}
	p.size = size
	return p.take()
}

func (p *readerPool) take() []*Reader {
	r := p.idle
	p.idle = nil
	return r
}

// age counts a tick and returns the idle readers that are too old.
func (p *readerPool) age() (old []*Reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick++
	keep := p.idle[:0]
	for _, r := range p.idle {
		if p.tick-r.born >= readerTicks {
			old = append(old, r)
		} else {
			keep = append(keep, r)
		}
	}
	clear(p.idle[len(keep):])
	p.idle = keep
	return old
}

// close returns the idle readers; none is kept from now on.
func (p *readerPool) close() []*Reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.take()
}

// openGenerations are the generations of a directory that hear its clock.
type openGenerations struct {
	mu   sync.Mutex // held while readers are closed, so that remove waits for it
	open map[*Generation]struct{}
}

func (o *openGenerations) add(g *Generation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[*Generation]struct{}{}
	}
	o.open[g] = struct{}{}
}

func (o *openGenerations) remove(g *Generation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, g)
}

// tick ages readers and lets generations tidy up.
func (o *openGenerations) tick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for g := range o.open {
		closeReaders(g.readers.age())
		g.tidier.tick(g.size, g.tidy)
	}
}
