package database

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// model is the second implementation of both families: slices and maps, no
// index, no tiles, the rules of format.md section 3 one after the other.
type model struct {
	codec operation.Codec
	ops   []operation.Operation
	live  map[string]int
	known map[[2]int]mmr.Digest // subtrees hashed before: a log only grows
}

func newModel(c operation.Codec) *model {
	return &model{codec: c, live: map[string]int{}, known: map[[2]int]mmr.Digest{}, ops: []operation.Operation{{Kind: operation.Commit}}}
}

func (m *model) size() int     { return len(m.ops) }
func (m *model) floor() uint64 { return m.ops[len(m.ops)-1].Floor }

func (m *model) push(op operation.Operation) {
	switch op.Kind {
	case operation.Update, operation.Set:
		m.live[string(op.Key)] = len(m.ops)
	case operation.Delete:
		delete(m.live, string(op.Key))
	}
	m.ops = append(m.ops, op)
}

// apply returns the operations a batch became.
func (m *model) apply(writes []Write, metadata []byte, floor *uint64) []operation.Operation {
	base := len(m.ops)
	last := map[string]Write{}
	for _, w := range writes {
		last[string(w.Key)] = w
	}
	if m.codec.Family() == operation.Immutable {
		f := m.floor()
		if floor != nil {
			f = *floor
		}
		for _, k := range slices.Sorted(maps.Keys(last)) {
			m.push(operation.Operation{Kind: operation.Set, Key: []byte(k), Value: last[k].Value})
		}
		m.push(operation.Operation{Kind: operation.Commit, Value: metadata, Floor: f})
		return m.ops[base:]
	}
	old := floorOf(m.ops)
	steps := 1
	located := map[int]string{}
	for k := range last {
		if loc, ok := m.live[k]; ok {
			located[loc] = k
		}
	}
	for _, loc := range slices.Sorted(maps.Keys(located)) {
		w := last[located[loc]]
		op := operation.Operation{Kind: operation.Update, Key: w.Key, Value: w.Value}
		if w.Delete {
			op = operation.Operation{Kind: operation.Delete, Key: w.Key}
		}
		m.push(op)
		delete(last, located[loc])
		steps++
	}
	for _, k := range slices.Sorted(maps.Keys(last)) {
		if !last[k].Delete {
			m.push(operation.Operation{Kind: operation.Update, Key: []byte(k), Value: last[k].Value})
		}
	}
	tip := len(m.ops)
	next, moved := uint64(tip), 0
	for loc := int(old); loc < tip && moved < steps; loc++ {
		op := m.ops[loc]
		if at, ok := m.live[string(op.Key)]; op.Kind == operation.Update && ok && at == loc {
			m.push(op)
			if moved++; moved == steps {
				next = uint64(loc) + 1
			}
		}
	}
	m.push(operation.Operation{Kind: operation.Commit, Value: metadata, Floor: next})
	return m.ops[base:]
}

func floorOf(ops []operation.Operation) uint64 { return ops[len(ops)-1].Floor }

func (m *model) encoded(i int) []byte {
	b, err := m.codec.Append(nil, m.ops[i])
	if err != nil {
		panic(err)
	}
	return b
}

// root is the root of the whole log.
func (m *model) root() mmr.Digest {
	var peaks []mmr.Digest
	k, first := 0, 0
	active := false
	for h := 40; h >= 0; h-- {
		if len(m.ops)>>h&1 == 0 {
			continue
		}
		peaks = append(peaks, m.subtree(first, h))
		first += 1 << h
		if active = active || uint64(first) > m.floor(); !active {
			k++
		}
	}
	acc := peaks[0]
	for i := 1; i < k; i++ {
		acc = sha256.Sum256(append(acc[:], peaks[i][:]...))
	}
	rest := append([]mmr.Digest{acc}, peaks[max(k, 1):]...)
	for len(rest) > 1 {
		n := len(rest)
		rest = append(rest[:n-2:n-2], sha256.Sum256(append(rest[n-2][:], rest[n-1][:]...)))
	}
	head := binary.BigEndian.AppendUint64(nil, uint64(len(m.ops)))
	if k > 0 {
		head = binary.BigEndian.AppendUint64(head, uint64(k))
	}
	return sha256.Sum256(append(head, rest[0][:]...))
}

func (m *model) subtree(first, h int) mmr.Digest {
	if d, ok := m.known[[2]int{first, h}]; ok {
		return d
	}
	last := first + 1<<h - 1
	pos := uint64(2*last + h)
	for i := last; i > 0; i &= i - 1 { // 2i - popcount(i)
		pos--
	}
	var buf bytes.Buffer
	_ = binary.Write(&buf, binary.BigEndian, pos)
	if h == 0 {
		buf.Write(m.encoded(first))
	} else {
		l, r := m.subtree(first, h-1), m.subtree(first+1<<(h-1), h-1)
		buf.Write(l[:])
		buf.Write(r[:])
	}
	d := sha256.Sum256(buf.Bytes())
	m.known[[2]int{first, h}] = d
	return d
}
