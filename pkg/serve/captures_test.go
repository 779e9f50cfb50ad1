package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// capturedLog is the log of a capture, its state at the last commit.
func capturedLog(t *testing.T, c *vectors.Capture) *memoryLog {
	t.Helper()
	family, encoding, _ := strings.Cut(c.Codec(), "/")
	l := &memoryLog{boundaries: make(map[uint64]boundary)}
	for _, f := range []operation.Family{operation.Any, operation.Immutable, operation.Keyless} {
		if e := operation.Fixed; f.String() == family && e.String() == encoding {
			l.codec = operation.NewCodec(f, e)
		}
	}
	for _, op := range c.Log {
		l.ops = append(l.ops, op)
	}
	l.span = mmr.HashSpan(0, elements(l.ops))
	for _, b := range c.Boundaries {
		floor := b.Floor
		if c.Family == "current" { // its sync boundary is a whole chunk
			floor &^= 255
		}
		l.boundaries[b.Size] = boundary{floor, b.InactivePeaks, mmr.Digest(b.Root)}
		l.size = max(l.size, b.Size)
	}
	return l
}

// The recorded peer caps replies at this many operations.
const peerMaxOps = 100

func TestCapturedRequestsGetThePeersReplies(t *testing.T) {
	counts := make(map[string]int)
	for _, c := range vectors.Captures(t) {
		if c.Negative() || c.Mode != "full" {
			continue
		}
		log := capturedLog(t, c)
		for i, cs := range c.Cases {
			counts[strings.Fields(cs.Expect)[0]]++
			t.Run(fmt.Sprintf("%s/%d %s", c.Name, i, cs.Name), func(t *testing.T) {
				l := newPipes()
				at := *log // the published state when the request was made
				if reply, ok := decodeFrame(cs.Response, log.codec).(*wire.TargetReply); ok {
					at.size = reply.Target.End
				}
				start(t, &at, Options{MaxOpsPerResponse: peerMaxOps}, l)
				replay(t, dial(t, l, log.codec), cs)
			})
		}
	}
	// A file or a kind of case that is no longer replayed must not go unseen.
	want := map[string]int{"verifies": 1155, "error": 322, "no": 154, "connection": 56}
	if !maps.Equal(counts, want) {
		t.Errorf("replayed %v, want %v", counts, want)
	}
}

// decodeFrame is the message of a whole frame, nil if there is none.
func decodeFrame(frame []byte, codec operation.Codec) wire.Message {
	r := bytes.NewReader(frame)
	if _, err := wire.ReadFrameLen(r); err != nil {
		return nil
	}
	m, err := wire.Decode(frame[len(frame)-r.Len():], codec)
	if err != nil {
		return nil
	}
	return m
}

func replay(t *testing.T, c *client, cs vectors.Case) {
	switch {
	case cs.Expect == "verifies":
		c.write(cs.Request)
		got, err := wire.ReadFrame(c.br, nil, wire.MaxFrame)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(cs.Response, got) || len(got) < len(cs.Response)-4 { // a length prefix has at most four bytes
			t.Errorf("reply differs from the peer's:\n got %x\nwant %x", got, []byte(cs.Response))
		}
	case strings.HasPrefix(cs.Expect, "error code "):
		c.write(cs.Request)
		m, ok := c.receive().(*wire.Error)
		if !ok {
			t.Fatalf("got %T, want an error", m)
		}
		if got := fmt.Sprintf("error code %d", m.Code); got != cs.Expect {
			t.Errorf("got %s (%s), want %s", got, m.Text, cs.Expect)
		}
		if want := decodeFrame(cs.Response, c.codec); want.RequestID() != m.ID {
			t.Errorf("error for request %d, want %d", m.ID, want.RequestID())
		}
	case cs.Expect == "no reply, connection stays open":
		c.write(cs.Request)
		c.target() // answered, and nothing before it
	case cs.Expect == "connection closed":
		// The server may close before it has taken all bytes.
		if _, err := c.conn.Write(cs.Request); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
		c.conn.SetDeadline(time.Now().Add(patience))
		c.wantClosed()
	default:
		t.Fatalf("unknown expectation %q", cs.Expect)
	}
}
