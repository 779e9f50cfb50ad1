package bench

import (
	"maps"
	"slices"
	"testing"
)

func TestMedianAndQuantiles(t *testing.T) {
	for _, tc := range []struct {
		values        []float64
		p50, p99, mid float64
	}{
		{[]float64{7}, 7, 7, 7},
		{[]float64{9, 1, 2}, 2, 9, 2},
		{[]float64{4, 1, 2, 3}, 3, 4, 2.5},
		{nil, 0, 0, 0},
	} {
		if len(tc.values) > 0 {
			if got := median(tc.values); got != tc.mid {
				t.Errorf("median of %v is %v", tc.values, got)
			}
		}
		if p50, p99 := quantile(tc.values, 0.5), quantile(tc.values, 0.99); p50 != tc.p50 || p99 != tc.p99 {
			t.Errorf("quantiles of %v are %v and %v", tc.values, p50, p99)
		}
	}
}

func TestFigureThatARunLacksIsLeftOut(t *testing.T) {
	figures := summarise([]sample{{seconds: 9, diskBytes: 5}, {seconds: 1}, {seconds: 2}})
	if names := slices.Collect(maps.Keys(figures)); !slices.Equal(names, []string{seconds}) {
		t.Errorf("%v", names)
	}
	if f := figures[seconds]; f.Median != 2 || f.Min != 1 || f.Max != 9 || !slices.Equal(f.Values, []float64{9, 1, 2}) || f.Unit != "s" {
		t.Errorf("%+v", f)
	}
}

func TestShuffleIsAPermutation(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 10, 300, 4096} {
		seen := make(map[uint64]bool)
		order := newShuffle(n)
		for i := range n {
			seen[order.at(i)] = true
			if order.at(i) != order.at(i+n) || order.at(i) >= n {
				t.Errorf("%d of %d", i, n)
			}
		}
		if len(seen) != int(n) {
			t.Errorf("%d numbers of %d", len(seen), n)
		}
	}
}
