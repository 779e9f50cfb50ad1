package plot

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestScaleBeginsAndEndsAtRoundValues(t *testing.T) {
	for _, tc := range []struct {
		low, high float64
		ticks     []float64
	}{
		{10_000, 10_000_000, []float64{1e4, 1e5, 1e6, 1e7}},
		{0.031, 18, []float64{0.01, 0.1, 1, 10, 100}},
		{21e6, 166e6, []float64{20e6, 50e6, 100e6, 200e6}},
		{3, 3, []float64{2, 5}},
		{5, 5, []float64{5, 10}},
		{1, 1, []float64{1, 2}},
	} {
		if got := newScale(tc.low, tc.high, 0, 1).ticks; !slices.Equal(got, tc.ticks) {
			t.Errorf("%g to %g: ticks %v, want %v", tc.low, tc.high, got, tc.ticks)
		}
	}
}

func TestEveryValueLiesOnItsScale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Float64Range(1e-6, 1e15).Draw(t, "a")
		b := rapid.Float64Range(1e-6, 1e15).Draw(t, "b")
		s := newScale(min(a, b), max(a, b), 300, 100)
		if len(s.ticks) < 2 || !slices.IsSorted(s.ticks) {
			t.Fatalf("ticks %v", s.ticks)
		}
		for _, v := range []float64{a, b, s.ticks[0], s.ticks[len(s.ticks)-1]} {
			if at := s.at(v); at < 100-1e-6 || at > 300+1e-6 {
				t.Fatalf("%g is drawn at %g", v, at)
			}
		}
	})
}

func TestLabelsKeepApart(t *testing.T) {
	labels := []label{{y: 300}, {y: 299}, {y: 100}, {y: 101}}
	spread(labels, 96, 326)
	for i, l := range labels {
		if l.y < 96 || l.y > 326 || i > 0 && l.y-labels[i-1].y < labelHeight {
			t.Errorf("labels at %v", labels)
		}
	}
}

func TestValuesAreWrittenForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"31 ms": secondsText(0.031), "20.7 s": secondsText(20.71), "250 µs": secondsText(0.00025), "1 s": secondsText(1),
		"118 MB": bytesText(118.2e6), "1.18 GB": bytesText(1.182e9), "1 MB": bytesText(999_900), "12 B": bytesText(12),
		"10k": opsText(10_000), "1M": opsText(1e6), "2.5M": opsText(2.5e6), "300": opsText(300),
		"1,234,567": grouped(1234567), "100": grouped(100),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
