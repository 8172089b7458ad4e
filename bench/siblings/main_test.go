package main

import (
	"slices"
	"testing"
)

func TestDecided(t *testing.T) {
	ratios := func(below, above int) []float64 {
		return append(slices.Repeat([]float64{1.05}, below), slices.Repeat([]float64{1.15}, above)...)
	}
	for _, test := range []struct {
		below, above int
		want         bool
	}{
		{0, 0, false}, {5, 0, false}, {6, 0, true}, {0, 6, true}, {7, 1, false}, {8, 1, true}, {1, 8, true}, {9, 2, false}, {10, 2, true}, {7, 7, false},
	} {
		if got := decided(ratios(test.below, test.above), 1.1); got != test.want {
			t.Errorf("%d below and %d above: decided %t", test.below, test.above, got)
		}
	}
	if decided(ratios(3, 2), 0) || !decided(ratios(3, 3), 0) {
		t.Error("the yardstick takes six rounds")
	}
}

func TestQuantile(t *testing.T) {
	list := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.25: 1.75, 0.5: 2.5, 1: 4} {
		if got := quantile(list, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if got := quantile([]float64{7}, 0.75); got != 7 {
		t.Errorf("of one: %v", got)
	}
}
