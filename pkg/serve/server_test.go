package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

func TestShutdownAnswersWhatWasRead(t *testing.T) {
	f := newFixture(t, anyFixed, 20, 20, 32)
	l := listen(t)
	s := New(f, Options{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()

	const clients = 6
	var replies atomic.Int64
	var readers sync.WaitGroup
	for range clients {
		c := dial(t, l, anyFixed)
		flood(c, &wire.GetOperations{Size: f.last().Size, Max: 50, Pins: true})
		readers.Go(func() {
			for {
				_, err := c.tryReceive()
				if err != nil {
					if !isEOF(err) {
						t.Errorf("connection ended by %v, want the end of the stream after a whole reply", err)
					}
					c.conn.Close()
					return
				}
				replies.Add(1)
			}
		})
	}
	eventually(t, "load", func() bool { return replies.Load() > 50*clients })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	readers.Wait()
	m := s.opts.Metrics
	if asked := value(t, m.requests[getOperations]); asked != float64(replies.Load()) {
		t.Errorf("%v requests read, %d answered", asked, replies.Load())
	}
	for name, got := range map[string]float64{
		"connections": value(t, m.connections), "requests": value(t, m.inflightRequests), "bytes": value(t, m.inflightBytes),
	} {
		if got != 0 {
			t.Errorf("%v %s left", got, name)
		}
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("still listening")
	}
}

func TestShutdownAnswersWhatLiesInTheReadBuffer(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		l, db := newPipes(), newGated(f)
		s := New(db, Options{MaxRequestsPerConnection: 1})
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := s.Serve(context.Background(), l); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		c := dial(t, l, anyFixed)
		const n = 20
		var requests []wire.Message
		for i := range n {
			requests = append(requests, &wire.GetTarget{ID: uint64(i)})
		}
		half := frames(t, &wire.GetTarget{ID: n})[:4]
		c.write(append(frames(t, requests...), half...))
		serving.Go(func() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Errorf("shutdown: %v", err)
			}
		})
		synctest.Wait()
		close(db.gate)
		for range n {
			c.receive()
		}
		c.wantClosed()
		serving.Wait()
	})
}

func TestShutdownIsBoundedByItsContext(t *testing.T) {
	f := newFixture(t, anyFixed, 30, 40, 32)
	l := listen(t)
	s := New(f, Options{WriteTimeout: -1})
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	c := dial(t, l, anyFixed)
	taken := flood(c, &wire.GetOperations{Size: f.last().Size, Max: 10_000}) // and never reads
	eventually(t, "the writer stuck", func() bool {
		before := taken.Load()
		time.Sleep(20 * time.Millisecond)
		return before > 0 && taken.Load() == before
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v, want the deadline's error", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestEndOfTheContextEndsServe(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	s := New(f, Options{})
	go func() { served <- s.Serve(ctx, l) }()
	c := dial(t, l, anyFixed)
	c.target()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	c.wantClosed()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("shutdown afterwards: %v", err)
	}
}

func TestServeOnlyOnce(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	l := listen(t)
	s := start(t, f, Options{}, l)
	dial(t, l, anyFixed).target()
	other := listen(t)
	defer other.Close()
	if err := s.Serve(context.Background(), other); !errors.Is(err, ErrServing) {
		t.Errorf("second Serve: %v, want ErrServing", err)
	}
}

func TestServeAfterShutdownClosesItsListener(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	s := New(f, Options{})
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	if err := s.Serve(context.Background(), l); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v, want the listener closed", err)
	}
}

// stumbling fails to accept a few times first.
type stumbling struct {
	*pipes
	fails int
	err   error
}

func (s *stumbling) Accept() (net.Conn, error) {
	if s.fails > 0 {
		s.fails--
		return nil, s.err
	}
	return s.pipes.Accept()
}

func TestAcceptingIsTriedAgainWhenResourcesAreShort(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		began := time.Now()
		err := &net.OpError{Op: "accept", Err: fmt.Errorf("accept4: %w", syscall.EMFILE)}
		s := start(t, f, Options{}, &stumbling{p, 10, err})
		dial(t, p, anyFixed).target()
		// 5 ms, doubled eight times up to a second
		if waited := time.Since(began); waited != 5*255*time.Millisecond+2*time.Second {
			t.Errorf("accepted after %v", waited)
		}
		if got := value(t, s.opts.Metrics.acceptFails); got != 10 {
			t.Errorf("%v failures counted, want 10", got)
		}
	})
}

func TestShutdownDoesNotWaitForTheAcceptBackOff(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	synctest.Test(t, func(t *testing.T) {
		s := New(f, Options{})
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := s.Serve(context.Background(), &stumbling{newPipes(), 1000, syscall.ENFILE}); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		time.Sleep(time.Minute + time.Millisecond)
		began := time.Now()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("took %v", waited)
		}
	})
}

func TestBrokenListenerEndsServeWithItsError(t *testing.T) {
	f := newFixture(t, anyFixed, 2, 2, 32)
	broken := errors.New("listener is gone")
	synctest.Test(t, func(t *testing.T) {
		s := New(f, Options{})
		if err := s.Serve(context.Background(), &stumbling{newPipes(), 1, broken}); !errors.Is(err, broken) {
			t.Errorf("serve: %v, want %v", err, broken)
		}
	})
}
