package wire_test

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// anyLog is a log of the family any, built from batches in the plainest way:
// it supplies operations where the vectors left them out.
type anyLog struct {
	codec operation.Codec
	ops   [][]byte
	keys  map[string]int // key -> location of its live operation
	floor uint64
}

func (l *anyLog) add(op operation.Operation) {
	b, err := l.codec.Append(nil, op)
	if err != nil {
		panic(err)
	}
	l.ops = append(l.ops, b)
}

func (l *anyLog) update(key string, value []byte) {
	l.keys[key] = len(l.ops)
	l.add(operation.Operation{Kind: operation.Update, Key: []byte(key), Value: value})
}

// apply turns a batch into operations (format.md section 3, any).
func (l *anyLog) apply(writes []vectors.Write, metadata []byte) {
	batch := map[string][]byte{} // nil deletes
	for _, w := range writes {
		batch[string(w.Key)] = w.Value
	}
	var known, created []string
	for key, value := range batch {
		if _, ok := l.keys[key]; ok {
			known = append(known, key)
		} else if value != nil {
			created = append(created, key)
		}
	}
	slices.SortFunc(known, func(a, b string) int { return cmp.Compare(l.keys[a], l.keys[b]) })
	for _, key := range known {
		if value := batch[key]; value != nil {
			l.update(key, value)
			continue
		}
		delete(l.keys, key)
		l.add(operation.Operation{Kind: operation.Delete, Key: []byte(key)})
	}
	slices.Sort(created)
	for _, key := range created {
		l.update(key, batch[key])
	}
	tip := uint64(len(l.ops))
	at := l.floor
	for steps := len(known) + 1; steps > 0 && at < tip; at++ {
		op, err := l.codec.Decode(l.ops[at])
		if err != nil {
			panic(err)
		}
		if live, ok := l.keys[string(op.Key)]; ok && op.Kind == operation.Update && live == int(at) {
			l.update(string(op.Key), op.Value)
			steps--
		}
	}
	l.floor = at
	l.add(operation.Operation{Kind: operation.Commit, Value: metadata, Floor: l.floor})
}

func newAnyLog(c operation.Codec) *anyLog {
	l := &anyLog{codec: c, keys: map[string]int{}}
	l.add(operation.Operation{Kind: operation.Commit})
	return l
}

// grow applies a commit of a workload to the log of its operations so far,
// and returns the operations.
func grow(t *testing.T, w *vectors.Workload, model *anyLog, ops elements, c *vectors.Commit) elements {
	for _, op := range c.Ops {
		ops = append(ops, op)
	}
	if model != nil {
		model.apply(c.Writes(), c.Metadata())
		if c.Ops == nil {
			ops = append(ops, model.ops[len(ops):]...)
		}
		if !slices.EqualFunc(ops, model.ops, bytes.Equal) || model.floor != c.Floor {
			t.Fatalf("%s: size %d: the model has other operations", w.Name, c.Size)
		}
	}
	if uint64(len(ops)) != c.Size {
		t.Fatalf("%s: %d operations, recorded size is %d", w.Name, len(ops), c.Size)
	}
	return ops
}

func TestRecordedRangeProofs(t *testing.T) {
	counts := map[string]int{}
	for _, w := range vectors.ProofWorkloads(t) {
		var model *anyLog
		if c, ok := codecs[w.Codec()]; ok && c.Family() == operation.Any && w.DB != "current_unordered_fixed" {
			model = newAnyLog(c.WithMaxBytes(100_000))
		}
		var ops elements
		for _, op := range w.Initial.Ops {
			ops = append(ops, op)
		}
		floors := map[uint64]uint64{w.Initial.Size: w.Initial.Floor}
		for _, c := range w.Commits {
			if c.Refused != "" {
				continue
			}
			ops = grow(t, w, model, ops, c)
			floors[c.Size] = c.Floor
			span := mmr.HashSpan(0, ops)
			root := mmr.Digest(c.Root)
			if c.OpsRoot != nil {
				root = mmr.Digest(*c.OpsRoot)
			}
			if got, err := mmr.Root(c.Size, mmr.InactivePeaks(c.Size, c.Floor), peaks(span, c.Size)); err != nil || got != root {
				t.Fatalf("%s: size %d: root %s, %v; recorded %s", w.Name, c.Size, got, err, root)
			}
			if c.RangeProofs == nil {
				continue
			}
			for i := range c.RangeProofs.Proofs {
				checkRangeProof(t, w.Name, &c.RangeProofs.Proofs[i], ops, span, floors, counts)
			}
		}
	}
	want := map[string]int{"proofs": 130, "altered": 604, "accepted": 1, "rejected": 1, "undecodable": 1}
	for what := range want {
		if n := counts[what]; n < want[what] {
			t.Errorf("%s: %d, want %d", what, n, want[what])
		}
	}
	if sum := counts["accepted"] + counts["rejected"] + counts["undecodable"]; sum != 2*604 || len(counts) != len(want) {
		t.Errorf("verdicts: %v", counts)
	}
}

func checkRangeProof(t *testing.T, name string, e *vectors.RangeProof, ops elements, all *mmr.Span, floors map[uint64]uint64, counts map[string]int) {
	counts["proofs"]++
	end := e.Start + e.OpCount
	floor, ok := floors[e.Size]
	if !ok {
		t.Fatalf("%s: proof at size %d, which is no commit", name, e.Size)
	}
	built, err := mmr.Prove(e.Size, mmr.InactivePeaks(e.Size, floor), e.Start, end, func(n mmr.Node) (mmr.Digest, error) { return digest(all, n) })
	if err != nil || !bytes.Equal(wire.AppendProof(nil, built), e.Proof) {
		t.Errorf("%s: size %d, [%d, %d): %x, %v; recorded %x", name, e.Size, e.Start, end, wire.AppendProof(nil, built), err, e.Proof)
	}
	if n, err := mmr.ProofSize(e.Size, built.InactivePeaks, e.Start, end); err != nil || n != len(built.Digests) {
		t.Errorf("%s: size %d, [%d, %d): %d digests, %v; want %d", name, e.Size, e.Start, end, n, err, len(built.Digests))
	}
	pins := digests(e.PinnedNodes)
	if !slices.Equal(pins, peaks(all, e.Start)) {
		t.Errorf("%s: pinned nodes of %d: %v, recorded %v", name, e.Start, peaks(all, e.Start), pins)
	}
	plain, pinned := verdicts(e.Proof, ops[e.Start:end], e.Start, mmr.Digest(e.Root), pins)
	if plain != "accepted" || pinned != "accepted" {
		t.Errorf("%s: size %d, [%d, %d): %s, with pins %s", name, e.Size, e.Start, end, plain, pinned)
	}
	for _, a := range e.Altered {
		counts["altered"]++
		if a.Proof != nil {
			plain, pinned = verdicts(*a.Proof, ops[e.Start:end], e.Start, mmr.Digest(e.Root), pins)
		} else {
			plain, pinned = verdicts(e.Proof, ops[a.OpFirst:a.OpFirst+a.OpCount], a.Start, mmr.Digest(a.Root), digests(a.PinnedNodes))
		}
		counts[plain]++
		counts[pinned]++
		if plain != a.Verdict || pinned != a.VerdictWithPins {
			t.Errorf("%s: size %d, [%d, %d): %s: %s, with pins %s; recorded %s, %s", name, e.Size, e.Start, end, a.Why, plain, pinned, a.Verdict, a.VerdictWithPins)
		}
	}
}

func digests(ds []vectors.Digest) []mmr.Digest {
	out := make([]mmr.Digest, len(ds))
	for i, d := range ds {
		out[i] = mmr.Digest(d)
	}
	return out
}

// verdicts are what a verifier says of an encoded proof, without and with pins.
func verdicts(encoded []byte, ops elements, start uint64, root mmr.Digest, pins []mmr.Digest) (plain, pinned string) {
	p, rest, err := wire.DecodeProof(encoded)
	if err != nil || len(rest) > 0 {
		return "undecodable", "undecodable"
	}
	if start > mmr.MaxLeaves {
		return "rejected", "rejected"
	}
	plain, pinned = "rejected", "rejected"
	span := mmr.HashSpan(start, ops)
	if p.Verify(span, root) == nil {
		plain = "accepted"
	}
	if p.VerifyPins(span, pins, root) == nil {
		pinned = "accepted"
	}
	return plain, pinned
}

// The model that fills in operations is itself held to all recorded batches.
func TestModelLogMatchesRecordedBatches(t *testing.T) {
	checked := 0
	for _, w := range vectors.Workloads(t) {
		if !strings.HasPrefix(w.DB, "any") {
			continue
		}
		model := newAnyLog(codecs[w.Codec()].WithMaxBytes(100_000))
		ops := slices.Clone(elements(model.ops))
		for _, c := range w.Commits {
			ops = grow(t, w, model, ops, c)
			checked++
		}
		last := w.Commits[len(w.Commits)-1]
		span := mmr.HashSpan(0, ops)
		if root, err := mmr.Root(last.Size, mmr.InactivePeaks(last.Size, last.Floor), peaks(span, last.Size)); err != nil || root != mmr.Digest(last.Root) {
			t.Errorf("%s: root %s, %v; recorded %x", w.Name, root, err, last.Root)
		}
	}
	if checked != 123 {
		t.Errorf("%d commits, want 123", checked)
	}
}
