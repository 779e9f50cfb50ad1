package serve

import (
	"bufio"
	"context"
	"math"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// subscribe sends a subscription and returns its answer.
func (c *client) subscribe(id uint64) *wire.TargetPush {
	c.t.Helper()
	c.send(&wire.Subscribe{ID: id, Features: math.MaxUint64})
	return c.pushed(id)
}

// pushed is the next message, which has to be a push.
func (c *client) pushed(id uint64) *wire.TargetPush {
	c.t.Helper()
	p, ok := c.receive().(*wire.TargetPush)
	if !ok || p.ID != id || p.Features != 0 {
		c.t.Fatalf("got %+v, want a push with id %d", p, id)
	}
	return p
}

// growing is a database of which only the target is of interest. Unlike a real
// one it can be grown in a bubble of synctest.
type growing struct {
	mu      sync.Mutex
	size    uint64
	changed chan struct{}
}

type grownView struct {
	View
	size uint64
}

func newGrowing() *growing { return &growing{size: 3, changed: make(chan struct{})} }

func (g *growing) Codec() operation.Codec { return anyFixed }

func (g *growing) View() (View, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return grownView{size: g.size}, nil
}

func (g *growing) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

func (g *growing) publish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.size++
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *growing) wantNewest(t testing.TB, got wire.Target) {
	t.Helper()
	if v, _ := g.View(); got != targetOf(v) {
		t.Errorf("target %v, want %v", got, targetOf(v))
	}
}

func (v grownView) Root() mmr.Digest { return mmr.Digest{1, byte(v.size)} }
func (v grownView) Size() uint64     { return v.size }
func (v grownView) Start() uint64    { return 0 }
func (v grownView) Floor() uint64    { return 1 }
func (v grownView) Close()           {}

func TestSubscriberIsToldOfTheNewestTargetAtOnceAndOfEveryNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newGrowing()
		l := newPipes()
		s := start(t, db, Options{}, l)
		c := dial(t, l, anyFixed)
		db.wantNewest(t, c.subscribe(math.MaxUint64).Target)
		for range 5 {
			time.Sleep(time.Second)
			db.publish()
			began := time.Now()
			db.wantNewest(t, c.pushed(math.MaxUint64).Target)
			if d := time.Since(began); d > 0 {
				t.Errorf("told after %v", d)
			}
		}
		synctest.Wait()
		if n := value(t, s.opts.Metrics.subscribers); n != 1 {
			t.Errorf("%v subscribers", n)
		}
		if n := value(t, s.opts.Metrics.pushes); n != 5 {
			t.Errorf("%v pushes", n)
		}
		c.conn.Close()
		synctest.Wait()
		if n := value(t, s.opts.Metrics.subscribers); n != 0 {
			t.Errorf("%v subscribers after the last is gone", n)
		}
	})
}

func TestSubscriberGoesOnAsking(t *testing.T) {
	f := newFixture(t, anyFixed, 3, 2, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	c.subscribe(9)
	f.grow(t, 2, 32)
	p := c.pushed(9)
	if p.Target.End != f.last().Size || p.Target.Root != f.last().Root || p.Target != c.target() {
		t.Errorf("pushed %v, want %v", p.Target, f.last())
	}
	req := wire.GetOperations{ID: 10, Size: f.last().Size, Max: 10, Pins: true}
	wantOperations(t, req, c.ask(&req), f.last().Root)
}

func TestTheSecondSubscriptionTakesThePlaceOfTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newGrowing()
		l := newPipes()
		s := start(t, db, Options{}, l)
		c := dial(t, l, anyFixed)
		db.wantNewest(t, c.subscribe(1).Target)
		db.wantNewest(t, c.subscribe(2).Target)
		db.publish()
		db.wantNewest(t, c.pushed(2).Target)
		synctest.Wait()
		if n := value(t, s.opts.Metrics.subscribers); n != 1 {
			t.Errorf("%v subscribers, want one", n)
		}
		db.wantNewest(t, c.target()) // and no second push before it
	})
}

// A reader that is slower than the log grows gets the newest target, whenever
// it reads, and nothing is kept for it in the meantime.
func TestSlowSubscriberGetsTheNewestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newGrowing()
		l := newPipes() // a write waits for its reader
		s := start(t, db, Options{}, l)
		slow, quick := dial(t, l, anyFixed), dial(t, l, anyFixed)
		slow.subscribe(1)
		quick.subscribe(2)
		first := db.size
		for range 20 {
			db.publish()
			db.wantNewest(t, quick.pushed(2).Target)
			time.Sleep(10 * time.Millisecond)
		}
		if p := slow.pushed(1); p.Target.End <= first || p.Target.End == db.size {
			t.Errorf("the push that was being written is of %d", p.Target.End)
		}
		db.wantNewest(t, slow.pushed(1).Target)
		synctest.Wait()
		if n := value(t, s.opts.Metrics.pushesCoalesced); n != 18 {
			t.Errorf("%v targets left out, want 18", n)
		}
	})
}

func TestSubscriberThatNeverReadsIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newGrowing()
		l := newPipes()
		s := start(t, db, Options{WriteTimeout: 5 * time.Second}, l)
		c := dial(t, l, anyFixed)
		c.subscribe(1)
		db.publish()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := value(t, s.opts.Metrics.closed[byWriteTimeout]); n != 1 {
			t.Errorf("%v connections cut off", n)
		}
		if n := value(t, s.opts.Metrics.subscribers); n != 0 {
			t.Errorf("%v subscribers left", n)
		}
	})
}

func TestSubscribedConnectionsAreNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newGrowing()
		l := newPipes()
		start(t, db, Options{IdleTimeout: time.Minute}, l)
		idle, c := dial(t, l, anyFixed), dial(t, l, anyFixed)
		idle.conn.SetDeadline(time.Time{})
		c.conn.SetDeadline(time.Time{})
		idle.target()
		c.subscribe(1)
		time.Sleep(time.Hour)
		c.write([]byte{1, 0xff}) // does not decode: no offence
		db.publish()
		db.wantNewest(t, c.pushed(1).Target)
		idle.wantClosed()
	})
}

func TestSubscribersMakeRoomForNewcomersLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newGrowing()
		l := newPipes()
		start(t, db, Options{MaxConnections: 3, MaxConnectionsPerHost: 3}, l)
		var subscribed []*client
		for range 2 {
			c := dialFrom(t, l, hostile)
			c.subscribe(1)
			subscribed = append(subscribed, c)
			time.Sleep(time.Second)
		}
		idle := dialFrom(t, l, hostile)
		idle.target()
		time.Sleep(30 * time.Second)
		first := dialFrom(t, l, hostile)
		first.target()
		if !isClosed(idle) || isClosed(subscribed[0]) {
			t.Fatal("a subscriber had to go before an idle connection")
		}
		first.subscribe(1)
		if c := dialFrom(t, l, hostile); !isClosed(c) {
			t.Fatal("a subscriber had to go within the minute")
		}
		time.Sleep(time.Minute)
		first.target()
		dialFrom(t, l, honest).target()
		if !isClosed(subscribed[0]) || isClosed(subscribed[1]) {
			t.Error("subscribers of one host kept another out, or the wrong one had to go")
		}
	})
}

func TestSubscriptionsAreSpacedByTheirNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newGrowing()
		const subscribers = 100
		l := newPipes()
		s := start(t, db, Options{}, l)
		var readers sync.WaitGroup
		defer readers.Wait()
		for range subscribers {
			c := dial(t, l, anyFixed)
			c.subscribe(1)
			readers.Go(func() {
				for last := uint64(0); last < 3+100; {
					m, err := c.tryReceive()
					if err != nil {
						return
					}
					last = m.(*wire.TargetPush).Target.End
				}
			})
			defer c.conn.Close()
		}
		began := time.Now()
		for range 100 {
			db.publish()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		most := float64(100*time.Millisecond)/float64(subscribers*pushCost) + 2
		if n := value(t, s.opts.Metrics.pushes) / subscribers; n > most || n < most/2 {
			t.Errorf("%v rounds for 100 commits within %v, at most %v", n, time.Since(began), most)
		}
	})
}

func TestSubscribersAreDrained(t *testing.T) {
	f := newFixture(t, anyFixed, 3, 2, 32)
	l := listen(t)
	s := start(t, f, Options{}, l)
	c := dial(t, l, anyFixed)
	c.subscribe(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var closing sync.WaitGroup
	closing.Go(func() {
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	c.wantClosed()
	c.conn.Close()
	closing.Wait()
}

func TestSubscribingToADatabaseThatIsNotReadyIsRefused(t *testing.T) {
	db := FromDatabase(newReplica(t))
	l := listen(t)
	s := start(t, db, Options{}, l)
	c := dial(t, l, anyFixed)
	c.wantRefusal(&wire.Subscribe{ID: 3}, wire.Database)
	c.wantRefusal(&wire.Subscribe{ID: 4}, wire.Database) // the connection goes on
	if n := value(t, s.opts.Metrics.subscribers); n != 0 {
		t.Errorf("%v subscribers", n)
	}
}

func TestPushesAreNoRequests(t *testing.T) {
	f := newFixture(t, anyFixed, 3, 2, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	dial(t, l, anyFixed).wantRefusal(&wire.TargetPush{ID: 3, Target: wire.Target{End: 1}}, wire.InvalidRequest)
}

func TestWhileALogGrowsSubscribersSeeItGrowOnly(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	l := listen(t)
	start(t, f, Options{}, l)
	ctx, cancel := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer cancel()
	writer.Go(func() {
		for i := byte(0); ctx.Err() == nil; i++ {
			key := [32]byte{i}
			if _, err := f.db.Apply(ctx, database.Batch{Writes: []database.Write{{Key: key[:], Value: key[:]}}}); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	var readers sync.WaitGroup
	defer readers.Wait()
	for range 4 {
		readers.Go(func() {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			c := &client{t, conn, bufio.NewReader(conn), anyFixed}
			var last uint64
			for id := range uint64(5) {
				if _, err := conn.Write(frames(t, &wire.Subscribe{ID: id})); err != nil {
					t.Error(err)
					return
				}
				for n := 0; n < 20; {
					m, err := c.tryReceive()
					if err != nil {
						t.Error(err)
						return
					}
					p := m.(*wire.TargetPush)
					if p.Target.End < last || p.ID > id {
						t.Errorf("push %+v after %d", p, last)
						return
					}
					if last = p.Target.End; p.ID == id {
						n++
					}
				}
			}
		})
	}
}

// A new subscriber finds the newest target by itself, possibly before the round
// that would tell the others of it.
func TestNewSubscriberHidesNothingFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, l := newGrowing(), newPipes()
		start(t, db, Options{}, l)
		first := dial(t, l, anyFixed)
		first.subscribe(1)
		time.Sleep(time.Second)
		db.publish()
		first.pushed(1) // the round is over, and the next one has to wait
		db.publish()
		second := dial(t, l, anyFixed)
		newest := second.subscribe(2)
		if p := first.pushed(1); p.Target != newest.Target {
			t.Errorf("told of %v, the newest is %v", p.Target, newest.Target)
		}
	})
}
