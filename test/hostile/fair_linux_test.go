package hostile

import (
	"slices"
	"testing"
	"time"
)

const (
	// fairRounds is how many rounds of each kind are compared. The machine may have
	// other things to do in some of them, so the quarter that went best counts.
	fairRounds = 9
	// fairTries is how many times that is tried on a machine that is too busy to tell.
	fairTries = 4
	// fairSlack is what the kernel may take to let a thread run, beside twice what
	// the client waits alone.
	fairSlack = time.Millisecond
)

// TestGreedyClientDoesNotSlowAnother: what a client waits for 50 operations at
// worst, alone, beside one that pipelines requests for 10,000 on a hundred
// connections, and beside a process that only keeps a processor busy and has nothing to do
// with the server: all of them share the machine. Rounds of the three alternate.
func TestGreedyClientDoesNotSlowAnother(t *testing.T) {
	s := startServer(t, settings{})
	h := connect(t, s)
	h.steps(200 * time.Millisecond)
	for range fairTries {
		p99 := make(map[string]time.Duration)
		for name, rounds := range h.compare(s, "", "everything", "busy-processor") {
			slices.Sort(rounds)
			p99[name] = rounds[fairRounds/4]
		}
		alone, beside := p99[""], p99["everything"]
		t.Logf("p99 alone %v, beside a greedy client %v, beside a busy process %v", alone, beside, p99["busy-processor"])
		if beside <= 2*alone+fairSlack || raceDetector { // which makes the server's work ten times as heavy
			return
		}
	}
	t.Error("a greedy client makes another one wait")
}

// compare is the p99 of the client in several rounds of each attack; "" is none.
func (h *honest) compare(s *server, names ...string) map[string][]time.Duration {
	h.t.Helper()
	p99 := make(map[string][]time.Duration)
	for range fairRounds {
		for _, name := range names {
			stop := func() {}
			if name != "" {
				stop = s.underAttack(h.t, name)
			}
			h.steps(100 * time.Millisecond)
			p99[name] = append(p99[name], quantile(h.steps(200*time.Millisecond), 0.99))
			stop()
			time.Sleep(20 * time.Millisecond)
		}
	}
	return p99
}
