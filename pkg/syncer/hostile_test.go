package syncer_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/wire"
)

// replaced is an answer with other operations.
func replaced(a *wire.Operations, change func(b []byte) []byte) *wire.Operations {
	run, err := anyFixed.NewRun(change(slices.Clone(a.Run.Bytes())))
	if err != nil {
		panic(err)
	}
	a.Run = run
	return a
}

// lies are what a server may do with its answers to requests for operations.
var lies = []struct {
	name string
	lie  func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message
}{
	{"changed operation", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		return replaced(a, func(b []byte) []byte { b[len(b)-65+41] ^= 1; return b })
	}},
	{"forged proof", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.Proof.Digests[len(a.Proof.Digests)/2][3] ^= 1
		return a
	}},
	{"missing digest", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.Proof.Digests = a.Proof.Digests[1:]
		return a
	}},
	{"extra digest", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.Proof.Digests = append(a.Proof.Digests, a.Proof.Digests[0])
		return a
	}},
	{"other number of inactive peaks", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.Proof.InactivePeaks++
		return a
	}},
	{"huge number of inactive peaks", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.Proof.InactivePeaks = 1 << 63
		return a
	}},
	{"swapped or invented pins", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		if len(a.Pins) > 1 {
			slices.Reverse(a.Pins)
		} else {
			a.Pins = append(a.Pins, a.Proof.Digests[0])
		}
		a.HasPins = true
		return a
	}},
	{"size of another log", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.Proof.Leaves--
		return a
	}},
	{"operation dropped", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		return replaced(a, func(b []byte) []byte { return b[65:] })
	}},
	{"operation doubled", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		return replaced(a, func(b []byte) []byte { return append(b[:65:65], b...) })
	}},
	{"no operations", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.Run = a.Run.Slice(0, 0)
		return a
	}},
	{"another request's id", func(_ *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		a.ID++
		return a
	}},
	{"garbage in a frame", func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		c.Write(append([]byte{40}, bytes.Repeat([]byte{9}, 40)...))
		return nil
	}},
	{"oversized frame", func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		c.Write(operation.AppendUvarint(nil, wire.MaxFrame+1))
		return nil
	}},
	{"longer than any honest answer", func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		return replaced(a, func(b []byte) []byte { return bytes.Repeat(b[:65], 9000) })
	}},
	{"frame that never ends", func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		c.Write(append(operation.AppendUvarint(nil, 9999), a.AppendTo(nil)[:30]...))
		return nil
	}},
	{"silence", func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message { return nil }},
	{"reset", func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		c.Close()
		return nil
	}},
	{"internal errors", func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
		return &wire.Error{ID: m.ID, Code: wire.Internal, Text: "out of order\n"}
	}},
}

// A server lies from some request on, a few times, and then answers honestly:
// the lies are counted and logged with the peer, nothing of them is stored, and
// the sync completes.
func TestLiesAreRefusedAndALaterHonestAnswerCompletes(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	for range 4 {
		sourcetest.Commit(t, db, 1, 3, 25) // the floor rises: the target starts above 0
	}
	if v, _ := db.View(); v.Floor() == 0 {
		t.Fatal("the target should start above 0")
	} else {
		v.Close()
	}
	all := newBeside()
	defer all.wait()
	for _, l := range lies {
		for _, from := range []int64{1, 2, 5} { // the last operation, the pins, the middle
			all.run(t, fmt.Sprintf("%s from request %d on", l.name, from), func(t *testing.T) {
				var n atomic.Int64
				srv := sourcetest.Start(t, honest(db, func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message {
					if i := n.Add(1); i >= from && i < from+2 {
						return l.lie(c, m, a)
					}
					return a
				}))
				cl := newClient(t, anyFixed, syncer.Options{BatchSize: 20, MaxOutstanding: 4}, srv.Addr)
				cl.sync(t)
				equal(t, db, cl.db)
				if cl.logs.count("abandoned")+cl.logs.count("dropped operations") > 0 {
					t.Errorf("something false was stored, and found out later\n%s", cl.logs)
				}
				if cl.metric(t, "proofsync_sync_failures_total") == 0 {
					t.Errorf("nothing was counted\n%s", cl.logs)
				}
				if cl.logs.count("WARN") == 0 || cl.logs.count("peer="+srv.Addr) == 0 {
					t.Errorf("nothing was logged with the peer\n%s", cl.logs)
				}
				// Refusals are no offence, and a connection over which others are
				// answered is not silent.
				kept := l.name == "internal errors" || l.name == "silence" && from == 5
				if !kept && srv.Connections.Load() < 2 {
					t.Error("the connection was kept")
				}
			})
		}
	}
}

// targets are lies about the target itself.
func TestFalseTargetsAreSurvived(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 4, 50)
	first := sourcetest.Commit(t, db, 5, 1, 50)
	all := newBeside()
	defer all.wait()
	for name, lie := range map[string]func(t wire.Target) wire.Target{
		"unknown root":              func(t wire.Target) wire.Target { t.Root[0] ^= 1; return t },
		"size that is no boundary":  func(t wire.Target) wire.Target { t.End--; return t },
		"more than there is":        func(t wire.Target) wire.Target { t.End += 1000; return t },
		"start above the floor":     func(t wire.Target) wire.Target { t.Start = t.End - 1; return t },
		"root of another size":      func(t wire.Target) wire.Target { t.Root = first.Root; t.End -= 52; return t },
		"nothing but a start":       func(t wire.Target) wire.Target { t.Start, t.End = 1<<62-1, 1<<62; return t },
		"start higher than ever":    func(t wire.Target) wire.Target { t.Start += 5; return t },
		"a smaller log's root, too": func(t wire.Target) wire.Target { t.End = 1; t.Start = 0; return t },
	} {
		for _, synced := range []bool{false, true} {
			all.run(t, fmt.Sprintf("%s, replica exists %t", name, synced), func(t *testing.T) {
				var polls atomic.Int64
				srv := sourcetest.Start(t, sourcetest.Honest(db))
				cl := newClient(t, anyFixed, syncer.Options{}, srv.Addr)
				var before syncer.Result
				if synced {
					before = cl.sync(t)
				}
				srv.Handle(func(c *sourcetest.Conn, m wire.Message) {
					reply := sourcetest.Answer(db, m)
					if r, ok := reply.(*wire.TargetReply); ok && polls.Add(1) <= 2 {
						r.Target = lie(r.Target)
					}
					c.Send(reply)
				})
				r := cl.sync(t)
				equal(t, db, cl.db)
				// Of a target we have already, only size and root matter; one that
				// ends before what is retained is no offence, but said.
				unclear := cl.logs.count("cannot be compared") == 1
				harmless := synced && strings.HasPrefix(name, "start")
				if !harmless && !unclear && cl.metric(t, "proofsync_sync_failures_total") == 0 {
					t.Error("the false target was not noticed")
				}
				if cl.metric(t, "proofsync_sync_forks_total") != 0 {
					t.Error("taken for a fork: nobody proved that root")
				}
				if synced && (r.Size != before.Size || r.Published != 0) {
					t.Errorf("a false target was published: %+v", r)
				}
			})
		}
	}
}

func TestShortAnswersAreNotHeldAgainstAnyone(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 3, 60)
	var n atomic.Int64
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		if r, ok := m.(*wire.GetOperations); ok {
			r.Max = min(r.Max, 1+uint64(n.Add(1))%13)
		}
		c.Send(sourcetest.Answer(db, m))
	})
	cl := newClient(t, anyFixed, syncer.Options{}, srv.Addr)
	cl.sync(t)
	equal(t, db, cl.db)
	if f := cl.metric(t, "proofsync_sync_failures_total"); f != 0 {
		t.Errorf("%v failures\n%s", f, cl.logs)
	}
}

func TestOneLiarAmongSeveralSourcesIsCooledDown(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 20, 50)
	liar := sourcetest.Start(t, honest(db, lies[0].lie))
	addrs := []string{liar.Addr, startServer(t, db, serve.Options{}), startServer(t, db, serve.Options{})}
	cl := newClient(t, anyFixed, syncer.Options{BatchSize: 25}, addrs...)
	began := time.Now()
	cl.sync(t)
	equal(t, db, cl.db)
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("took %s", d)
	}
	if n := liar.Data.Load(); n > 40 {
		t.Errorf("the liar was asked %d times", n)
	}
	if _, err := cl.fs.Stat("db/evidence/refuted-" + strings.ReplaceAll(liar.Addr, ":", "_") + ".json"); err != nil {
		t.Errorf("the answer was not kept: %v", err)
	}
	if cl.metric(t, "proofsync_sync_verification_failures_total") == 0 || cl.logs.count("cool-down") == 0 {
		t.Errorf("the liar went unnoticed\n%s", cl.logs)
	}
}

func TestSourceThatLagsIsNoReasonToFail(t *testing.T) {
	db, old := sourcetest.Writer(t, anyFixed), sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 10, 50)
	sourcetest.Commit(t, old, 1, 10, 50)
	sourcetest.Commit(t, db, 2, 10, 50)
	addrs := []string{startServer(t, old, serve.Options{}), startServer(t, db, serve.Options{})}
	cl := newClient(t, anyFixed, syncer.Options{BatchSize: 20}, addrs...)
	until(t, "the newest state", func() bool { return cl.sync(t).Size == targetEnd(t, db) })
	equal(t, db, cl.db)
	if cl.metric(t, "proofsync_sync_forks_total") != 0 {
		t.Error("a lagging source was taken for a fork")
	}
}

// A server that forgets old sizes at once, while its log grows: what was
// verified under the old target is kept under the new one.
func TestNewTargetIsAdoptedWhenTheOldOneIsRefused(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 6, 100)
	var n atomic.Int64
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		if r, ok := m.(*wire.GetOperations); ok {
			if i := n.Add(1); i%6 == 0 && i < 30 {
				sourcetest.Commit(t, db, uint64(i), 1, 10)
			}
			if r.Size != targetEnd(t, db) {
				c.Send(&wire.Error{ID: r.ID, Code: wire.Database, Text: "pruned"})
				return
			}
		}
		c.Send(sourcetest.Answer(db, m))
	})
	cl := newClient(t, anyFixed, syncer.Options{BatchSize: 20, MaxOutstanding: 2}, srv.Addr)
	r := cl.sync(t)
	equal(t, db, cl.db)
	if r.Fetched > r.Size+200 {
		t.Errorf("%d operations fetched for a log of %d: verified ones were thrown away", r.Fetched, r.Size)
	}
}

func TestSoleSourceIsTriedAgainWithinTwoSeconds(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 1, 10)
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) { c.Close() })
	cl := newClient(t, anyFixed, syncer.Options{}, srv.Addr)
	stop := cl.run(t)
	until(t, "some failures", func() bool { return cl.Status().Failures >= 5 })
	srv.Handle(sourcetest.Honest(db))
	began := time.Now()
	until(t, "sync", func() bool { return cl.Status().Size > 0 })
	// With room for a busy machine; the pause itself is at most 2 s.
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("tried again after %s", d)
	}
	stop()
	if n := cl.logs.count("level=WARN msg=\"sync interrupted"); n != 1 {
		t.Errorf("said %d times that the source is away\n%s", n, cl.logs)
	}
}

func live(t testing.TB, db *database.DB) (n int) {
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Scan(nil, nil, func([]byte, database.Entry) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}
