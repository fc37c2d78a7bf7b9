// Package stat says what numbers over seeds and examples show, and no more than that: mean and spread, a
// variant's difference from its baseline paired by seed, tests on predictions, Holm's correction, the
// analysis of variance of a grid, the noise floor, and a verdict in words.
//
// Everything is pure and float64. What draws at random takes a seed and draws by position (core/random),
// so that the same numbers and the same seed give the same bits. The distributions are gonum's.
package stat

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Summary describes a sample, such as one metric over seeds.
type Summary struct {
	N         int
	Mean, Std float64 // Std with n−1; NaN under two values
	Min, Max  float64
}

// Summarize describes values; everything is NaN without any.
func Summarize(values []float64) Summary {
	s := Summary{N: len(values), Mean: math.NaN(), Std: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	if s.N == 0 {
		return s
	}
	s.Min, s.Max = slices.Min(values), slices.Max(values)
	s.Mean, s.Std = stat.MeanStdDev(values, nil) // NaN for one value
	return s
}

// flat reports whether the values differ by no more than rounding does.
func (s Summary) flat() bool {
	return s.Max-s.Min <= 1e-9*max(math.Abs(s.Min), math.Abs(s.Max))
}
