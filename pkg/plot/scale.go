package plot

import "math"

// scale maps positive values to pixels, logarithmically. ticks are ascending.
type scale struct {
	low, high float64 // logarithms to the base 10
	from, to  float64 // pixels; to may be below from
	ticks     []float64
}

func (s scale) at(v float64) float64 {
	return s.from + (math.Log10(v)-s.low)/(s.high-s.low)*(s.to-s.from)
}

// newScale makes a scale that holds low to high, both above zero, and begins and
// ends at a tick: at powers of ten, with their doubles and fivefolds where there
// would be few of them.
func newScale(low, high, from, to float64) scale {
	steps := []float64{1}
	if high/low < 100 {
		steps = []float64{1, 2, 5}
	}
	var all []float64
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, step := range steps {
			all = append(all, power(step, int(e)))
		}
	}
	// A value that is a tick but for rounding is on it.
	const slack = 1e-9
	first, last := 0, len(all)-1
	for first+1 < last && all[first+1] <= low*(1+slack) {
		first++
	}
	for last-1 > first && all[last-1] >= high*(1-slack) {
		last--
	}
	ticks := all[first : last+1]
	return scale{math.Log10(ticks[0]), math.Log10(ticks[len(ticks)-1]), from, to, ticks}
}

// power is step times ten to the e, exact where it can be.
func power(step float64, e int) float64 {
	if e < 0 {
		return step / math.Pow10(-e)
	}
	return step * math.Pow10(e)
}
