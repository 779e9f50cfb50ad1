package serve

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// member is a connection of a party.
func member(p *party) *session {
	return &session{party: p, next: newTurn(), end: context.Background()}
}

// wait puts a request of a connection into turns.
func (t *turns) wait(c *session, bytes int64) bool {
	return t.put(&c.next, job{session: c, reserved: bytes})
}

func TestPartiesTakeTurnsWhateverTheirConnections(t *testing.T) {
	turns := newTurns(2)
	const large, small = 600 << 10, 6 << 10
	var greedy, other party
	for range 50 {
		if !turns.wait(member(&greedy), large) {
			t.Fatal("not taken")
		}
	}
	serve := func() *party {
		j, ok := turns.next(make(chan job, 1), job{})
		if !ok {
			t.Fatal("there is nothing to do")
		}
		return j.session.party
	}
	for range 5 {
		serve()
	}
	c := member(&other)
	for i := range 60 { // as many small requests as one large one, and more
		turns.wait(c, small)
		if got := serve(); got != &other {
			t.Fatalf("the small request %d had to wait", i)
		}
	}
	// From here on both get the same.
	var bytes [2]int
	for range 40 * 60 {
		turns.wait(c, small)
		for serve() == &greedy {
			bytes[0] += large + turnCost
		}
		bytes[1] += small + turnCost
		if bytes[0] >= 30*large {
			break
		}
	}
	if d := bytes[0] - bytes[1]; max(d, -d) > 2*large {
		t.Errorf("the greedy got %d bytes, the other %d", bytes[0], bytes[1])
	}
}

func TestPartySavesNothingUpWhileItIsAway(t *testing.T) {
	turns := newTurns(2)
	var a, b party
	ca, cb := member(&a), member(&b)
	for range 1000 {
		turns.wait(ca, 1000)
		turns.next(make(chan job, 1), job{})
	}
	order := ""
	for range 10 {
		for _, c := range []*session{ca, cb} {
			turns.wait(c, 1000)
		}
		for range 2 {
			j, _ := turns.next(make(chan job, 1), job{})
			if j.session == ca {
				order += "a"
			} else {
				order += "b"
			}
		}
	}
	for i := 2; i < len(order); i += 2 {
		if order[i:i+2] == "bb" || order[i:i+2] == "aa" {
			t.Errorf("one came twice: %s", order)
		}
	}
}

func TestWorkersThatWaitAreGivenRequests(t *testing.T) {
	turns := newTurns(2)
	var p party
	c := member(&p)
	got := make(chan int64)
	go func() {
		worker := make(chan job, 1)
		for {
			j, ok := turns.next(worker, job{})
			if !ok {
				close(got)
				return
			}
			got <- j.reserved
		}
	}()
	for i := range int64(1000) {
		if !turns.wait(c, i) {
			t.Fatal("not taken")
		}
		if n := <-got; n != i {
			t.Fatalf("request %d, want %d", n, i)
		}
	}
	turns.close()
	select {
	case <-got:
	case <-time.After(patience):
		t.Fatal("the worker still waits")
	}
}

func TestConnectionThatEndsDoesNotWaitForATurn(t *testing.T) {
	turns := newTurns(2)
	var p party
	c := member(&p)
	end, cut := context.WithCancel(t.Context())
	c.end = end
	if !turns.wait(c, 0) {
		t.Fatal("not taken")
	}
	cut()
	if turns.wait(c, 0) {
		t.Error("a second request was queued")
	}
}

func TestHeavyWorkRestsWhileAnotherPartyHasLittleToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(2)
		var bulk, other party
		large := job{session: member(&bulk), reserved: heavy, admitted: time.Now()}
		light := job{session: member(&bulk), reserved: heavy - 1, admitted: time.Now()}
		rest := func(want time.Duration, j job, took time.Duration) {
			t.Helper()
			if got := turns.rest(&j, took); got != want {
				t.Errorf("after %v of %d bytes it rests for %v, want %v", took, j.reserved, got, want)
			}
		}
		rest(0, large, time.Millisecond) // nobody else is there
		turns.put(&light.session.next, light)
		turns.next(make(chan job, 1), job{})
		rest(0, large, time.Millisecond) // nor is its own light work somebody else
		turns.wait(member(&other), 100)
		turns.recently[0].at = time.Now()
		rest(0, light, time.Millisecond)
		rest(rested*100*time.Microsecond, large, 100*time.Microsecond)
		rest(restMost, large, time.Second) // the machine was busy
		time.Sleep(2 * courtesy)
		rest(0, large, time.Millisecond)

		turns = newTurns(spacious)
		turns.recently[0] = visit{&other.flow, time.Now()}
		rest(0, large, time.Millisecond) // there is an idle processor anyway
	})
}
