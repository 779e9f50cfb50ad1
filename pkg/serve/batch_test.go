package serve

import (
	"context"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// countedViews is a database that counts the views it is asked for.
type countedViews struct {
	Database
	views atomic.Int64
}

func (d *countedViews) View() (View, error) {
	d.views.Add(1)
	return d.Database.View()
}

func TestSmallRequestsThatComeTogetherAreAnsweredFromOneView(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 3000, 32)
	size := f.last().Size
	ops := func(start, most uint64) *wire.GetOperations {
		return &wire.GetOperations{ID: start, Size: size, Start: start, Max: most, Pins: start%3 == 0}
	}
	var six, large, many []wire.Message
	for i := range uint64(6) {
		six = append(six, ops(50*i, 50))
		l := ops(i, 1000)
		l.ID += 1000 // answers of several batches come in any order
		large = append(large, l)
	}
	for i := range uint64(100) {
		many = append(many, ops(i, 1))
	}
	wrong := &wire.GetOperations{ID: 77, Size: size - 1, Start: 1, Max: 1}
	for name, tc := range map[string]struct {
		ask   []wire.Message
		views int64 // no batch looks at more than one
	}{
		"one":                           {six[:1], 1},
		"six":                           {six, 1},
		"some that are refused":         {slices.Concat(six[:3], []wire.Message{wrong}, six[3:]), 1},
		"another kind is for itself":    {slices.Concat(six[:3], []wire.Message{&wire.GetTarget{ID: 99}}, six[3:]), 3},
		"not more than a turn's worth":  {slices.Concat(six, six), 2},
		"not more than sixteen":         {many, 7},
		"large ones are for themselves": {large, 6},
		"large ones in between":         {slices.Concat(six[:2], large[:1], six[2:]), 3},
	} {
		t.Run(name, func(t *testing.T) {
			db := &countedViews{Database: f}
			l := newPipes()
			s := start(t, db, Options{patience: time.Hour}, l)
			c := dial(t, l, anyFixed)
			c.send(tc.ask...) // in one piece
			asked := make(map[uint64][]wire.Message)
			for _, m := range tc.ask {
				asked[m.RequestID()] = append(asked[m.RequestID()], m)
			}
			for range tc.ask {
				reply := c.receive()
				id := reply.RequestID()
				if len(asked[id]) == 0 {
					t.Fatalf("an answer to request %d too many", id)
				}
				m := asked[id][0]
				asked[id] = asked[id][1:]
				switch m := m.(type) {
				case *wire.GetTarget:
					if got := reply.(*wire.TargetReply).Target; got.End != size {
						t.Errorf("target %v", got)
					}
				case *wire.GetOperations:
					if m == wrong {
						if refused, ok := reply.(*wire.Error); !ok || refused.Code != wire.Database {
							t.Errorf("%+v answered by %+v", m, reply)
						}
						continue
					}
					wantOperations(t, *m, reply, f.last().Root)
				}
			}
			if n := db.views.Load(); n != tc.views {
				t.Errorf("%d views, want %d", n, tc.views)
			}
			eventually(t, "nothing in flight", func() bool {
				return value(t, s.opts.Metrics.inflightRequests) == 0 && value(t, s.opts.Metrics.inflightBytes) == 0
			})
		})
	}
}

// Refusals are short, whatever was reserved for what they refuse: who sends many and
// takes none holds no more memory than is counted.
func TestRefusedBatchesHoldLittleMemory(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 3000, 32)
	s := New(f, Options{})
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := newSession(s, near)
	w := worker{srv: s}
	for name, r := range map[string]wire.GetOperations{
		"refused":  {Size: 1 << 61, Start: 1, Max: 100},
		"answered": {Size: f.last().Size, Start: 1, Max: 100},
	} {
		one := request{kind: getOperations, get: r}
		one.reserved = s.reservation(&one)
		for _, n := range []int{1, 2, 3} {
			reply, rest := w.answer(c, slices.Repeat(batch{one}, n))
			if len(rest) > 0 || reply.requests != n {
				t.Fatalf("%d answered, %d left", reply.requests, len(rest))
			}
			if most := 4 * max(len(reply.frames), 1<<minBufferBits); cap(*reply.buffer) > most {
				t.Errorf("%d %s: %d bytes hold %d", n, name, len(reply.frames), cap(*reply.buffer))
			}
		}
	}
	w.view.Close()
}

// slowDisk is a database that takes its time for every request.
type slowDisk struct{ Database }

func (s slowDisk) View() (View, error) {
	v, err := s.Database.View()
	return slowView{v}, err
}

type slowView struct{ View }

const slowRead = 20 * time.Millisecond

func (s slowView) AppendOperations(dst []byte, start, end uint64, most int) ([]byte, int, error) {
	time.Sleep(slowRead)
	return s.View.AppendOperations(dst, start, end, most)
}

// One worker that waits for the disk sixteen times would make a peer wait as long for
// the first reply: it sends what it has, and others join in from then on.
func TestRequestsThatWaitForTheDiskWaitSideBySide(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 300, 32)
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		srv := New(slowDisk{f}, Options{Workers: 8})
		done := make(chan error, 1)
		go func() { done <- srv.Serve(t.Context(), l) }()
		c := dial(t, l, anyFixed)
		req := &wire.GetOperations{Size: f.last().Size, Start: 1, Max: 1}
		ask := func() (first, last time.Duration) {
			began := time.Now()
			c.send(slices.Repeat([]wire.Message{req}, maxBatch)...)
			c.receive()
			first = time.Since(began)
			for range maxBatch - 1 {
				c.receive()
			}
			return first, time.Since(began)
		}
		if first, last := ask(); first > 2*slowRead || last > maxBatch*slowRead {
			t.Errorf("together: the first reply after %v, the last after %v", first, last)
		}
		if _, last := ask(); last > 3*slowRead {
			t.Errorf("side by side: the last reply after %v", last)
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestABatchIsNoLargerThanWhatMayBeInFlight(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 3000, 32)
	req := &wire.GetOperations{Size: f.last().Size, Max: 50}
	each := New(f, Options{}).reservation(&request{kind: getOperations, get: *req})
	for name, o := range map[string]Options{
		"requests": {MaxRequestsPerConnection: 3},
		"bytes":    {MaxInflightBytes: 4*each - 1},
	} {
		t.Run(name, func(t *testing.T) {
			db := newGated(f)
			l := newPipes()
			s := start(t, db, o, l)
			open := sync.OnceFunc(func() { close(db.gate) })
			t.Cleanup(open) // or the server never ends
			c := dial(t, l, anyFixed)
			c.send(slices.Repeat([]wire.Message{req}, 8)...)
			eventually(t, "a batch of three", func() bool { return value(t, s.opts.Metrics.inflightRequests) == 3 })
			open()
			for range 8 {
				wantOperations(t, *req, c.receive(), f.last().Root)
			}
		})
	}
}

// Requests go on together only where nothing is in their way, and wait one by one.
func TestRequestsThatMustWaitGoOnOneByOne(t *testing.T) {
	all := slices.Repeat(batch{{kind: getOperations, reserved: 6000}}, 8)
	for name, tc := range map[string]struct {
		opts Options
		full bool // others hold all memory
		want []int
	}{
		"nothing is in the way":           {Options{}, false, []int{8}},
		"limits that are far":             {Options{ClientLimits: Limits{Requests: 100}, Limits: Limits{Bytes: 1 << 20}}, false, []int{8}},
		"a limit of the client":           {Options{ClientLimits: Limits{Requests: 5}}, false, []int{1, 1, 1, 1, 1}},
		"a limit of all":                  {Options{ClientLimits: Limits{Requests: 100}, Limits: Limits{Requests: 5}}, false, []int{1, 1, 1, 1, 1}},
		"no more than what is guaranteed": {Options{ClientLimits: Limits{Requests: 100}, Limits: Limits{Requests: 100}}, true, []int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.opts.MaxTotalBytes = 1 << 20
				s := New(nil, tc.opts)
				end, cut := context.WithCancelCause(t.Context())
				c := &session{srv: s, end: end, cut: cut, inflight: newInflight(&s.opts)}
				c.party, c.leave = s.parties.Use(c.who)
				if tc.full {
					other := &account{behind: func(time.Time) time.Duration { return 0 }}
					if err := s.bytes.acquire(t.Context(), other, s.bytes.total); err != nil {
						t.Fatal(err)
					}
					s.bytes.add(other, guaranteed)
				}
				rest, began := all, time.Now()
				for i, want := range tc.want {
					n, bytes, err := c.enter(rest)
					if err != nil || n != want || bytes != int64(n)*6000 || !time.Now().Equal(began) {
						t.Fatalf("step %d: %d requests of %d bytes, %v, after %v; want %d", i, n, bytes, err, time.Since(began), want)
					}
					rest = rest[n:]
				}
				if tc.full {
					time.AfterFunc(time.Hour, func() { cut(errLimit) })
					if n, _, err := c.enter(rest); err == nil {
						t.Errorf("%d more", n)
					}
				}
				// What could not go on together has cost nothing.
				passed := len(all) - len(rest)
				if tc.full {
					passed++ // and waited for memory
				}
				if r := tc.opts.ClientLimits.Requests; r > 10 {
					if used := c.party.door.buckets.Used(int(limitRequests), began); math.Abs(used*r-float64(passed)) > 0.01 {
						t.Errorf("%v requests of the client counted, want %d", used*r, passed)
					}
				}
				if r := tc.opts.Limits.Requests; r > 10 {
					if used := s.door.buckets.Used(int(limitRequests), began); math.Abs(used*r-float64(passed)) > 0.01 {
						t.Errorf("%v requests of all counted, want %d", used*r, passed)
					}
				}
				if got, want := c.inflight.count(), len(all)-len(rest); got != want {
					t.Errorf("%d in flight, want %d", got, want)
				}
			})
		})
	}
}
