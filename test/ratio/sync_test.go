//go:build unix

package ratio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/wire"
)

const syncBatch = 10_000

// recording is a source that gives the answers of a server again, as the bytes
// that came over the network: what it costs to make them is not counted.
type recording struct {
	view   *database.View
	target wire.Target

	mu      sync.Mutex
	answers map[source.Request][]byte
}

func (r *recording) Name() string { return "recording" }

func (r *recording) Target(context.Context) (source.Target, error) {
	return source.Target{Target: r.target, Peer: r.Name()}, nil
}

// Operations decodes a recorded answer, and makes it when it is asked for the
// first time, in the round that warms up.
func (r *recording) Operations(_ context.Context, q source.Request) (*source.Answer, error) {
	q.Peer, q.MaxFrame, q.Codec = "", 0, nil
	r.mu.Lock()
	defer r.mu.Unlock()
	payload, ok := r.answers[q]
	if !ok {
		ops, n, err := r.view.AppendOperations(nil, q.Start, min(q.Start+q.Max, q.Size), 1<<30)
		if err != nil {
			return nil, err
		}
		proof, err := r.view.Prove(q.Size, q.Start, q.Start+uint64(n))
		if err != nil {
			return nil, err
		}
		var pins []mmr.Digest
		if q.Pins {
			if pins, err = r.view.Pins(q.Start); err != nil {
				return nil, err
			}
		}
		payload = wire.AppendOperationsReply(nil, 1, proof, n, ops, pins, q.Pins)
		r.answers[q] = payload
	}
	m, err := wire.Decode(payload, codec)
	if err != nil {
		return nil, err
	}
	reply, ok := m.(*wire.Operations)
	if !ok {
		return nil, fmt.Errorf("recorded a %T", m)
	}
	if err := reply.Answers(wire.GetOperations{ID: 1, Size: q.Size, Start: q.Start, Max: q.Max, Pins: q.Pins}); err != nil {
		return nil, err
	}
	return &source.Answer{Proof: reply.Proof, Run: reply.Run, Pins: reply.Pins, Bytes: len(payload), Peer: r.Name()}, nil
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	_, v := filled(t, pairs(1, keys))
	return &recording{
		view:    v,
		target:  wire.Target{Start: max(v.Floor(), v.Start()), End: v.Size(), Root: v.Root()},
		answers: make(map[source.Request][]byte),
	}
}

// messages are all answers to a sync in large batches.
func (r *recording) messages() (all [][]byte, err error) {
	for start := r.target.Start; start < r.target.End; start += syncBatch {
		q := source.Request{Size: r.target.End, Start: start, Max: min(syncBatch, r.target.End-start)}
		if _, err := r.Operations(context.Background(), q); err != nil {
			return nil, err
		}
		all = append(all, r.answers[q])
	}
	return all, nil
}

// A whole sync by the engine: decoded, verified, written, indexed and durable. 22 to
// 23.5 were measured; checking every answer twice more makes 33.
func TestVerifiedSyncKeepsItsDistanceFromHashing(t *testing.T) {
	asked(t)
	r := newRecording(t)
	all, err := r.messages()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	compare(t, "a sync, to hashing the same bytes", bounds{cpu: 32, elapsed: 200}, func() (c cost, err error) {
		path, err := scratch(dir)
		if err != nil {
			return c, err
		}
		defer os.RemoveAll(path)
		db, err := open(path, false)
		if err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		s := syncer.New(db, r, syncer.Options{BatchSize: syncBatch})
		return measure(1, func() error {
			result, err := s.Sync(context.Background())
			if err == nil && (result.Root != r.target.Root || result.Fetched < keys) {
				err = fmt.Errorf("%d operations led to %s", result.Fetched, result.Root)
			}
			return err
		})
	}, hashing(all, 5))
}

// Of that, what is done before anything is believed, by one core.
func TestCheckingProofsKeepsItsDistanceFromHashing(t *testing.T) {
	asked(t)
	r := newRecording(t)
	all, err := r.messages()
	if err != nil {
		t.Fatal(err)
	}
	var span mmr.Span
	compare(t, "checking proofs, to hashing the same bytes", bounds{cpu: 14, elapsed: 40}, func() (cost, error) {
		return measure(1, func() error {
			start := r.target.Start
			for _, payload := range all {
				m, err := wire.Decode(payload, codec)
				if err != nil {
					return err
				}
				reply := m.(*wire.Operations)
				span.Reset(start, reply.Run)
				if err := reply.Proof.Verify(&span, r.target.Root); err != nil {
					return err
				}
				start += uint64(reply.Run.Len())
			}
			if start != r.target.End {
				return fmt.Errorf("checked up to %d of %d", start, r.target.End)
			}
			return nil
		})
	}, hashing(all, 5))
}
