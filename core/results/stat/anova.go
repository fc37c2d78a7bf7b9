package stat

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"tandem/core/results"
)

// Observation holds the metric of one run, with the run's seed and its level of each factor, as an index into Factor.Levels.
type Observation struct {
	Levels []int
	Seed   uint64
	Value  float64
}

// Term describes the part of the variation that one factor, or one interaction of several, explains.
type Term struct {
	Factors      []string // one name, or those that interact
	SumSquares   float64
	DF           int
	F, P         float64 // NaN where nothing is left to hold the term against (Residual without spread)
	EtaSquared   float64 // share of the whole variation, in [0, 1]; NaN when there is none
	PartialEtaSq float64 // share of what this term and the residual vary by; NaN when they do not
}

// Name joins the factors: "pool × width".
func (t Term) Name() string { return strings.Join(t.Factors, " × ") }

// Anova holds the result of an analysis of variance.
type Anova struct {
	Terms      []Term // single factors in the order given, then their interactions, pairs first
	Seed       Term   // what seeds have in common across all cells; F and P are not computed
	Residual   Term   // only SumSquares and DF
	SumSquares float64
	DF         int
}

// AnalyseVariance analyses the variance of a full factorial design with fixed factors, all
// interactions, and seeds as random blocks: each cell (a combination of levels) ran once with each of
// the same seeds. With one factor it is the one-way analysis, with two
//
//	y = μ + α + β + αβ + seed + ε
//
// and a term's F is MS(term)/MS(residual) on its degrees of freedom and (cells−1)(seeds−1)
// (Montgomery 2017, §4.1 and §5.6; Fisher 1935). η² is SS(term)/SS(total), partial η²
// SS(term)/(SS(term)+SS(residual)) (Cohen 1973).
//
// P of a term is about the average over the levels of all other factors: where an interaction is
// large that average may describe no cell. One seed leaves no residual: F and P are then NaN.
//
// A cell that lacks a seed, a seed twice, a level that does not exist, a factor with one level or more
// than eight factors yield fault.Invalid, and a value that is not finite fault.Numeric.
func AnalyseVariance(factors []results.Factor, observations []Observation) (Anova, error) {
	g, err := newGrid(factors, observations)
	if err != nil {
		return Anova{}, err
	}
	cells, seeds := len(g.mean), len(g.seedMean)
	a := Anova{DF: cells*seeds - 1}
	a.Residual.DF, a.Seed.DF, a.Seed.Factors = (cells-1)*(seeds-1), seeds-1, []string{"seed"}
	largest := 0.0
	for c := range cells {
		for s := range seeds {
			y := g.value[c*seeds+s]
			a.SumSquares += square(y - g.grand)
			a.Residual.SumSquares += square(y - g.mean[c] - g.seedMean[s] + g.grand)
			largest = max(largest, math.Abs(y))
		}
	}
	for _, m := range g.seedMean {
		a.Seed.SumSquares += float64(cells) * square(m-g.grand)
	}
	// What rounding leaves of equal values is no variation.
	nothing := square(1e-12*largest) * float64(cells*seeds)
	for _, sum := range []*float64{&a.SumSquares, &a.Residual.SumSquares, &a.Seed.SumSquares} {
		if *sum <= nothing {
			*sum = 0
		}
	}
	margins := g.margins()
	for _, mask := range termOrder(len(factors)) {
		t := Term{DF: 1}
		for i, f := range factors {
			if mask>>i&1 == 1 {
				t.Factors, t.DF = append(t.Factors, f.Name), t.DF*(len(f.Levels)-1)
			}
		}
		for c := range cells {
			t.SumSquares += float64(seeds) * square(effect(margins, mask, c))
		}
		if t.SumSquares <= nothing {
			t.SumSquares = 0
		}
		a.Terms = append(a.Terms, a.withTest(t))
	}
	a.Seed.EtaSquared, a.Seed.F, a.Seed.P, a.Seed.PartialEtaSq = a.Seed.SumSquares/a.SumSquares, math.NaN(), math.NaN(), math.NaN()
	return a, nil
}

// withTest returns t with its F, P and effect sizes.
func (a Anova) withTest(t Term) Term {
	r := a.Residual
	t.F, t.P = math.NaN(), math.NaN()
	if r.DF > 0 && r.SumSquares > 0 {
		t.F = t.SumSquares / float64(t.DF) / (r.SumSquares / float64(r.DF))
		t.P = tailF(t.F, float64(t.DF), float64(r.DF))
	}
	t.EtaSquared, t.PartialEtaSq = t.SumSquares/a.SumSquares, t.SumSquares/(t.SumSquares+r.SumSquares)
	return t
}

// effect of the interaction of the factors in mask on a cell: the alternating sum of the margins over
// all subsets of them.
func effect(margins [][]float64, mask, cell int) (sum float64) {
	for sub := mask; ; sub = (sub - 1) & mask {
		if bits.OnesCount(uint(mask^sub))%2 == 0 {
			sum += margins[sub][cell]
		} else {
			sum -= margins[sub][cell]
		}
		if sub == 0 {
			return sum
		}
	}
}

// termOrder lists the non-empty sets of n factors as bit masks: by size, then by the first factor's place.
func termOrder(n int) (masks []int) {
	for m := 1; m < 1<<n; m++ {
		masks = append(masks, m)
	}
	key := func(m int) int { return bits.OnesCount(uint(m))<<n - int(bits.Reverse64(uint64(m))>>(64-n)) }
	slices.SortFunc(masks, func(a, b int) int { return key(a) - key(b) })
	return masks
}

func square(v float64) float64 { return v * v }
