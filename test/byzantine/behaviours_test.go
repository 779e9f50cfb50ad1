package byzantine

import (
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

// dice is a source of chance that the connections of a server share.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{r: rand.New(rand.NewPCG(seed, 2026))} }

// below is a number in [0, n).
func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// behaviour is one way to treat a client.
type behaviour struct {
	name string
	// harmless: a client may well complete with this server alone.
	harmless bool
	// unnoticed: nothing that it does fails a request.
	unnoticed bool
	// moving: the trusted target moves while the client follows it.
	moving bool
	serve  func(w *world, d *dice) sourcetest.Handler
}

// lying answers honestly but for the answers to requests for operations, which
// lie may change or send by itself, and then return nil.
func lying(lie func(d *dice, c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message) func(*world, *dice) sourcetest.Handler {
	return func(w *world, d *dice) sourcetest.Handler {
		return func(c *sourcetest.Conn, m wire.Message) {
			if wire.Extension(m.Tag()) {
				return
			}
			reply := sourcetest.Answer(w.honest, m)
			if a, ok := reply.(*wire.Operations); ok {
				reply = lie(d, c, m.(*wire.GetOperations), a)
			}
			if reply != nil {
				c.Send(reply)
			}
		}
	}
}

// of answers from one database, and dbs picks it.
func of(pick func(w *world, c *sourcetest.Conn) *database.DB) func(*world, *dice) sourcetest.Handler {
	return func(w *world, _ *dice) sourcetest.Handler {
		return func(c *sourcetest.Conn, m wire.Message) { sourcetest.Honest(pick(w, c))(c, m) }
	}
}

// after answers the first n requests for operations honestly, and the others by lie.
func after(n int64, w *world, lie sourcetest.Handler) sourcetest.Handler {
	var seen atomic.Int64
	return func(c *sourcetest.Conn, m wire.Message) {
		if m.Tag() == wire.TagGetOperations && seen.Add(1) <= n {
			sourcetest.Honest(w.honest)(c, m)
			return
		}
		lie(c, m)
	}
}

// slowed waits before every answer.
func slowed(d time.Duration, h sourcetest.Handler) sourcetest.Handler {
	return func(c *sourcetest.Conn, m wire.Message) {
		time.Sleep(d)
		h(c, m)
	}
}

// withRun gives an answer other operations.
func withRun(a *wire.Operations, ops []byte) *wire.Operations {
	run, err := codec.NewRun(ops)
	if err != nil {
		panic(err) // they are a whole number
	}
	a.Run = run
	return a
}

// frameOf is a message as it is sent.
func frameOf(m wire.Message) []byte {
	b, err := wire.AppendFrame(nil, m)
	if err != nil {
		panic(err) // an honest answer fits
	}
	return b
}

// framed puts a payload into a frame.
func framed(payload []byte) []byte {
	return append(operation.AppendUvarint(nil, uint64(len(payload))), payload...)
}

// write sends bytes as they are and says whether they went out.
func write(c *sourcetest.Conn, b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

var behaviours = []behaviour{
	{name: "bit flips anywhere in an answer", serve: lying(
		func(d *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			b := frameOf(a)
			b[d.below(len(b))] ^= 1 << d.below(8)
			write(c, b)
			return nil
		})},
	{name: "replay of old answers", serve: func(w *world, d *dice) sourcetest.Handler {
		var mu sync.Mutex
		var old []*wire.Operations
		return lying(func(d *dice, _ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
			mu.Lock()
			defer mu.Unlock()
			if len(old) < 3 {
				old = append(old, a)
				return a
			}
			again := *old[d.below(len(old))]
			again.ID = m.ID
			return &again
		})(w, d)
	}},
	{name: "answers for other ranges", serve: func(w *world, d *dice) sourcetest.Handler {
		return func(c *sourcetest.Conn, m wire.Message) {
			if r, ok := m.(*wire.GetOperations); ok {
				moved := *r
				moved.Start = (r.Start + 1 + uint64(d.below(100))) % max(r.Size, 1)
				m = &moved
			}
			sourcetest.Honest(w.honest)(c, m)
		}
	}},
	{name: "valid proofs of another database",
		serve: of(func(w *world, _ *sourcetest.Conn) *database.DB { return w.other })},
	{name: "split view between connections",
		serve: of(func(w *world, c *sourcetest.Conn) *database.DB {
			if c.N%2 == 0 {
				return w.other
			}
			return w.honest
		}), harmless: true},
	{name: "rollback in the middle", serve: func(w *world, _ *dice) sourcetest.Handler {
		var n atomic.Int64
		return func(c *sourcetest.Conn, m wire.Message) {
			db := w.honest
			if m.Tag() == wire.TagGetOperations && n.Add(1) > 5 || n.Load() > 5 {
				db = w.old
			}
			sourcetest.Honest(db)(c, m)
		}
	}},
	{name: "target that moves faster than the sync", harmless: true, unnoticed: true, moving: true,
		serve: func(w *world, d *dice) sourcetest.Handler {
			var n atomic.Uint64
			return func(c *sourcetest.Conn, m wire.Message) {
				reply := sourcetest.Answer(w.honest, m)
				if t, ok := reply.(*wire.TargetReply); ok {
					t.Target.End += n.Add(1) * 100
					t.Target.Root[d.below(32)] ^= 1
				}
				if !wire.Extension(m.Tag()) {
					c.Send(reply)
				}
			}
		}},
	{name: "freezing at an old target",
		serve: of(func(w *world, _ *sourcetest.Conn) *database.DB { return w.old })},
	{name: "slow-loris", serve: lying(
		func(_ *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			for b := frameOf(a); len(b) > 0 && write(c, b[:1]); b = b[1:] {
				time.Sleep(5 * time.Millisecond)
			}
			return nil
		})},
	{name: "frame that does not end", serve: lying(
		func(_ *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			write(c, operation.AppendUvarint(nil, wire.MaxFrame))
			write(c, a.AppendTo(nil)[:9])
			for zeros := make([]byte, 64<<10); write(c, zeros); {
				time.Sleep(time.Millisecond)
			}
			return nil
		})},
	{name: "endless frames that nobody asked for", serve: lying(
		func(_ *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			for b := frameOf(a); write(c, b); {
				a.ID++
			}
			return nil
		})},
	{name: "endless pushes that nobody asked for", serve: lying(
		func(_ *dice, c *sourcetest.Conn, m *wire.GetOperations, _ *wire.Operations) wire.Message {
			for b := frameOf(&wire.TargetPush{ID: m.ID, Target: wire.Target{End: 1}}); write(c, b); {
			}
			return nil
		})},
	{name: "empty answers", serve: lying(
		func(d *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			if d.below(2) == 0 {
				write(c, []byte{0})
				return nil
			}
			return withRun(a, nil)
		})},
	{name: "huge counts", serve: lying(
		func(d *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			huge := []uint64{1 << 16, 1 << 31, 1<<32 - 1, 1 << 62, 1<<64 - 1}[d.below(5)]
			b := a.AppendTo(nil)[:9]
			switch d.below(3) {
			case 0: // of digests
				b = append(b, wire.AppendProof(nil, mmr.Proof{Leaves: a.Proof.Leaves, InactivePeaks: a.Proof.InactivePeaks})...)
				b = operation.AppendUvarint(b[:len(b)-1], huge)
			case 1: // of operations
				b = operation.AppendUvarint(wire.AppendProof(b, a.Proof), huge)
			default: // of inactive peaks
				a.Proof.InactivePeaks = huge
				return a
			}
			write(c, framed(append(b, make([]byte, 100)...)))
			return nil
		})},
	{name: "wrong pins", serve: lying(
		func(d *dice, _ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
			switch {
			case !m.Pins: // what was not asked for
				a.HasPins, a.Pins = true, slices.Clone(a.Proof.Digests)
			case len(a.Pins) == 0 || d.below(3) == 0:
				a.Pins = append(slices.Clone(a.Pins), mmr.Digest{1})
			default:
				a.Pins = slices.Clone(a.Pins)
				a.Pins[d.below(len(a.Pins))][d.below(32)] ^= 1
			}
			return a
		})},
	{name: "truncated lists", serve: lying(
		func(d *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			switch n := a.Run.Len(); {
			case d.below(3) == 0 && n > 1: // fewer operations under the proof of more
				return withRun(a, a.Run.Bytes()[:(n-1)*codec.Size()])
			case d.below(2) == 0 && len(a.Proof.Digests) > 0:
				a.Proof.Digests = a.Proof.Digests[:len(a.Proof.Digests)-1]
				return a
			}
			b := a.AppendTo(nil)
			write(c, framed(b[:len(b)-1-d.below(len(b)/2)]))
			return nil
		})},
	{name: "good and bad by turns", harmless: true, serve: func(w *world, d *dice) sourcetest.Handler {
		var n atomic.Int64
		return lying(func(_ *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			if n.Add(1)%2 == 0 {
				return a
			}
			b := a.AppendTo(nil)
			b[len(b)-codec.Size()+3] ^= 1 // in the key of an operation, or in its slot
			write(c, framed(b))
			return nil
		})(w, d)
	}},
	{name: "connection resets", serve: lying(
		func(d *dice, c *sourcetest.Conn, _ *wire.GetOperations, a *wire.Operations) wire.Message {
			b := frameOf(a)
			write(c, b[:d.below(len(b))])
			if tcp, ok := c.Conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a reset, and not an end
			}
			c.Close()
			return nil
		})},
	{name: "silence", serve: lying(
		func(*dice, *sourcetest.Conn, *wire.GetOperations, *wire.Operations) wire.Message { return nil })},
	{name: "refusals", serve: lying(
		func(d *dice, _ *sourcetest.Conn, m *wire.GetOperations, _ *wire.Operations) wire.Message {
			codes := []wire.Code{wire.InvalidRequest, wire.Database, wire.StaleTarget, wire.Internal}
			return &wire.Error{ID: m.ID, Code: codes[d.below(len(codes))], Text: strings.Repeat("no\n", d.below(2000))}
		})},
}
