package serve

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestTargetIsTheNewestState(t *testing.T) {
	f := newFixture(t, anyFixed, 20, 7, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	got := dial(t, l, anyFixed).target()
	v, err := f.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	want := wire.Target{Root: f.last().Root, Start: v.Floor(), End: f.last().Size}
	if got != want {
		t.Errorf("target %v, want %v", got, want)
	}
}

func TestEveryRetainedSizeIsServed(t *testing.T) {
	f := newFixture(t, anyFixed, 20, 7, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, at := range f.commits {
		for _, start := range []uint64{0, at.Size / 2, at.Size - 1, rng.Uint64N(at.Size)} {
			for _, limit := range []uint64{1, 5, math.MaxUint64} {
				for _, pins := range []bool{false, true} {
					req := wire.GetOperations{ID: rng.Uint64(), Size: at.Size, Start: start, Max: limit, Pins: pins}
					got := wantOperations(t, req, c.ask(&req), at.Root)
					if want := min(limit, at.Size-start); uint64(got.Run.Len()) != want {
						t.Errorf("%+v: %d operations, want %d", req, got.Run.Len(), want)
					}
				}
			}
		}
	}
}

func TestRequestsThatCannotBeServedAreRefusedWithTheirCode(t *testing.T) {
	f := newFixture(t, anyFixed, 5, 9, 32)
	size := f.last().Size
	l := listen(t)
	start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	for _, tc := range []struct {
		name    string
		request wire.Message
		code    wire.Code
		says    string
	}{
		{"start equals op_count", &wire.GetOperations{Size: size, Start: size, Max: 1}, wire.InvalidRequest, "start"},
		{"start above op_count", &wire.GetOperations{Size: 1, Start: 2, Max: 1}, wire.InvalidRequest, "start 2"},
		{"no operations at all", &wire.GetOperations{Size: 0, Start: 0, Max: 1}, wire.InvalidRequest, "op_count 0"},
		{"start at the size of the log", &wire.GetOperations{Size: size + 5, Start: size, Max: 1}, wire.InvalidRequest, "size of the log"},
		{"op_count above the size", &wire.GetOperations{Size: size + 1, Max: 1}, wire.Database, "beyond"},
		{"op_count at the limit", &wire.GetOperations{Size: mmr.MaxLeaves, Max: math.MaxUint64, Pins: true}, wire.Database, "beyond"},
		{"op_count is no commit", &wire.GetOperations{Size: size - 1, Max: 1}, wire.Database, "commit"},
		{"op_count is no commit, pins", &wire.GetOperations{Size: size - 1, Start: 1, Max: 1, Pins: true}, wire.Database, "commit"},
		{"compact target", &wire.GetCompactTarget{}, wire.InvalidRequest, "compact"},
		{"compact state", &wire.GetCompactState{Target: wire.CompactTarget{Leaves: 1}}, wire.InvalidRequest, "compact"},
		{"target reply", &wire.TargetReply{Target: wire.Target{End: 1}}, wire.InvalidRequest, "tag 3"},
		{"compact target reply", &wire.CompactTargetReply{Target: wire.CompactTarget{Leaves: 1}}, wire.InvalidRequest, "tag 5"},
		{"operations", &wire.Operations{}, wire.InvalidRequest, "tag 1"},
		{"error", &wire.Error{Text: "x"}, wire.InvalidRequest, "tag 8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.t = t
			if text := c.wantRefusal(tc.request, tc.code); !strings.Contains(text, tc.says) {
				t.Errorf("refused with %q, which does not speak of %q", text, tc.says)
			}
		})
	}
}

func TestFramesThatDoNotDecodeAreSkipped(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 1, 32)
	l := listen(t)
	s := start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	whole := (&wire.GetOperations{Size: 1, Max: 1}).AppendTo(nil)
	bad := [][]byte{
		{},
		{wire.TagGetTarget},
		{9, 0, 0, 0, 0, 0, 0, 0, 7},
		{255, 0, 0, 0, 0, 0, 0, 0, 7},
		whole[:len(whole)-1],
		append(slices.Clip(whole), 0),
		(&wire.GetOperations{Size: 1, Max: 0}).AppendTo(nil),
		(&wire.GetOperations{Size: mmr.MaxLeaves + 1, Max: 1}).AppendTo(nil),
		make([]byte, DefaultMaxRequestBytes),
	}
	for _, payload := range bad {
		c.write(append(operation.AppendUvarint(nil, uint64(len(payload))), payload...))
		c.target() // the next thing to come back
	}
	if got := value(t, s.opts.Metrics.undecodable); got != float64(len(bad)) {
		t.Errorf("%v frames counted as not decodable, sent %d", got, len(bad))
	}
}

func TestFramesLongerThanAnyRequestAreSkipped(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 1, 32)
	l := listen(t)
	s := start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	for _, n := range []int{DefaultMaxRequestBytes + 1, 1 << 20, wire.MaxFrame} {
		c.write(operation.AppendUvarint(nil, uint64(n)))
		c.write(make([]byte, n))
		c.target()
	}
	if got := value(t, s.opts.Metrics.oversized); got != 3 {
		t.Errorf("%v frames counted as too long, sent 3", got)
	}
}

func TestLengthPrefixThatCannotBeTrustedEndsTheConnection(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 1, 32)
	l := listen(t)
	s := start(t, f, Options{}, l)
	for name, prefix := range map[string][]byte{
		"above 10 MiB":        operation.AppendUvarint(nil, wire.MaxFrame+1),
		"not shortest":        {0x89, 0x00},
		"wider than 32 bits":  {0xff, 0xff, 0xff, 0xff, 0x7f},
		"not a number at all": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, l, anyFixed)
			// What was asked before is still answered.
			c.write(append(frames(t, &wire.GetTarget{ID: 4}), prefix...))
			if m := c.receive(); m.RequestID() != 4 {
				t.Errorf("got %+v", m)
			}
			c.wantClosed()
		})
	}
	eventually(t, "four connections counted", func() bool { return value(t, s.opts.Metrics.closed[byLengthPrefix]) == 4 })
}

func TestHalfClosedConnectionGetsItsReplies(t *testing.T) {
	f := newFixture(t, anyFixed, 20, 50, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	const n = 300
	var requests []wire.Message
	for i := range n {
		requests = append(requests, &wire.GetOperations{ID: uint64(i), Size: f.last().Size, Max: 100})
	}
	c.send(requests...)
	c.closeWrite()
	for range n {
		c.receive()
	}
	if m, err := c.tryReceive(); !isEOF(err) {
		t.Errorf("got %+v, %v after the last reply, want the end", m, err)
	}
}

func TestFrameCutShortByThePeerEndsQuietly(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 1, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	c.write([]byte{9, wire.TagGetTarget, 0})
	c.closeWrite()
	c.wantClosed()
}

func TestFramesNeedNotArriveWhole(t *testing.T) {
	f := newFixture(t, anyFixed, 4, 3, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	reqs := []wire.Message{&wire.GetTarget{ID: 1}, &wire.GetOperations{ID: 2, Size: 1, Max: 9, Pins: true}, &wire.GetTarget{ID: 3}}
	for _, b := range frames(t, reqs...) {
		c.write([]byte{b})
	}
	seen := make(map[uint64]bool)
	for range reqs {
		seen[c.receive().RequestID()] = true
	}
	if len(seen) != len(reqs) {
		t.Errorf("replies to %v", seen)
	}
}

func TestPipelinedRequestsAreAllAnswered(t *testing.T) {
	f := newFixture(t, anyFixed, 40, 25, 32)
	l := listen(t)
	s := start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	const n = 5000
	rng := rand.New(rand.NewPCG(3, 4))
	asked := make(map[uint64]wire.GetOperations, n)
	roots := make(map[uint64]mmr.Digest)
	var all []byte
	for id := range uint64(n) {
		at := f.commits[rng.IntN(len(f.commits))]
		req := wire.GetOperations{ID: id << 40, Size: at.Size, Start: rng.Uint64N(at.Size), Max: 1 + rng.Uint64N(8), Pins: id%3 == 0}
		asked[req.ID], roots[at.Size] = req, at.Root
		all = append(all, frames(t, &req)...)
	}
	go c.conn.Write(all) // one write; the replies fill the socket long before it ends
	for range n {
		reply := c.receive()
		req, ok := asked[reply.RequestID()]
		if !ok {
			t.Fatalf("reply to %d, which was not asked or was answered already", reply.RequestID())
		}
		delete(asked, reply.RequestID())
		wantOperations(t, req, reply, roots[req.Size])
	}
	m := s.opts.Metrics
	eventually(t, "everything given back", func() bool {
		return value(t, m.inflightRequests) == 0 && value(t, m.inflightBytes) == 0
	})
	if got := value(t, m.requests[getOperations]); got != n {
		t.Errorf("%v requests counted, sent %d", got, n)
	}
	if writes := value(t, m.writes); writes > n/2 {
		t.Errorf("%v writes for %d replies: they do not share writes", writes, n)
	}
}

func TestConnectionsDoNotDisturbEachOther(t *testing.T) {
	f := newFixture(t, anyFixed, 10, 20, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	garbage, honest := dial(t, l, anyFixed), dial(t, l, anyFixed)
	for range 50 {
		garbage.write([]byte{3, 1, 2, 3})
		honest.target()
	}
	garbage.conn.Close()
	honest.target()
}

func TestRepliesAreCutByCountAndBytes(t *testing.T) {
	variable := operation.NewCodec(operation.Any, operation.Variable)
	const valueSize = 10_000
	f := newFixture(t, variable, 3, 30, valueSize)
	at := f.last()
	for name, tc := range map[string]struct {
		opts      Options
		atMost    int
		wantBytes int
	}{
		"count":                          {Options{MaxOpsPerResponse: 4}, 4, 0},
		"bytes":                          {Options{MaxReplyBytes: 5 * valueSize}, 5, 5 * valueSize},
		"no less than one operation":     {Options{MaxReplyBytes: 10}, 1, 0},
		"budget smaller than any answer": {Options{MaxInflightBytes: 1, MaxTotalBytes: 1}, 62, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			start(t, f, tc.opts, l)
			c := dial(t, l, variable)
			for next := uint64(0); next < at.Size; {
				req := wire.GetOperations{ID: next, Size: at.Size, Start: next, Max: 1000, Pins: true}
				got := wantOperations(t, req, c.ask(&req), at.Root)
				n := got.Run.Len()
				if n == 0 || n > tc.atMost && next > 0 {
					t.Fatalf("%d operations from %d, want at most %d", n, next, tc.atMost)
				}
				if b := len(got.Run.Bytes()); tc.wantBytes > 0 && b > tc.wantBytes {
					t.Fatalf("%d bytes of operations, want at most %d", b, tc.wantBytes)
				}
				next += uint64(n)
			}
		})
	}
}

func TestDatabaseFaultIsAnErrorNeverAWrongAnswer(t *testing.T) {
	f := newFixture(t, anyFixed, 3, 3, 32)
	for name, tc := range map[string]struct {
		err    error
		counts failure
	}{
		"corruption": {&store.CorruptError{Where: "bundle", Err: errors.New("checksum")}, corruption},
		"other":      {errors.New("input/output error"), otherFailure},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			s := start(t, failing{f, tc.err}, Options{}, l)
			c := dial(t, l, anyFixed)
			text := c.wantRefusal(&wire.GetOperations{ID: 8, Size: 1, Max: 1}, wire.Database)
			if strings.Contains(text, tc.err.Error()) {
				t.Errorf("the peer is told %q", text)
			}
			c.target() // the connection goes on
			for k, m := range s.opts.Metrics.failures {
				if got, want := value(t, m) == 1, failure(k) == tc.counts; got != want {
					t.Errorf("failure %v counted: %v", failure(k), got)
				}
			}
		})
	}
}

func TestDatabaseWithoutAStateIsNotReady(t *testing.T) {
	f := newFixture(t, anyFixed, 1, 0, 32)
	l := listen(t)
	s := start(t, unopened{f, database.ErrEmpty}, Options{}, l)
	c := dial(t, l, anyFixed)
	for _, m := range []wire.Message{&wire.GetTarget{ID: 2}, &wire.GetOperations{ID: 3, Size: 1, Max: 1}} {
		if text := c.wantRefusal(m, wire.Database); !strings.Contains(text, "not ready") {
			t.Errorf("refused with %q", text)
		}
	}
	if got := value(t, s.opts.Metrics.failures[otherFailure]); got != 0 {
		t.Errorf("counted as %v failures of the database", got)
	}
}

// Every id comes back, whatever it is.
func TestRequestIDsAreEchoed(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	for _, id := range []uint64{0, 1, math.MaxUint64, binary.BigEndian.Uint64([]byte("any id 8"))} {
		c.ask(&wire.GetTarget{ID: id})
		c.ask(&wire.GetOperations{ID: id, Size: 1, Max: 1})
		c.ask(&wire.GetCompactTarget{ID: id})
	}
}
