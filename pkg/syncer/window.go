package syncer

import (
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// firstWindow is how many requests are under way before the source has
	// shown what it can do.
	firstWindow = 8
	// digestBytes is what checking an operation leaves behind in memory: a
	// leaf and, on average, almost one inner node.
	digestBytes = 2 * mmr.DigestSize
	// smallAnswer is the least room made for an answer of variable operations.
	smallAnswer = 64 << 10
	// firstGuess is the assumed size of a variable operation in bytes.
	firstGuess = 256
	// probeAfter and probeMost are how many whole answers in a row it takes
	// to try larger requests than the source answered last.
	probeAfter, probeMost = 16, 1024
)

// window decides how much may be asked for: requests under way, operations
// per request and bytes. Like a congestion window it opens with every answer
// and halves when the source cannot keep up. It is pure and owned by one
// goroutine.
type window struct {
	codec  operation.Codec
	budget int64
	most   int    // requests under way, ever
	batch  uint64 // operations per request, ever

	limit    int    // requests under way, now
	size     uint64 // operations per request, now
	inFlight int
	used     int64 // bytes reserved or held
	halvedAt time.Time

	streak, probe int     // whole answers in a row; how many allow larger requests
	perOp         float64 // bytes of a variable operation, an estimate from above
	least         int     // room the next answer needs for sure
}

func newWindow(codec operation.Codec, o Options) *window {
	w := &window{
		codec: codec, budget: o.MaxInflightBytes, most: o.MaxOutstanding, batch: uint64(o.BatchSize),
		limit: min(firstWindow, o.MaxOutstanding), size: uint64(o.BatchSize), probe: probeAfter,
		perOp: firstGuess,
	}
	if n := codec.Size(); n > 0 {
		w.perOp = float64(n)
	}
	return w
}

// operations is how many operations the next request may ask for: so many
// that a sixteenth of the budget holds the answer, and several are under way.
func (w *window) operations() uint64 {
	fits := uint64(float64(w.budget/16) / (w.perOp + digestBytes))
	return max(1, min(w.size, fits))
}

// reserve tells whether n operations of a log of size may be asked for, and
// how long the answer may be. An urgent request may exceed the byte budget:
// nothing that is held can be let go before it was answered.
func (w *window) reserve(size, n uint64, urgent bool) (r reservation, ok bool) {
	if w.inFlight >= w.limit {
		return r, false
	}
	r.frame = wire.MaxAnswer(w.codec, size, n)
	if w.codec.Size() == 0 {
		// Twice the average, so that few answers have to be asked for again.
		r.frame = max(smallAnswer, w.least, min(r.frame, int(2*w.perOp*float64(n))))
	}
	r.bytes = int64(r.frame) + int64(n)*digestBytes
	if w.used+r.bytes > w.budget && !urgent {
		return r, false
	}
	w.inFlight++
	w.used += r.bytes
	return r, true
}

// reservation is room for one answer.
type reservation struct {
	frame int   // longest answer in bytes
	bytes int64 // of the budget, digests included
}

// failed gives back the room of a request that was not answered.
func (w *window) failed(r reservation) {
	w.inFlight--
	w.used -= r.bytes
}

// answered notes an answer of got operations in a frame of the given length,
// where asked were asked for, and returns what it occupies until released.
func (w *window) answered(r reservation, asked, got uint64, frame int) int64 {
	w.inFlight--
	held := min(r.bytes, int64(frame)+int64(got)*digestBytes)
	w.used += held - r.bytes
	if w.limit < w.most {
		w.limit++
	}
	if w.codec.Size() == 0 {
		if seen := float64(frame) / float64(got); seen > w.perOp {
			w.perOp = seen
		} else {
			w.perOp += (seen - w.perOp) / 16
		}
	}
	switch {
	case got < asked: // this is what the source answers at most
		if asked > w.size {
			break // asked before the size was adapted
		}
		if w.size = got; w.probe < probeMost {
			w.probe *= 2
		}
		w.streak = 0
	case asked >= w.size && w.size < w.batch:
		if w.streak++; w.streak >= w.probe {
			w.size = min(w.batch, 2*w.size)
			w.streak = 0
		}
	}
	return held
}

// release gives back what an answer occupied.
func (w *window) release(held int64) { w.used -= held }

// applied is called when the lowest range has been stored.
func (w *window) applied() { w.least = 0 }

// tooLarge notes that the answer to n operations needs this many bytes.
func (w *window) tooLarge(n uint64, bytes int) {
	w.perOp = max(w.perOp, float64(bytes)/float64(n))
	if n == 1 {
		w.least = min(bytes, wire.MaxFrame)
	}
}

// slow notes that a request made at launched was not answered in time. What
// was under way together counts once.
func (w *window) slow(launched, now time.Time) {
	if launched.Before(w.halvedAt) {
		return
	}
	w.halvedAt = now
	w.limit = max(1, w.limit/2)
	w.size = max(1, w.size/2)
	w.streak = 0
}
