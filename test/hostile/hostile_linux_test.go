package hostile

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/serve"
)

const (
	// total is the memory for replies of a server under attack.
	total = 32 << 20
	// perConnection is what one costs beside that: its read buffer, 16 KiB of
	// replies that do not count, and what goroutines need.
	perConnection = 64 << 10
	// connections are as many as one host may have by default.
	connections = 256
	// slowest is what an honest client waits at most, on a busy machine and
	// under the race detector.
	slowest = 3 * time.Second
)

// TestHonestClientGoesOn: during every attack another client goes on fetching
// and verifying, connects anew, and is answered in time; the server's memory
// stays within what its options say, and all of it comes back afterwards.
func TestHonestClientGoesOn(t *testing.T) {
	names := make([]string, 0, len(attacks))
	for name := range attacks {
		if name != "busy-processor" { // no attack, but what others are compared with
			names = append(names, name)
		}
	}
	slices.Sort(names)
	modes := []bool{false, true}
	if raceDetector { // ten times slower: some, for the races alone
		names, modes = []string{"everything", "oversized-frames", "target-flood"}, []bool{true}
	}
	for _, limited := range modes {
		set := settings{MaxTotalBytes: total}
		if limited {
			set.Client = serve.Limits{Requests: 2000, TargetRequests: 1000, Bytes: 64 << 20}
		}
		t.Run(fmt.Sprintf("limited %v", limited), func(t *testing.T) {
			s := startServer(t, set)
			h := connect(t, s)
			h.steps(100 * time.Millisecond)
			before := s.facts()
			for _, name := range names {
				t.Run(name, func(t *testing.T) { during(t, s, name, before) })
			}
		})
	}
}

// TestHonestClientGoesOnBesideHandshakes: the same where connections are
// encrypted, of attackers who have no certificate and do not finish shaking hands.
func TestHonestClientGoesOnBesideHandshakes(t *testing.T) {
	names := []string{"connection-flood", "garbage", "half-open", "half-open-tls", "handshakes"}
	if raceDetector {
		names = []string{"half-open-tls"}
	}
	s := startServer(t, settings{MaxTotalBytes: total, TLS: newPapers(t)})
	h := connect(t, s)
	h.steps(100 * time.Millisecond)
	before := s.facts()
	for _, name := range names {
		t.Run(name, func(t *testing.T) { during(t, s, name, before) })
	}
}

func during(t *testing.T, s *server, name string, before facts) {
	h := connect(t, s)
	stop := sync.OnceFunc(s.underAttack(t, name))
	defer stop()
	var times []time.Duration
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		times = append(times, h.step())
		if len(times)%200 == 0 {
			h.reconnect()
		}
	}
	h.reconnect() // somebody new
	times = append(times, h.step())
	slices.Sort(times)
	worst := times[len(times)-1]
	f := s.facts()
	t.Logf("%d answers, p99 %v, slowest %v; heap %d KiB, %d goroutines", len(times), quantile(times, 0.99), worst, f.Heap>>10, f.Goroutines)
	if worst > slowest {
		t.Errorf("an answer took %v", worst)
	}
	// Replies lie in buffers of powers of two, and as many may be kept for the next.
	if most := before.Heap + 3*total + connections*perConnection; f.Heap > most {
		t.Errorf("%d bytes of heap in use, before %d, want at most %d", f.Heap, before.Heap, most)
	}
	stop()
	h.conn.Close()
	var after facts
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		after = s.facts()
		if after.Goroutines <= before.Goroutines && after.Files <= before.Files && after.Heap < before.Heap+8<<20 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not given back: %+v, before the attack %+v", after, before)
		}
	}
}
