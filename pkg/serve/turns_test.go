package serve

import (
	"context"
	"testing"
	"time"
)

// newTurn is a connection of a party that waits for a worker.
func newTurn(p *party) *session {
	c := &session{party: p, queued: queued{token: make(chan struct{}, 1)}, end: context.Background()}
	c.queued.token <- struct{}{}
	return c
}

func TestPartiesTakeTurnsWhateverTheirConnections(t *testing.T) {
	var turns turns
	const large, small = 600 << 10, 6 << 10
	var greedy, other party
	for range 50 {
		if !turns.put(job{session: newTurn(&greedy), reserved: large}) {
			t.Fatal("not taken")
		}
	}
	serve := func() *party {
		j, ok := turns.next(nil)
		if !ok {
			t.Fatal("there is nothing to do")
		}
		return j.session.party
	}
	for range 5 {
		serve()
	}
	c := newTurn(&other)
	for i := range 60 { // as many small requests as one large one, and more
		turns.put(job{session: c, reserved: small})
		if got := serve(); got != &other {
			t.Fatalf("the small request %d had to wait", i)
		}
	}
	// From here on both get the same.
	var bytes [2]int
	for range 40 * 60 {
		turns.put(job{session: c, reserved: small})
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
	var turns turns
	var a, b party
	ca, cb := newTurn(&a), newTurn(&b)
	for range 1000 {
		turns.put(job{session: ca, reserved: 1000})
		turns.next(nil)
	}
	order := ""
	for range 10 {
		for _, c := range []*session{ca, cb} {
			turns.put(job{session: c, reserved: 1000})
		}
		for range 2 {
			j, _ := turns.next(nil)
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
	var turns turns
	var p party
	c := newTurn(&p)
	got := make(chan int64)
	go func() {
		worker := make(chan job, 1)
		for {
			j, ok := turns.next(worker)
			if !ok {
				close(got)
				return
			}
			got <- j.reserved
		}
	}()
	for i := range int64(1000) {
		if !turns.put(job{session: c, reserved: i}) {
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
	var turns turns
	var p party
	c := newTurn(&p)
	end, cut := context.WithCancel(t.Context())
	c.end = end
	if !turns.put(job{session: c}) {
		t.Fatal("not taken")
	}
	cut()
	if turns.put(job{session: c}) {
		t.Error("a second request was queued")
	}
}
