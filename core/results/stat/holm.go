package stat

import (
	"cmp"
	"math"
	"slices"
)

// Holm adjusts each p-value for being one of several, such that calling those under α significant
// errs anywhere in the table with probability at most α, however the tests depend on each other
// (Holm 1979): the i-th smallest of m times m−i+1, never less than the one before, at most 1.
// NaN stands for a test that was not made: it stays NaN and does not count.
func Holm(p []float64) []float64 {
	adjusted := slices.Repeat([]float64{math.NaN()}, len(p))
	var order []int
	for i, v := range p {
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	least := 0.0
	for rank, i := range order {
		least = max(least, min(1, p[i]*float64(len(order)-rank)))
		adjusted[i] = least
	}
	return adjusted
}
