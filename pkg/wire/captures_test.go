package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

var codecs = func() map[string]operation.Codec {
	m := map[string]operation.Codec{}
	for _, f := range []operation.Family{operation.Any, operation.Immutable, operation.Keyless} {
		for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
			c := operation.NewCodec(f, e)
			m[c.String()] = c
		}
	}
	return m
}()

// unframe is the payload of the only frame of a capture.
func unframe(frame []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(frame))
	payload, err := wire.ReadFrame(r, nil, wire.MaxFrame)
	if err == nil && r.Buffered() > 0 {
		err = fmt.Errorf("%d bytes after the frame", r.Buffered())
	}
	return payload, err
}

func decodeFrame(frame []byte, c operation.Codec) (wire.Message, error) {
	payload, err := unframe(frame)
	if err != nil {
		return nil, err
	}
	return wire.Decode(payload, c)
}

// verify is what a client checks about a reply, in the order it does.
func verify(request, reply wire.Message, c operation.Codec, root mmr.Digest) error {
	switch reply := reply.(type) {
	case *wire.Operations:
		req := request.(*wire.GetOperations)
		if err := reply.Answers(*req); err != nil {
			return err
		}
		span := mmr.HashSpan(req.Start, reply.Run)
		if req.Pins {
			return reply.Proof.VerifyPins(span, reply.Pins, root)
		}
		return reply.Proof.Verify(span, root)
	case *wire.CompactState:
		req := request.(*wire.GetCompactState)
		return verifyCompact(req, reply, c, root)
	}
	return fmt.Errorf("%T is no reply with a proof", reply)
}

var errCompact = errors.New("wrong compact state")

func verifyCompact(req *wire.GetCompactState, s *wire.CompactState, c operation.Codec, root mmr.Digest) error {
	if s.ID != req.ID || s.Leaves != req.Target.Leaves || s.Proof.Leaves != s.Leaves || req.Target.Root != root {
		return errCompact
	}
	if err := s.Proof.Verify(mmr.HashSpan(s.Leaves-1, s.Commit), root); err != nil {
		return err
	}
	op, err := c.Decode(s.Commit.At(0))
	if err != nil || op.Kind != operation.Commit || op.Floor > s.Leaves-1 {
		return errCompact
	}
	if got, err := mmr.Root(s.Leaves, mmr.InactivePeaks(s.Leaves, op.Floor), s.Pins); err != nil || got != root {
		return errCompact
	}
	return nil
}

func TestCapturedConversations(t *testing.T) {
	counts := map[string]int{}
	for _, c := range vectors.Captures(t) {
		if c.Negative() {
			continue
		}
		codec := codecs[c.Codec()]
		for _, k := range c.Cases {
			counts[k.Expect]++
			if err := checkConversation(c, k, codec, counts); err != nil {
				t.Errorf("%s: %s: %v", c.Name, k.Name, err)
			}
		}
	}
	for what, want := range map[string]int{
		"verifies": 1175, "error code 0": 224, "error code 1": 126, "error code 3": 22,
		"no reply, connection stays open": 202, "connection closed": 72,
		"proofs verified": 1073, "*wire.Operations": 1087, "*wire.CompactState": 10, "*wire.TargetReply": 68, "*wire.CompactTargetReply": 10, "*wire.Error": 372,
	} {
		if counts[what] != want {
			t.Errorf("%s: %d, want %d", what, counts[what], want)
		}
	}
}

func checkConversation(c *vectors.Capture, k vectors.Case, codec operation.Codec, counts map[string]int) error {
	request, err := decodeFrame(k.Request, codec)
	switch k.Expect {
	case "connection closed":
		if !errors.Is(err, wire.ErrFrame) {
			return fmt.Errorf("request: %v, want a frame error", err)
		}
		return nil
	case "no reply, connection stays open":
		if !errors.Is(err, wire.ErrDecode) {
			return fmt.Errorf("request: %v, want a decoding error", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	reply, err := decodeFrame(k.Response, codec)
	if err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	counts[fmt.Sprintf("%T", reply)]++
	again, err := wire.AppendFrame([]byte("before"), reply)
	if err != nil || !bytes.Equal(again, append([]byte("before"), k.Response...)) {
		return fmt.Errorf("encodes to %x, %v; captured %x", again, err, k.Response)
	}
	// Any non-zero byte is a true: encoded, such a request has another one.
	again, err = wire.AppendFrame(nil, request)
	if q, ok := request.(*wire.GetOperations); err != nil || !bytes.Equal(again, k.Request) && !(ok && q.Pins && k.Request[len(k.Request)-1] > 1) {
		return fmt.Errorf("request encodes to %x, %v; captured %x", again, err, k.Request)
	}
	if reply.RequestID() != request.RequestID() {
		return fmt.Errorf("reply to %d, request is %d", reply.RequestID(), request.RequestID())
	}
	payload, _ := unframe(k.Response)
	if tag, id, ok := wire.Peek(payload); !ok || tag != reply.Tag() || id != reply.RequestID() {
		return fmt.Errorf("peek: tag %d, id %d, %v", tag, id, ok)
	}
	if e, ok := reply.(*wire.Error); ok {
		if want := fmt.Sprintf("error code %d", e.Code); want != k.Expect {
			return fmt.Errorf("%s, want %s", want, k.Expect)
		}
		return nil
	}
	if k.Expect != "verifies" {
		return fmt.Errorf("%T, want %s", reply, k.Expect)
	}
	if k.Root == nil {
		return nil
	}
	counts["proofs verified"]++
	return verify(request, reply, codec, mmr.Digest(*k.Root))
}

// A captured log gives the captured roots, and its proofs are made alike.
func TestCapturedLogsReplay(t *testing.T) {
	logs, boundaries, proofs := 0, 0, 0
	for _, c := range vectors.Captures(t) {
		if len(c.Log) == 0 {
			continue
		}
		logs++
		codec := codecs[c.Codec()]
		var all []byte
		for _, op := range c.Log {
			all = append(all, op...)
		}
		run, err := codec.NewRun(all)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		span := mmr.HashSpan(0, run)
		inactive := map[uint64]uint64{}
		for _, b := range c.Boundaries {
			boundaries++
			op, err := codec.Decode(run.At(int(b.Size) - 1))
			if err != nil || op.Kind != operation.Commit || op.Floor != b.Floor {
				t.Errorf("%s: size %d: %+v, %v; want a commit with floor %d", c.Name, b.Size, op, err, b.Floor)
			}
			k := mmr.InactivePeaks(b.Size, b.Floor)
			if root, err := mmr.Root(b.Size, k, peaks(span, b.Size)); err != nil || k != b.InactivePeaks || root != mmr.Digest(b.Root) {
				t.Errorf("%s: size %d: root %s with %d inactive peaks, %v; captured %x, %d", c.Name, b.Size, root, k, err, b.Root, b.InactivePeaks)
			}
			inactive[b.Size] = k
		}
		for _, k := range c.Cases {
			request, err := decodeFrame(k.Request, codec)
			req, ok := request.(*wire.GetOperations)
			if err != nil || !ok || k.Expect != "verifies" {
				continue
			}
			reply, err := decodeFrame(k.Response, codec)
			if err != nil {
				t.Fatalf("%s: %s: %v", c.Name, k.Name, err)
			}
			end := req.Start + uint64(reply.(*wire.Operations).Run.Len())
			p, err := mmr.Prove(req.Size, inactive[req.Size], req.Start, end, func(n mmr.Node) (mmr.Digest, error) { return digest(span, n) })
			if err != nil {
				t.Fatalf("%s: %s: %v", c.Name, k.Name, err)
			}
			mine := wire.Operations{ID: req.ID, Proof: p, Run: run.Slice(int(req.Start), int(end)), HasPins: req.Pins}
			if req.Pins {
				mine.Pins = peaks(span, req.Start)
			}
			if frame, err := wire.AppendFrame(nil, &mine); err != nil || !bytes.Equal(frame, k.Response) {
				t.Errorf("%s: %s: %x, %v; captured %x", c.Name, k.Name, frame, err, k.Response)
			}
			if most := wire.MaxAnswer(codec, req.Size, end-req.Start); len(k.Response) > most {
				t.Errorf("%s: %s: reply of %d bytes, bound is %d", c.Name, k.Name, len(k.Response), most)
			}
			proofs++
		}
	}
	if logs != 17 || boundaries != 1147 || proofs != 1087 {
		t.Errorf("%d logs, %d boundaries, %d proofs", logs, boundaries, proofs)
	}
}

// digest is a node of the span, which holds it.
func digest(s *mmr.Span, n mmr.Node) (mmr.Digest, error) {
	d, ok := s.Digest(n)
	if !ok {
		return d, fmt.Errorf("no digest of %+v", n)
	}
	return d, nil
}

// peaks are those of the first size operations of the span.
func peaks(s *mmr.Span, size uint64) []mmr.Digest {
	var ds []mmr.Digest
	for _, n := range mmr.Peaks(size) {
		d, _ := s.Digest(n)
		ds = append(ds, d)
	}
	return ds
}

func TestEveryNegativeReplyIsRefused(t *testing.T) {
	refused := map[string]int{}
	for _, c := range vectors.Captures(t) {
		if !c.Negative() {
			continue
		}
		codec := codecs[c.Codec()]
		for _, k := range c.Cases {
			request, err := decodeFrame(k.Request, codec)
			if err != nil {
				t.Fatalf("%s: %s: request: %v", c.Name, k.Name, err)
			}
			reply, err := decodeFrame(k.Response, codec)
			if (err != nil) != (k.Stage == "decode") {
				t.Errorf("%s: %s: decoding: %v, want a rejection in stage %q: %s", c.Name, k.Name, err, k.Stage, k.Reason)
			}
			if err == nil {
				err = verify(request, reply, codec, mmr.Digest(*k.Root))
			}
			switch {
			case errors.Is(err, wire.ErrDecode):
				refused["decode"]++
			case errors.Is(err, wire.ErrAnswer):
				refused["answer"]++
			case errors.Is(err, mmr.ErrProof):
				refused["proof"]++
			case errors.Is(err, errCompact):
				refused["compact"]++
			default:
				t.Errorf("%s: %s (%s): %v", c.Name, k.Name, k.Reason, err)
			}
		}
	}
	total := 0
	for _, n := range refused {
		total += n
	}
	if total != 7142 || refused["decode"] != 1034 || refused["answer"] == 0 || refused["proof"] == 0 || refused["compact"] == 0 {
		t.Errorf("%d refused: %v", total, refused)
	}
}
