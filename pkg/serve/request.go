package serve

import (
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
