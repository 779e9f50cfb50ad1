package api

import (
	"context"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
)

// maxHistory is how many states have a time that is remembered: about 300 KB.
const maxHistory = 4096

// history remembers when this process made or learned its newest states. The
// log has no times; those of states before the process are not known, and
// states that follow each other faster than it looks may be left out.
type history struct {
	mu    sync.Mutex
	times map[mmr.Digest]time.Time
	ring  []mmr.Digest // in the order they were seen
	next  int          // oldest, once the ring is full
}

func newHistory() *history { return &history{times: make(map[mmr.Digest]time.Time)} }

// saw is when a state was published first, as far as anybody looked: now, if
// nobody did before. In UTC.
func (h *history) saw(root mmr.Digest) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t, ok := h.times[root]; ok {
		return t
	}
	t := time.Now().UTC()
	h.times[root] = t
	if len(h.ring) < maxHistory {
		h.ring = append(h.ring, root)
		return t
	}
	delete(h.times, h.ring[h.next])
	h.ring[h.next] = root
	h.next = (h.next + 1) % maxHistory
	return t
}

// at is when a state was published, if that is known.
func (h *history) at(root mmr.Digest) (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.times[root]
	return t, ok
}

// run looks at every publication until ctx ends. What is there at the
// beginning was published at a time nobody knows.
func (h *history) run(ctx context.Context, db *database.DB) {
	for first := true; ; first = false {
		changed := db.Changed()
		if v, err := db.View(); err == nil && !first {
			h.saw(v.Root())
			v.Close()
		} else if err == nil {
			v.Close()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
