package source_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var anyFixed = sourcetest.Codecs[0]

func newPeer(t testing.TB, addr string, o source.PeerOptions) *source.Peer {
	o.Codec = anyFixed
	p := source.NewPeer(addr, o)
	t.Cleanup(func() { p.Close() })
	return p
}

// log makes a database of some operations and its target.
func log(t testing.TB) (*database.DB, wire.Target) {
	db := sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, db, 1, 3, 100)
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return db, sourcetest.Target(v)
}

func TestPeerAnswersPipelinedRequestsOverOneConnection(t *testing.T) {
	db, target := log(t)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	got, err := p.Target(t.Context())
	if err != nil || got.Target != target || got.Peer != srv.Addr {
		t.Fatalf("target %v of %q, %v; expected %v", got.Target, got.Peer, err, target)
	}
	var wg sync.WaitGroup
	for start := range target.End {
		wg.Go(func() {
			a, err := p.Operations(t.Context(), source.Request{Size: target.End, Start: start, Max: 7, Pins: start%2 == 0})
			if err != nil {
				t.Errorf("start %d: %v", start, err)
				return
			}
			defer a.Release()
			if want := min(7, target.End-start); uint64(a.Run.Len()) != want {
				t.Errorf("start %d: %d operations, expected %d", start, a.Run.Len(), want)
			}
			s := mmr.HashSpan(start, a.Run)
			if start%2 == 0 {
				err = a.Proof.VerifyPins(s, a.Pins, target.Root)
			} else {
				err = a.Proof.Verify(s, target.Root)
			}
			if err != nil {
				t.Errorf("start %d: %v", start, err)
			}
		})
	}
	wg.Wait()
	if n := srv.Connections.Load(); n != 1 {
		t.Errorf("%d connections, expected one", n)
	}
}

// offences are answers to GetOperations that a client must not survive on the
// same connection.
var offences = []struct {
	name string
	send func(c *sourcetest.Conn, a *wire.Operations)
}{
	{"frame above the cap", func(c *sourcetest.Conn, a *wire.Operations) { c.Write(operation.AppendUvarint(nil, wire.MaxFrame+1)) }},
	{"length of more than 32 bits", func(c *sourcetest.Conn, a *wire.Operations) { c.Write([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x01}) }},
	{"length not in shortest form", func(c *sourcetest.Conn, a *wire.Operations) { c.Write([]byte{0x80, 0x00}) }},
	{"empty frame", func(c *sourcetest.Conn, a *wire.Operations) { c.Write([]byte{0}) }},
	{"frame without an id", func(c *sourcetest.Conn, a *wire.Operations) { c.Write([]byte{3, 1, 0, 0}) }},
	{"unknown tag", func(c *sourcetest.Conn, a *wire.Operations) {
		f, _ := wire.AppendFrame(nil, a)
		f[len(f)-len(a.AppendTo(nil))] = 77
		c.Write(f)
	}},
	{"unknown request id", func(c *sourcetest.Conn, a *wire.Operations) { a.ID += 1000; c.Send(a) }},
	{"answer of another type", func(c *sourcetest.Conn, a *wire.Operations) {
		c.Send(&wire.TargetReply{ID: a.ID, Target: wire.Target{End: 1}})
	}},
	{"a request", func(c *sourcetest.Conn, a *wire.Operations) { c.Send(&wire.GetTarget{ID: a.ID}) }},
	{"bytes left over", func(c *sourcetest.Conn, a *wire.Operations) {
		c.Write(append(operation.AppendUvarint(nil, uint64(len(a.AppendTo(nil))+1)), append(a.AppendTo(nil), 0)...))
	}},
	{"truncated message", func(c *sourcetest.Conn, a *wire.Operations) {
		b := a.AppendTo(nil)
		b = b[:len(b)/2]
		c.Write(append(operation.AppendUvarint(nil, uint64(len(b))), b...))
	}},
	{"huge count of operations", func(c *sourcetest.Conn, a *wire.Operations) {
		b := wire.AppendProof(a.AppendTo(nil)[:9], a.Proof)
		b = operation.AppendUvarint(b, 1<<31)
		c.Write(append(operation.AppendUvarint(nil, uint64(len(b))), b...))
	}},
	{"proof of another size", func(c *sourcetest.Conn, a *wire.Operations) { a.Proof.Leaves--; c.Send(a) }},
	{"more operations than asked for", func(c *sourcetest.Conn, a *wire.Operations) {
		a.Run, _ = anyFixed.NewRun(bytes.Repeat(a.Run.At(0), a.Run.Len()+1))
		c.Send(a)
	}},
	{"no operations", func(c *sourcetest.Conn, a *wire.Operations) { a.Run = a.Run.Slice(0, 0); c.Send(a) }},
	{"pins not asked for", func(c *sourcetest.Conn, a *wire.Operations) { a.HasPins = true; c.Send(a) }},
	{"frame that never ends", func(c *sourcetest.Conn, a *wire.Operations) {
		c.Write(operation.AppendUvarint(nil, 1000))
		c.Write(a.AppendTo(nil)[:20])
	}},
}

func TestPeerDropsTheConnectionOnTheFirstOffenceAndRecovers(t *testing.T) {
	db, target := log(t)
	for _, o := range offences {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
				a, ok := sourcetest.Answer(db, m).(*wire.Operations)
				if ok && c.N == 0 {
					o.send(c, a)
					return
				}
				c.Send(sourcetest.Answer(db, m))
			})
			reg := prometheus.NewRegistry()
			p := newPeer(t, srv.Addr, source.PeerOptions{Timeout: time.Second, Metrics: source.NewMetrics(reg)})
			r := source.Request{Size: target.End, Start: target.Start, Max: 20}
			_, err := p.Operations(t.Context(), r)
			if err == nil {
				t.Fatal("the answer was taken")
			}
			// What came under an id that nobody knows answers no request, so
			// this one only lost its connection.
			if class := source.Classify(err); class != source.Wrong && class != source.Slow {
				t.Fatalf("%v is classified %s", err, class)
			}
			if counted(t, reg, "proofsync_source_failures_total") == 0 {
				t.Error("not counted")
			}
			a, err := p.Operations(t.Context(), r)
			for range 3 { // the connection may end a moment after the request did
				if err != nil {
					a, err = p.Operations(t.Context(), r)
				}
			}
			if err != nil {
				t.Fatalf("the honest answer was not taken: %v", err)
			}
			a.Release()
			if n := srv.Connections.Load(); n != 2 {
				t.Errorf("%d connections, expected the first to be replaced once", n)
			}
		})
	}
}

func counted(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestPeerTellsRefusalsFromOffences(t *testing.T) {
	db, target := log(t)
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		c.Send(&wire.Error{ID: m.RequestID(), Code: wire.StaleTarget, Text: strings.Repeat("x", 1000)})
	})
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	for range 2 {
		_, err := p.Operations(t.Context(), source.Request{Size: target.End, Max: 1})
		var refused *source.RefusedError
		if !errors.As(err, &refused) || refused.Code != wire.StaleTarget || len(refused.Text) > 256 || source.Classify(err) != source.Refused {
			t.Fatalf("got %v", err)
		}
	}
	srv.Handle(sourcetest.Honest(db))
	if _, err := p.Target(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := srv.Connections.Load(); n != 1 {
		t.Errorf("%d connections: a refusal is no offence", n)
	}
}

func TestLateAnswerToAnAbandonedRequestIsNoOffence(t *testing.T) {
	db, target := log(t)
	held := make(chan wire.Message, 1)
	var abandoned atomic.Bool
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		if m.Tag() == wire.TagGetOperations {
			held <- sourcetest.Answer(db, m)
			return
		}
		if abandoned.Load() {
			select {
			case late := <-held:
				c.Send(late)
			default:
			}
		}
		c.Send(sourcetest.Answer(db, m))
	})
	reg := prometheus.NewRegistry()
	p := newPeer(t, srv.Addr, source.PeerOptions{Metrics: source.NewMetrics(reg)})
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		_, err := p.Operations(ctx, source.Request{Size: target.End, Max: 5})
		asked <- err
	}()
	for len(held) == 0 {
		time.Sleep(time.Millisecond)
	}
	// Something comes over this connection meanwhile: it is not dead.
	if _, err := p.Target(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	abandoned.Store(true)
	for range 3 {
		if _, err := p.Target(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := srv.Connections.Load(); n != 1 {
		t.Errorf("%d connections, the first should have survived", n)
	}
	if n := counted(t, reg, "proofsync_source_late_answers_total"); n != 1 {
		t.Errorf("%v late answers counted", n)
	}
}

func TestSilenceTimesOutAndTheConnectionIsReplaced(t *testing.T) {
	db, _ := log(t)
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		if c.N > 0 {
			c.Send(sourcetest.Answer(db, m))
		}
	})
	p := newPeer(t, srv.Addr, source.PeerOptions{Timeout: 60 * time.Millisecond})
	began := time.Now()
	_, err := p.Target(t.Context())
	if !errors.Is(err, source.ErrTimeout) || source.Classify(err) != source.Slow {
		t.Fatalf("got %v", err)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("timed out after %s", d)
	}
	if _, err := p.Target(t.Context()); err != nil && !errors.Is(err, source.ErrTimeout) {
		t.Fatal(err)
	}
	deadline := time.Now().Add(3 * time.Second)
	for {
		if _, err = p.Target(t.Context()); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatalf("never recovered: %v", err)
	}
}

func TestAnswerWithoutRoomIsSkippedAndTheConnectionGoesOn(t *testing.T) {
	db, target := log(t)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	r := source.Request{Size: target.End, Start: 0, Max: 200, MaxFrame: 5000}
	_, err := p.Operations(t.Context(), r)
	var large *source.TooLargeError
	if !errors.As(err, &large) || large.Bytes < 200*65 || large.Allowed != 5000 {
		t.Fatalf("got %v", err)
	}
	r.MaxFrame = large.Bytes
	a, err := p.Operations(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if a.Bytes != large.Bytes {
		t.Errorf("answer of %d bytes, announced %d", a.Bytes, large.Bytes)
	}
	a.Release()
	a.Release() // harmless
	if n := srv.Connections.Load(); n != 1 {
		t.Errorf("%d connections, expected one", n)
	}
}

func TestDeclaredLengthsAloneCostNoMemory(t *testing.T) {
	srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
		b := operation.AppendUvarint(nil, wire.MaxFrame)
		c.Write((&wire.Operations{ID: m.RequestID()}).AppendTo(b))
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	const peers = 20
	for range peers {
		wg.Go(func() {
			p := newPeer(t, srv.Addr, source.PeerOptions{Timeout: 80 * time.Millisecond})
			if _, err := p.Operations(t.Context(), source.Request{Size: 10, Max: 1}); err == nil {
				t.Error("half a frame was taken for an answer")
			}
		})
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	// Buffers of the connection and the first step of the frame, not 10 MiB.
	if per := (after.TotalAlloc - before.TotalAlloc) / peers; per > 1<<20 {
		t.Errorf("%d bytes allocated for each frame that never came", per)
	}
}

func TestPeerReconnectsWithBackOffAndResolvesNamesAnew(t *testing.T) {
	db, _ := log(t)
	srv := sourcetest.Start(t, sourcetest.Honest(db))
	var mu sync.Mutex
	var dialed []string
	refuse := true
	p := newPeer(t, "db.example:1", source.PeerOptions{Dial: func(ctx context.Context, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dialed = append(dialed, address)
		if refuse {
			return nil, errors.New("refused")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", srv.Addr)
	}})
	began := time.Now()
	for range 3 {
		_, err := p.Target(t.Context())
		var unreachable *source.UnreachableError
		if !errors.As(err, &unreachable) || source.Classify(err) != source.Slow {
			t.Fatalf("got %v", err)
		}
	}
	if d := time.Since(began); d < 70*time.Millisecond { // half of 50 + 100
		t.Errorf("three attempts within %s: no back-off", d)
	}
	mu.Lock()
	refuse = false
	mu.Unlock()
	if _, err := p.Target(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv.Reset() // the server restarts
	deadline := time.Now().Add(2 * time.Second)
	for err := errors.New("not asked"); err != nil; {
		if time.Now().After(deadline) {
			t.Fatalf("not reconnected: %v", err)
		}
		_, err = p.Target(t.Context())
	}
	for _, a := range dialed {
		if a != "db.example:1" {
			t.Errorf("dialed %s, the name must be resolved by each dial", a)
		}
	}
}

func TestCloseFailsWhatIsUnderWay(t *testing.T) {
	srv := sourcetest.Start(t, func(*sourcetest.Conn, wire.Message) {})
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	asked := make(chan error)
	go func() { _, err := p.Target(t.Context()); asked <- err }()
	for srv.Connections.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Close()
	if err := <-asked; !errors.Is(err, source.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Target(t.Context()); !errors.Is(err, source.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestContextEndsARequestAtOnce(t *testing.T) {
	srv := sourcetest.Start(t, func(*sourcetest.Conn, wire.Message) {})
	p := newPeer(t, srv.Addr, source.PeerOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := p.Target(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || source.Classify(err) != source.Local {
		t.Errorf("got %v (%s)", err, source.Classify(err))
	}
}
