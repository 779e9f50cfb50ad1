package syncer

import "slices"

// bundle is the alignment of large requests in operations: the unit in which
// both sides store them.
const bundle = 256

// span is a half-open range of locations.
type span struct{ start, end uint64 }

func (s span) len() uint64 { return s.end - s.start }

type segmentState uint8

const (
	missing  segmentState = iota
	inFlight              // asked for
	verified              // here and checked, waiting for what comes before it
)

type segment struct {
	span
	state segmentState
}

// plan knows which operations of [start, end) are missing, asked for, or
// verified. It does no I/O and is owned by one goroutine.
//
// The segments are in order and without gaps from the first location that has
// not been applied to end; neighbours that are both missing are one segment.
// There are as many as requests in flight and answers waiting, so searching
// them one by one is cheap.
type plan struct {
	segments []segment
	start    uint64 // everything before it has been applied
	end      uint64
}

func newPlan(start, end uint64) *plan {
	p := &plan{start: start, end: end}
	if start < end {
		p.segments = []segment{{span{start, end}, missing}}
	}
	return p
}

// complete says whether everything has been applied.
func (p *plan) complete() bool { return p.start == p.end }

// next is the range to ask for next: the lowest missing one, of at most most
// operations. Cut so that the following request begins a bundle, if requests
// are that large. It changes nothing; see take.
func (p *plan) next(most uint64) (span, bool) {
	for _, s := range p.segments {
		if s.state != missing {
			continue
		}
		r := s.span
		if r.len() > most {
			r.end = r.start + most
			if aligned := r.end / bundle * bundle; most >= bundle && aligned > r.start {
				r.end = aligned
			}
		}
		return r, true
	}
	return span{}, false
}

// urgent says whether nothing can be applied before the first missing
// operation has been asked for.
func (p *plan) urgent() bool { return len(p.segments) > 0 && p.segments[0].state == missing }

// take marks r, as returned by next, as asked for.
func (p *plan) take(r span) { p.set(r, missing, inFlight) }

// giveBack marks r as missing again.
func (p *plan) giveBack(r span) { p.set(r, inFlight, missing) }

// accept marks the first n operations of r as verified; what is left of r is
// missing again.
func (p *plan) accept(r span, n uint64) {
	cut := r.start + n
	p.set(span{r.start, cut}, inFlight, verified)
	if cut < r.end {
		p.set(span{cut, r.end}, inFlight, missing)
	}
}

// apply removes the verified range that begins where everything before has
// been applied, if there is one.
func (p *plan) apply() (span, bool) {
	if len(p.segments) == 0 || p.segments[0].state != verified {
		return span{}, false
	}
	r := p.segments[0].span
	p.segments = slices.Delete(p.segments, 0, 1)
	p.start = r.end
	return r, true
}

// set moves r, a part of one segment in state from, to state to.
func (p *plan) set(r span, from, to segmentState) {
	i := slices.IndexFunc(p.segments, func(s segment) bool {
		return s.state == from && s.start <= r.start && r.end <= s.end
	})
	if i < 0 || r.start >= r.end {
		panic("syncer: range is not in the plan") // the caller lost track: never go on
	}
	whole := p.segments[i]
	parts := make([]segment, 0, 3)
	if whole.start < r.start {
		parts = append(parts, segment{span{whole.start, r.start}, from})
	}
	parts = append(parts, segment{r, to})
	if r.end < whole.end {
		parts = append(parts, segment{span{r.end, whole.end}, from})
	}
	p.segments = slices.Replace(p.segments, i, i+1, parts...)
	if to != missing {
		return
	}
	if whole.start < r.start {
		i++
	}
	if i+1 < len(p.segments) && p.segments[i+1].state == missing {
		p.segments[i].end = p.segments[i+1].end
		p.segments = slices.Delete(p.segments, i+1, i+2)
	}
	if i > 0 && p.segments[i-1].state == missing {
		p.segments[i-1].end = p.segments[i].end
		p.segments = slices.Delete(p.segments, i, i+1)
	}
}
