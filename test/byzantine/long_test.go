package byzantine

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

// mixed does anything by chance, and is honest every other time.
func mixed(w *world, d *dice) sourcetest.Handler {
	ways := []sourcetest.Handler{}
	for _, b := range behaviours {
		ways = append(ways, b.serve(w, d), sourcetest.Honest(w.honest))
	}
	return func(c *sourcetest.Conn, m wire.Message) { ways[d.below(len(ways))](c, m) }
}

// Two servers do whatever comes to their minds, beside one that is honest, and
// after that without it. The seed is in the name of the subtest.
func TestMixedBehaviour(t *testing.T) {
	rounds, limit := 2, time.Duration(0)
	if os.Getenv("PROOFSYNC_BYZANTINE") == "long" {
		rounds, limit = 0, 3*time.Minute
	}
	stop := watchHeap(t)
	defer stop()
	began := time.Now()
	for seed := uint64(0); int(seed) < rounds || time.Since(began) < limit; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { mix(t, seed) })
	}
}

func mix(t *testing.T, seed uint64) {
	w := newWorld(t)
	d := newDice(seed)
	a, b := sourcetest.Start(t, mixed(w, d)), sourcetest.Start(t, mixed(w, d))
	good := sourcetest.Start(t, sourcetest.Honest(w.honest))
	c := newClient(t, w.target(t, w.honest), a.Addr, b.Addr, good.Addr)
	if !c.follow(t, within) {
		t.Fatalf("not complete after %s\n%s", within, c.logs.tail())
	}
	c.inspect(t, w.honest)

	c = newClient(t, w.target(t, w.honest), a.Addr, b.Addr)
	c.follow(t, alone)
	a.Handle(sourcetest.Honest(w.honest))
	a.Reset()
	if !c.follow(t, within) {
		t.Fatalf("not complete %s after one of them became honest\n%s", within, c.logs.tail())
	}
	c.inspect(t, w.honest)
}
