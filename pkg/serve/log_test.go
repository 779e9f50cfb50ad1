package serve

import (
	"errors"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// memoryLog is a log that was recorded elsewhere, with every digest in
// memory: a second, naive implementation of what a database does for a server.
// It exists because recorded logs cannot be written into a database, which
// makes its own operations from batches.
type memoryLog struct {
	codec      operation.Codec
	ops        [][]byte
	span       *mmr.Span
	boundaries map[uint64]boundary // by size
	size       uint64              // of the published state
}

type boundary struct {
	floor, inactive uint64
	root            mmr.Digest
}

type elements [][]byte

func (e elements) Len() int        { return len(e) }
func (e elements) At(i int) []byte { return e[i] }

func (l *memoryLog) Codec() operation.Codec   { return l.codec }
func (l *memoryLog) View() (View, error)      { v := *l; return &v, nil }
func (l *memoryLog) Changed() <-chan struct{} { return nil }
func (l *memoryLog) Close()                   {}
func (l *memoryLog) Root() mmr.Digest         { return l.boundaries[l.size].root }
func (l *memoryLog) Size() uint64             { return l.size }
func (l *memoryLog) Start() uint64            { return 0 }
func (l *memoryLog) Floor() uint64            { return l.boundaries[l.size].floor }

func (l *memoryLog) AppendOperations(dst []byte, start, end uint64, maxBytes int) ([]byte, int, error) {
	n, have := 0, len(dst)
	for _, op := range l.ops[start:end] {
		if n > 0 && len(dst)-have+len(op) > maxBytes {
			break
		}
		dst = append(dst, op...)
		n++
	}
	return dst, n, nil
}

func (l *memoryLog) node(n mmr.Node) (mmr.Digest, error) {
	d, ok := l.span.Digest(n)
	if !ok {
		return d, errors.New("no such node")
	}
	return d, nil
}

func (l *memoryLog) Prove(size, start, end uint64) (mmr.Proof, error) {
	b, ok := l.boundaries[size]
	if !ok {
		return mmr.Proof{}, database.ErrNotBoundary
	}
	return mmr.Prove(size, b.inactive, start, end, l.node)
}

func (l *memoryLog) Pins(loc uint64) ([]mmr.Digest, error) {
	var pins []mmr.Digest
	for _, n := range mmr.Peaks(loc) {
		d, err := l.node(n)
		if err != nil {
			return nil, err
		}
		pins = append(pins, d)
	}
	return pins, nil
}
