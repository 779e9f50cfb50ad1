package serve

import (
	"sync"

	"github.com/proofsync/proofsync/pkg/wire"
)

// A kind is the type of a request as metrics know it.
type kind uint8

const (
	getOperations kind = iota
	getTarget
	getCompactTarget
	getCompactState
	subscribe
	notRequest // a message that only servers send
	numKinds
)

func (k kind) String() string {
	return [numKinds]string{
		getOperations:    "get_operations",
		getTarget:        "get_sync_target",
		getCompactTarget: "get_compact_target",
		getCompactState:  "get_compact_state",
		subscribe:        "subscribe",
		notRequest:       "not_a_request",
	}[k]
}

// request is what a message asks for. It keeps nothing of the frame it came in.
type request struct {
	kind kind
	tag  byte
	id   uint64
	get  wire.GetOperations // if kind is getOperations

	reserved int64 // bytes that its reply takes at most, see Server.reservation
}

func newRequest(m wire.Message) request {
	r := request{tag: m.Tag(), id: m.RequestID()}
	switch m := m.(type) {
	case *wire.GetOperations:
		r.kind, r.get = getOperations, *m
	case *wire.GetTarget:
		r.kind = getTarget
	case *wire.GetCompactTarget:
		r.kind = getCompactTarget
	case *wire.GetCompactState:
		r.kind = getCompactState
	case *wire.Subscribe:
		r.kind = subscribe
	default:
		r.kind = notRequest
	}
	return r
}

// maxBatch is the number of requests in a batch at most.
const maxBatch = 16

// A batch is what one connection asks for in one turn: a request, or several small
// ones for operations that came together. They are answered from one view, by one
// worker, in one piece: for a small request everything around it is more work than
// its answer, and those that come together mostly ask for what lies together.
type batch []request

// takes tells whether a request may go into the batch as well. More than one together
// are no heavy work.
func (b batch) takes(r *request) bool {
	if len(b) == 0 {
		return true
	}
	return len(b) < maxBatch && r.kind == getOperations && b[0].kind == getOperations && b.reserved()+r.reserved < heavy
}

// reserved is how many bytes the replies take at most, so far as the budgets allow.
func (b batch) reserved() (n int64) {
	for i := range b {
		n += b[i].reserved
	}
	return n
}

// batchPool recycles the memory of batches. The zero value is ready.
type batchPool struct{ pool sync.Pool } // of *batch

func (p *batchPool) get() *batch {
	if b, ok := p.pool.Get().(*batch); ok {
		return b
	}
	b := make(batch, 0, maxBatch)
	return &b
}

// put takes back a batch that nobody uses any more.
func (p *batchPool) put(b *batch) {
	*b = (*b)[:0]
	p.pool.Put(b)
}
