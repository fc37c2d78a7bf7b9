package stat

import (
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// BySeed holds one metric of one variant, by seed.
type BySeed map[uint64]float64

// Values returns the finite values in the order of their seeds.
func (b BySeed) Values() (values []float64) {
	for _, seed := range slices.Sorted(maps.Keys(b)) {
		if finite(b[seed]) {
			values = append(values, b[seed])
		}
	}
	return values
}

// Test names a test of a comparison; reports name it.
type Test string

// The tests of a comparison.
const (
	NoTest    Test = "" // fewer than two seeds in common
	PairedT   Test = "paired t test"
	PooledT   Test = "t test of all cells' spread"
	SignFlips Test = "sign flips" // where the differences have no spread that a t test could use
)

// Comparison compares a variant with its baseline over the seeds that both have.
type Comparison struct {
	N        int     // seeds with a finite value on both sides
	Unpaired int     // seeds with a value on one side only, or one that is not finite
	Delta    float64 // mean of variant − baseline; NaN without seeds
	Std      float64 // of the differences, with n−1; NaN under two
	Interval Interval
	P        float64 // two-sided; NaN with NoTest
	MinP     float64 // the least P that Test can give with N seeds
	Test     Test
	DF       float64 // degrees of freedom of Test; NaN where it has none
	// Correlation is that of variant and baseline over the seeds in common: what pairing takes away of the difference's
	// variance where both spread alike. NaN under three seeds, or without spread.
	Correlation float64
	// Spread is the sum of the two variances over these seeds: what Std² would be without pairing.
	Spread float64
}

// WithoutInterval returns c without its interval, for where none can be given.
func (c Comparison) WithoutInterval() Comparison {
	c.Interval = Interval{Low: math.NaN(), High: math.NaN(), Level: c.Interval.Level}
	return c
}

// Compare pairs a variant with its baseline by seed: the same seed is the same order of the data and the
// same initial values, so what they share cancels in the difference. level is the interval's, seed that
// of its resamples.
//
// P is the paired t test's, 2·P(T ≥ |mean/(s/√n)|) with n−1 degrees of freedom (Student 1908). Where all
// differences are equal s is 0 and t would be infinite, which claims more than a few coarse numbers can:
// P is then 2·½ⁿ, that of the exact test by sign flips (Fisher 1935, §21), and 1 when they are 0.
func Compare(variant, baseline BySeed, level float64, seed uint64) Comparison {
	var d, vs, bs []float64
	unpaired := 0
	for _, s := range slices.Sorted(maps.Keys(variant)) {
		v := variant[s]
		b, both := baseline[s]
		if !both || !finite(v) || !finite(b) {
			unpaired++
			continue
		}
		d, vs, bs = append(d, difference(v, b)), append(vs, v), append(bs, b)
	}
	for s := range baseline {
		if _, both := variant[s]; !both {
			unpaired++
		}
	}
	c := compare(d, unpaired, level, seed, resamples)
	if c.Correlation = math.NaN(); c.N >= MinSeeds {
		v, b := Summarize(vs), Summarize(bs)
		if c.Spread = square(v.Std) + square(b.Std); !v.flat() && !b.flat() {
			c.Correlation = stat.Correlation(vs, bs, nil)
		}
	}
	return c
}

func compare(d []float64, unpaired int, level float64, seed uint64, resamples int) Comparison {
	s := Summarize(d)
	c := Comparison{
		N: s.N, Unpaired: unpaired, Delta: s.Mean, Std: s.Std, P: math.NaN(), MinP: math.NaN(), DF: math.NaN(),
		Interval: meanInterval(d, level, seed, resamples),
	}
	switch {
	case s.N < 2:
	case s.flat():
		c.Test, c.MinP, c.P = SignFlips, 2*math.Pow(0.5, float64(s.N)), 1
		if s.Mean != 0 {
			c.P = c.MinP
		}
	default:
		c.Test, c.MinP = PairedT, 0
		c.DF = float64(s.N - 1)
		c.P = tailT(s.Mean/(s.Std/math.Sqrt(float64(s.N))), c.DF)
	}
	return c
}

// difference returns a−b, and 0 where that is only rounding.
func difference(a, b float64) float64 {
	if math.Abs(a-b) <= 1e-12*max(math.Abs(a), math.Abs(b)) {
		return 0
	}
	return a - b
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
