package stat

import (
	"math"

	"tandem/core/fault"
	"tandem/core/random"
)

const exactFlips = 16 // units up to which signFlip goes through all patterns

// Permutation holds the result of a test by sign flips.
type Permutation struct {
	N     int     // units whose difference is not 0
	P     float64 // two-sided; 1 without differences
	MinP  float64 // the least P that the test can give
	Exact bool    // all 2ᴺ patterns were counted, not a sample of them
}

// signFlip tests whether paired differences, one per unit, lie around 0: when the two sides of a unit
// could as well be swapped, every pattern of signs was equally likely, and P is the share of patterns
// whose sum is at least as far from 0 as the one seen (Fisher 1935, §21). Up to 16 units all patterns are
// counted; above, draws of them (9999) and the one seen, (b+1)/(m+1) (Phipson and Smyth 2010, eq. 2).
func signFlip(differences []float64, seed uint64, draws int) Permutation {
	var d []float64
	sum, size := 0.0, 0.0
	for _, v := range differences {
		if v != 0 {
			d = append(d, v)
			sum, size = sum+v, size+math.Abs(v)
		}
	}
	p := Permutation{N: len(d), P: 1, MinP: 1, Exact: len(d) <= exactFlips}
	if p.N == 0 {
		return p
	}
	far := math.Abs(sum) - 1e-12*size // patterns with the same sum must count in spite of rounding
	count := 0
	if p.Exact {
		patterns := 1 << (p.N - 1) // the other half mirrors these
		for bits := range patterns {
			if math.Abs(flipped(d, func() uint64 { return uint64(bits) })) >= far {
				count++
			}
		}
		p.P, p.MinP = float64(count)/float64(patterns), 1/float64(patterns)
		return p
	}
	for i := range draws {
		if math.Abs(flipped(d, random.New(seed, "sign flips", i).Uint64)) >= far {
			count++
		}
	}
	p.P, p.MinP = float64(count+1)/float64(draws+1), 1/float64(draws+1)
	return p
}

// flipped sums d with the signs that word gives, 64 at a time from the lowest bit; a set bit flips.
func flipped(d []float64, word func() uint64) (sum float64) {
	bits := uint64(0)
	for i, v := range d {
		if i%64 == 0 {
			bits = word()
		}
		sum += math.Float64frombits(math.Float64bits(v) ^ bits<<63)
		bits >>= 1
	}
	return sum
}

// Crossed compares two variants on predictions of several seeds on the same examples. Each part answers
// a question of its own, and P both.
type Crossed struct {
	Delta    float64     // accuracy of a − accuracy of b
	Seeds    Permutation // would other seeds say so, on these examples? Under six never below .05
	Examples Permutation // would other examples say so, of these trained models?
}

// P returns the larger of both: that the difference holds for other seeds and for other examples errs with at
// most that probability (intersection–union test, Berger 1982).
func (c Crossed) P() float64 { return max(c.Seeds.P, c.Examples.P) }

// MinP returns the least that P can be.
func (c Crossed) MinP() float64 { return max(c.Seeds.MinP, c.Examples.MinP) }

// Permute tests two variants by swapping them: whole seeds, since all predictions of a model share its
// luck, and whole examples, since all models share an example's difficulty. Swapping single predictions
// would take both for independent evidence. a and b are right or wrong as [seed][example], the same seeds
// and examples in the same order. No seeds, no
// examples, or shapes that differ yield fault.Invalid.
func Permute(a, b [][]bool, seed uint64) (Crossed, error) {
	return permute(a, b, seed, resamples)
}

func permute(a, b [][]bool, seed uint64, draws int) (Crossed, error) {
	if len(a) == 0 || len(a) != len(b) || len(a[0]) == 0 {
		return Crossed{}, fault.New(fault.Invalid, "permute: %d seeds paired with %d, neither may be empty", len(a), len(b)).
			WithHint("give both variants' predictions for the same seeds")
	}
	seeds, examples, sum := make([]float64, len(a)), make([]float64, len(a[0])), 0.0
	for s := range a {
		if len(a[s]) != len(examples) || len(b[s]) != len(examples) {
			return Crossed{}, fault.New(fault.Invalid, "permute: seed %d has %d and %d predictions, want %d", s, len(a[s]), len(b[s]), len(examples)).
				WithHint("give every seed's predictions on the same examples")
		}
		for e := range examples {
			d := 0.0
			switch {
			case a[s][e] && !b[s][e]:
				d = 1
			case b[s][e] && !a[s][e]:
				d = -1
			}
			seeds[s], examples[e], sum = seeds[s]+d, examples[e]+d, sum+d
		}
	}
	return Crossed{
		Delta:    sum / float64(len(seeds)*len(examples)),
		Seeds:    signFlip(seeds, seed, draws),
		Examples: signFlip(examples, seed, draws),
	}, nil
}
