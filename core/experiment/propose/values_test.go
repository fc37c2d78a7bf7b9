package propose

import (
	"math"
	"slices"
	"testing"
)

func TestHowBadABadPointIsDoesNotMatter(t *testing.T) {
	a, b := even([]float64{1, 2, 3, 4, 5, 6}), even([]float64{1, 2, 3, 40, 1e30, math.MaxFloat64})
	for i := range a {
		if i < 5 && a[i] >= a[i+1] || i < 3 && b[i] > b[i+1] || i >= 3 && i < 5 && b[i] >= b[i+1] {
			t.Errorf("the order is lost: %v, %v", a, b)
		}
		if math.IsNaN(b[i]) || math.IsInf(b[i], 0) {
			t.Errorf("no number: %v", b)
		}
	}
	if c := even([]float64{1, 2, 3, 4, 5, 1000}); !slices.EqualFunc(a, c, func(x, y float64) bool { return math.Abs(x-y) < 1e-12 }) {
		t.Errorf("%v, want %v", c, a)
	}
}

func TestEvenValuesHaveMean0AndVariance1(t *testing.T) {
	for _, costs := range [][]float64{{3, -1, 4, 1, -5, 9, 2, 6}, {1, 2}, {1, 1, 1, 1, 1, 2, 3}, {-1e200, 1, 2, 3}, {0, 0, 1e-300}} {
		mean, square := 0.0, 0.0
		for _, v := range even(costs) {
			mean, square = mean+v/float64(len(costs)), square+v*v/float64(len(costs))
		}
		if math.Abs(mean) > 1e-9 || math.Abs(square-1) > 1e-9 {
			t.Errorf("%v: mean %v, variance %v", costs, mean, square)
		}
	}
	if got := even([]float64{7, 7, 7}); !slices.Equal(got, []float64{0, 0, 0}) {
		t.Errorf("equal costs: %v", got)
	}
}

func TestOfManyPointsTheBestAreKept(t *testing.T) {
	var results []Result
	for i := range 2000 {
		results = append(results, Result{Point: Point{float64(i)}, Cost: float64((i * 7) % 2000)})
	}
	points, values, _ := known(1, 2001, results)
	if len(points) != most || len(values) != most {
		t.Fatalf("%d points, %d values", len(points), len(values))
	}
	var costs []int
	for _, p := range points {
		costs = append(costs, int(p[0])*7%2000)
	}
	slices.Sort(costs)
	if costs[most/2-1] != most/2-1 || costs[most-1] < 1000 || len(slices.Compact(costs)) != most {
		t.Errorf("kept costs %v", costs)
	}
}

func TestAPointWithoutACostIsAsBadAsTheWorst(t *testing.T) {
	results := []Result{{Point: Point{0}, Cost: 1}, {Point: Point{1}, Cost: 5}, {Point: Point{2}, State: Failed}, {Point: Point{3}, Cost: math.NaN()},
		{Point: Point{4}, State: Stopped, Cost: -9}, {Point: Point{5}, Cost: math.Inf(-1)}, {Point: Point{6}, State: Pending}}
	points, values, pending := known(1, 8, results)
	if len(points) != 6 || len(pending) != 1 || pending[0][0] != 6 {
		t.Fatalf("points %v, pending %v", points, pending)
	}
	for i, v := range values[2:] {
		if v != values[1] {
			t.Errorf("point %d has %v, the worst has %v", i+2, v, values[1])
		}
	}
}
