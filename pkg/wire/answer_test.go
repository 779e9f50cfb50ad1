package wire_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestAnswersBindsTheReplyToItsRequest(t *testing.T) {
	c := codecs["any/fixed"]
	req := wire.GetOperations{ID: 4, Size: 20, Start: 10, Max: 5, Pins: true}
	good := func() *wire.Operations {
		return &wire.Operations{ID: 4, Proof: mmr.Proof{Leaves: 20}, Run: someRun(t, c, 5), Pins: someDigests(2), HasPins: true}
	}
	if err := good().Answers(req); err != nil {
		t.Fatal(err)
	}
	for why, change := range map[string]func(*wire.Operations, *wire.GetOperations){
		"id":              func(a *wire.Operations, _ *wire.GetOperations) { a.ID = 5 },
		"smaller size":    func(a *wire.Operations, _ *wire.GetOperations) { a.Proof.Leaves = 19 },
		"larger size":     func(a *wire.Operations, _ *wire.GetOperations) { a.Proof.Leaves = 21 },
		"nothing":         func(a *wire.Operations, _ *wire.GetOperations) { a.Run = operation.Run{} },
		"too much":        func(_ *wire.Operations, r *wire.GetOperations) { r.Max = 4 },
		"beyond the size": func(_ *wire.Operations, r *wire.GetOperations) { r.Start = 16 },
		"start at size":   func(_ *wire.Operations, r *wire.GetOperations) { r.Start = 20 },
		"start above":     func(_ *wire.Operations, r *wire.GetOperations) { r.Start = mmr.MaxLeaves },
		"no pins":         func(a *wire.Operations, _ *wire.GetOperations) { a.HasPins, a.Pins = false, nil },
		"pins":            func(_ *wire.Operations, r *wire.GetOperations) { r.Pins = false },
	} {
		a, r := good(), req
		change(a, &r)
		err := a.Answers(r)
		var typed *wire.AnswerError
		if !errors.Is(err, wire.ErrAnswer) || !errors.As(err, &typed) {
			t.Errorf("%s: %v", why, err)
		}
	}
	short := good()
	short.Run = short.Run.Slice(0, 1)
	if err := short.Answers(req); err != nil {
		t.Errorf("a short answer is an answer, but: %v", err)
	}
}

func TestMaxAnswerBoundsEveryAnswer(t *testing.T) {
	c := codecs["any/fixed"]
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64Range(1, mmr.MaxLeaves).Draw(t, "size")
		start := rapid.Uint64Range(0, size-1).Draw(t, "start")
		ops := rapid.Uint64Range(1, min(size-start, wire.MaxOperations)).Draw(t, "operations")
		k := rapid.Uint64Range(0, uint64(len(mmr.Peaks(size)))).Draw(t, "inactive peaks")
		n, err := mmr.ProofSize(size, k, start, start+ops)
		if err != nil {
			t.Fatal(err)
		}
		p := mmr.Proof{Leaves: size, InactivePeaks: k, Digests: make([]mmr.Digest, n)}
		b := wire.AppendOperationsReply(nil, 1, p, int(ops), make([]byte, int(ops)*c.Size()), make([]mmr.Digest, len(mmr.Peaks(start))), true)
		if got, most := len(b)+4, wire.MaxAnswer(c, size, ops); got > most {
			t.Fatalf("%d bytes, bound is %d", got, most)
		}
	})
	if n := wire.MaxAnswer(codecs["any/variable"], 10, 1); n < wire.MaxFrame {
		t.Errorf("variable: %d", n)
	}
	if n := wire.MaxAnswer(c, 1000, 100); n > 100*65+5000 {
		t.Errorf("100 operations of 1000: %d", n)
	}
}
