package syncer

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// String draws a plan: "[0 10) missing, [10 20) in flight" and so on.
func (p *plan) String() string {
	var parts []string
	for _, s := range p.segments {
		parts = append(parts, fmt.Sprintf("%d-%d %c", s.start, s.end, "mfv"[s.state]))
	}
	return strings.Join(parts, ", ")
}

// locations is the dumb plan: the state of every location by itself.
type locations struct {
	state   []segmentState
	applied uint64
}

func (l *locations) set(r span, s segmentState) {
	for i := r.start; i < r.end; i++ {
		l.state[i] = s
	}
}

func TestPlanAppliesEveryLocationOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64Range(0, 600).Draw(t, "start")
		end := start + rapid.Uint64Range(0, 1500).Draw(t, "length")
		p := newPlan(start, end)
		model := &locations{make([]segmentState, end), start}
		var flying []span
		draw := func() span {
			i := rapid.IntRange(0, len(flying)-1).Draw(t, "request")
			r := flying[i]
			flying = append(flying[:i], flying[i+1:]...)
			return r
		}
		actions := map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				most := rapid.Uint64Range(1, 700).Draw(t, "most")
				r, ok := p.next(most)
				lowest := model.applied
				for ; lowest < end && model.state[lowest] != missing; lowest++ {
				}
				if ok != (lowest < end) {
					t.Fatalf("next says %t, the lowest missing location is %d of %d", ok, lowest, end)
				}
				if !ok {
					return
				}
				if r.start != lowest || r.len() == 0 || r.len() > most || r.end > end {
					t.Fatalf("asks for %v, the lowest missing is %d, at most %d", r, lowest, most)
				}
				for i := r.start; i < r.end; i++ {
					if model.state[i] != missing {
						t.Fatalf("asks for %v, but %d is not missing", r, i)
					}
				}
				if most >= bundle && r.end < end && model.state[r.end] == missing && r.end%bundle != 0 {
					t.Fatalf("cuts at %d, not at a bundle", r.end)
				}
				if p.urgent() != (r.start == model.applied) {
					t.Fatalf("urgent is %t for %v", p.urgent(), r)
				}
				p.take(r)
				model.set(r, inFlight)
				flying = append(flying, r)
			},
			"answer": func(t *rapid.T) {
				if len(flying) == 0 {
					t.Skip()
				}
				r := draw()
				n := rapid.Uint64Range(1, r.len()).Draw(t, "answered")
				p.accept(r, n)
				model.set(span{r.start, r.start + n}, verified)
				model.set(span{r.start + n, r.end}, missing)
			},
			"fail": func(t *rapid.T) {
				if len(flying) == 0 {
					t.Skip()
				}
				r := draw()
				p.giveBack(r)
				model.set(r, missing)
			},
			"apply": func(t *rapid.T) {
				r, ok := p.apply()
				if ok != (model.applied < end && model.state[model.applied] == verified) {
					t.Fatalf("apply says %t at %d", ok, model.applied)
				}
				if !ok {
					return
				}
				if r.start != model.applied || r.len() == 0 {
					t.Fatalf("applies %v at %d", r, model.applied)
				}
				for i := r.start; i < r.end; i++ {
					if model.state[i] != verified {
						t.Fatalf("applies %d, which is not verified", i)
					}
				}
				model.applied = r.end
			},
			"": func(t *rapid.T) {
				at := model.applied
				for i, s := range p.segments {
					if s.start != at || s.end <= s.start {
						t.Fatalf("gap or overlap at %d: %s", at, p)
					}
					if i > 0 && s.state == missing && p.segments[i-1].state == missing {
						t.Fatalf("missing neighbours: %s", p)
					}
					for l := s.start; l < s.end; l++ {
						if model.state[l] != s.state {
							t.Fatalf("location %d: %s", l, p)
						}
					}
					at = s.end
				}
				if at != end || p.complete() != (model.applied == end) {
					t.Fatalf("ends at %d of %d, complete %t: %s", at, end, p.complete(), p)
				}
			},
		}
		t.Repeat(actions)
	})
}

// Gaps: what is asked for next, whatever is in flight, verified or applied.
func TestPlanFindsTheGap(t *testing.T) {
	type step struct {
		do         byte // f: ask for, v: answered in full, s: answered by half, m: failed, a: applied
		start, end uint64
	}
	for _, c := range []struct {
		name       string
		start, end uint64
		steps      []step
		most       uint64
		next       string // range, or "none"
	}{
		{"empty plan", 5, 5, nil, 10, "none"},
		{"one location", 5, 6, nil, 10, "5-6"},
		{"everything missing", 0, 100, nil, 1000, "0-100"},
		{"cut by the request size", 0, 100, nil, 10, "0-10"},
		{"not from zero", 90, 100, nil, 4, "90-94"},
		{"first in flight", 0, 100, []step{{'f', 0, 10}}, 10, "10-20"},
		{"all in flight", 0, 20, []step{{'f', 0, 10}, {'f', 10, 20}}, 10, "none"},
		{"first verified, second in flight", 0, 30, []step{{'f', 0, 10}, {'f', 10, 20}, {'v', 0, 10}}, 10, "20-30"},
		{"second verified, first in flight", 0, 30, []step{{'f', 0, 10}, {'f', 10, 20}, {'v', 10, 20}}, 10, "20-30"},
		{"second verified, first failed", 0, 30, []step{{'f', 0, 10}, {'f', 10, 20}, {'v', 10, 20}, {'m', 0, 10}}, 10, "0-10"},
		{"gap smaller than the request", 0, 30, []step{{'f', 0, 3}, {'f', 3, 20}, {'m', 0, 3}}, 10, "0-3"},
		{"short answer", 0, 30, []step{{'f', 0, 10}, {'f', 10, 30}, {'s', 0, 10}}, 10, "5-10"},
		{"short answer joins what follows", 0, 30, []step{{'f', 0, 10}, {'s', 0, 10}}, 100, "5-30"},
		{"failure joins both sides", 0, 30, []step{{'f', 0, 10}, {'f', 10, 20}, {'m', 0, 10}, {'m', 10, 20}}, 100, "0-30"},
		{"last one failed", 0, 30, []step{{'f', 0, 10}, {'f', 10, 20}, {'f', 20, 30}, {'v', 0, 10}, {'v', 10, 20}, {'m', 20, 30}}, 100, "20-30"},
		{"applied, the rest missing", 0, 30, []step{{'f', 0, 10}, {'v', 0, 10}, {'a', 0, 10}}, 100, "10-30"},
		{"everything applied", 0, 10, []step{{'f', 0, 10}, {'v', 0, 10}, {'a', 0, 10}}, 100, "none"},
		{"two gaps, the lower first", 0, 40, []step{{'f', 0, 10}, {'f', 10, 20}, {'f', 20, 30}, {'f', 30, 40}, {'v', 20, 30}, {'m', 30, 40}, {'m', 10, 20}}, 100, "10-20"},
		{"large requests end with a bundle", 100, 2000, nil, 300, "100-256"},
		{"large requests from a bundle on", 256, 2000, nil, 600, "256-768"},
		{"the end needs no bundle", 1900, 2000, nil, 300, "1900-2000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlan(c.start, c.end)
			for _, s := range c.steps {
				r := span{s.start, s.end}
				switch s.do {
				case 'f':
					p.take(r)
				case 'v':
					p.accept(r, r.len())
				case 's':
					p.accept(r, r.len()/2)
				case 'm':
					p.giveBack(r)
				case 'a':
					if got, ok := p.apply(); !ok || got != r {
						t.Fatalf("applied %v, %t", got, ok)
					}
				}
			}
			got := "none"
			if r, ok := p.next(c.most); ok {
				got = fmt.Sprintf("%d-%d", r.start, r.end)
			}
			if got != c.next {
				t.Errorf("asks for %s, expected %s; plan %s", got, c.next, p)
			}
		})
	}
}

func TestPlanRefusesToLoseTrack(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an answer to a range that is not in flight was taken")
		}
	}()
	newPlan(0, 10).accept(span{0, 5}, 5)
}
