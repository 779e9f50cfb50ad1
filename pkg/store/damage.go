package store

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// spots remembers where a generation could not be read. The storage engine looks for a
// flipped bit in a damaged block, trying each of the first 40 KiB: a tenth of a second of a
// processor and more, every time anew. Peers that ask for damaged operations again
// and again would keep the processors from everything else. The zero value is ready.
type spots struct {
	some atomic.Bool // met is not empty
	mu   sync.Mutex
	met  map[spot]trouble
}

// spot is a slot of operations, or a tile.
type spot struct {
	tile  bool
	level uint8
	index uint64
}

type trouble struct {
	err   error
	until time.Time
}

const (
	spotsKept = 1 << 14         // beyond so many, all are forgotten
	spotTime  = 5 * time.Second // for which nobody looks again
)

func slotSpot(loc uint64) spot    { return spot{index: loc / SlotOperations} }
func tileSpot(id mmr.TileID) spot { return spot{true, id.Level, id.Index} }

// known returns what reading there ended with a short time ago; nil: nothing is known.
func (s *spots) known(where spot) error {
	if !s.some.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.met[where]
	if !ok {
		return nil
	}
	if time.Now().After(x.until) {
		delete(s.met, where)
		s.some.Store(len(s.met) > 0)
		return nil
	}
	return x.err
}

// note remembers and returns what reading ended with, if that says that stored data is
// damaged.
func (s *spots) note(where spot, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.met == nil || len(s.met) >= spotsKept {
		s.met = make(map[spot]trouble)
	}
	s.met[where] = trouble{err, time.Now().Add(spotTime)}
	s.some.Store(true)
	return err
}
