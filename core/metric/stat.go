package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
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
	s.Mean, s.Min, s.Max = stat.Mean(values, nil), slices.Min(values), slices.Max(values)
	if s.N > 1 {
		s.Std = stat.StdDev(values, nil)
	}
	return s
}

// Paired compares two variants over the same seeds.
type Paired struct {
	N     int
	Delta float64 // mean of a−b
	Std   float64 // of the differences, with n−1; NaN under two pairs
	// Low and High bound the 95 % confidence interval of Delta by Student's t; NaN under two pairs.
	Low, High float64
	// P is the two-sided p-value of the paired t-test; NaN under two pairs, and with no spread 0, or 1
	// when Delta is 0 as well.
	P float64
}

// Pair compares a[i] with b[i]. It panics when the lengths differ.
func Pair(a, b []float64) Paired {
	if len(a) != len(b) {
		panic(fmt.Sprintf("metric: %d values paired with %d", len(a), len(b)))
	}
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	s := Summarize(d)
	p := Paired{N: s.N, Delta: s.Mean, Std: s.Std, Low: math.NaN(), High: math.NaN(), P: math.NaN()}
	if s.N < 2 {
		return p
	}
	t := distuv.StudentsT{Sigma: 1, Nu: float64(s.N - 1)}
	err := s.Std / math.Sqrt(float64(s.N))
	half := t.Quantile(0.975) * err
	p.Low, p.High = p.Delta-half, p.Delta+half
	switch {
	case err > 0:
		p.P = 2 * t.Survival(math.Abs(p.Delta)/err)
	case p.Delta == 0:
		p.P = 1
	default:
		p.P = 0
	}
	return p
}

// Bootstrap bounds the 95 % percentile interval of the mean of values, from resamples drawn with
// seed (Efron 1979). NaN without values.
func Bootstrap(values []float64, resamples int, seed uint64) (low, high float64) {
	if len(values) == 0 || resamples < 1 {
		return math.NaN(), math.NaN()
	}
	random := rand.New(rand.NewPCG(seed, 0))
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range values {
			sum += values[random.IntN(len(values))]
		}
		means[i] = sum / float64(len(values))
	}
	slices.Sort(means)
	return stat.Quantile(0.025, stat.Empirical, means, nil), stat.Quantile(0.975, stat.Empirical, means, nil)
}

// McNemar is the exact two-sided p-value that two classifiers err equally often, from the examples
// that only a and only b got right (McNemar 1947): the binomial test of onlyA among onlyA + onlyB
// with probability ½. 1 when they agree everywhere.
func McNemar(onlyA, onlyB int) float64 {
	n := onlyA + onlyB
	if n == 0 {
		return 1
	}
	b := distuv.Binomial{N: float64(n), P: 0.5}
	return min(1, 2*b.CDF(float64(min(onlyA, onlyB))))
}
