package propose

import (
	"cmp"
	"math"
	"slices"

	"tandem/core/random"
)

const most = 300 // points that a process learns from; its time grows with their cube

// known returns points and their values for a process to learn, and the points that are pending. A point without a cost, or
// whose cost is no number, is as bad as the worst. Of many points, the better half of most stay, and a seeded sample of the others.
func known(seed uint64, n int, results []Result) (points []Point, values []float64, pending []Point) {
	worst := math.Inf(-1)
	for _, r := range results {
		if r.finished() {
			worst = math.Max(worst, r.Cost)
		}
	}
	for _, r := range results {
		switch {
		case r.State == Pending:
			pending = append(pending, r.Point)
			continue
		case r.finished():
			values = append(values, r.Cost)
		default:
			values = append(values, worst)
		}
		points = append(points, r.Point)
	}
	if len(points) > most {
		order := sorted(values)
		best, others := order[:most/2], order[most/2:]
		drawn := pick(others, random.New(seed, "search sample", n).Perm(len(others))[:most/2])
		order = slices.Concat(best, drawn)
		slices.Sort(order)
		points, values = pick(points, order), pick(values, order)
	}
	return points, even(values), pending
}

// finished reports whether a result has a cost to learn from.
func (r Result) finished() bool {
	return r.State == Finished && !math.IsNaN(r.Cost) && !math.IsInf(r.Cost, 0)
}

// sorted returns the places of values from the least to the greatest.
func sorted(values []float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return order
}

func pick[T any](from []T, places []int) []T {
	to := make([]T, len(places))
	for i, k := range places {
		to[i] = from[k]
	}
	return to
}

// even returns costs with mean 0 and variance 1, after those above the median became what their rank has in a normal distribution as
// wide as the better half: how bad a bad point is does not matter (Song et al. 2024, "The Vizier Gaussian process bandit algorithm", the half-rank warping).
func even(costs []float64) []float64 {
	n, size := float64(len(costs)), 0.0
	for _, v := range costs {
		size = math.Max(size, math.Abs(v))
	}
	values := slices.Clone(costs)
	if size > 0 { // so that no square overflows
		for i := range values {
			values[i] /= size
		}
	}
	ranks := pick(values, sorted(values))
	middle := (ranks[(len(ranks)-1)/2] + ranks[len(ranks)/2]) / 2
	sum, better := 0.0, 0.0
	for _, v := range values {
		if v <= middle {
			sum, better = sum+(v-middle)*(v-middle), better+1
		}
	}
	width := math.Sqrt(sum / better)
	if width == 0 {
		width = 1
	}
	for i, v := range values {
		if v > middle {
			low, _ := slices.BinarySearch(ranks, v)
			high, _ := slices.BinarySearchFunc(ranks, v, func(a, b float64) int { // after the last of its equals
				if a <= b {
					return -1
				}
				return 1
			})
			values[i] = middle + width*quantile(float64(low+high)/2/n)
		}
	}
	mean, square := 0.0, 0.0
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		square += (v - mean) * (v - mean) / n
	}
	if square == 0 {
		square = 1
	}
	for i, v := range values {
		values[i] = (v - mean) / math.Sqrt(square)
	}
	return values
}
