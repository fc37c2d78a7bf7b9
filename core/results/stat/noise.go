package stat

import "math"

// Noise measures the spread that means nothing: what two sets of seeds of one variant differ by.
type Noise struct {
	First, Second Summary
	Delta         float64 // mean of the second − mean of the first
	Std           float64 // pooled over both sets, n₁+n₂−2 degrees of freedom; NaN under three seeds
	P             float64 // two-sided, of Student's test that the means are equal; NaN without a spread
}

// NoiseOf compares two sets of seeds of the same variant, usually the baseline run twice. A small P, once
// in twenty times under .05, would say that the sets differ, which seeds alone cannot do: then something
// else changed between them.
func NoiseOf(first, second []float64) Noise {
	n := Noise{First: Summarize(first), Second: Summarize(second), Std: math.NaN(), P: math.NaN()}
	n.Delta = n.Second.Mean - n.First.Mean
	squares := 0.0
	for _, s := range []Summary{n.First, n.Second} {
		if s.N > 1 {
			squares += s.Std * s.Std * float64(s.N-1)
		}
	}
	if n.df() < 1 || n.First.N == 0 || n.Second.N == 0 {
		return n
	}
	n.Std = math.Sqrt(squares / n.df())
	if err := n.Std * math.Sqrt(1/float64(n.First.N)+1/float64(n.Second.N)); err > 0 {
		n.P = tailT(n.Delta/err, n.df())
	}
	return n
}

func (n Noise) df() float64 { return float64(n.First.N + n.Second.N - 2) }

// Floor bounds the difference between the means of two more sets of seeds of this variant, first and second in number, with no
// seed in common. The bound holds with probability level, in (0, 1): t·s·√(1/first+1/second) with n₁+n₂−2 degrees of freedom (Student's
// prediction interval; Hahn and Meeker 1991, §4.8). The means are not paired: what a seed does to both sides cancels in a
// paired difference, which may be told from 0 below the floor. Floor is NaN without Std.
func (n Noise) Floor(first, second int, level float64) float64 {
	if math.IsNaN(n.Std) || first < 1 || second < 1 {
		return math.NaN()
	}
	return quantileT(level, n.df()) * n.Std * math.Sqrt(1/float64(first)+1/float64(second))
}
