package stat

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tandem/core/fault"
	"tandem/core/results"
)

func TestSummarize(t *testing.T) {
	s := Summarize([]float64{2, 4, 4, 4, 5, 5, 7, 9})
	if s.N != 8 || s.Min != 2 || s.Max != 9 {
		t.Errorf("summary %+v", s)
	}
	near(t, "mean", s.Mean, 5)
	near(t, "std", s.Std, math.Sqrt(32.0/7))
	if one := Summarize([]float64{3}); one.Mean != 3 || !math.IsNaN(one.Std) {
		t.Errorf("summary of one value %+v", one)
	}
	if none := Summarize(nil); none.N != 0 || !math.IsNaN(none.Mean) {
		t.Errorf("summary of nothing %+v", none)
	}
}

// Student's sleep data (1908), the textbook paired t test: R's t.test(paired = TRUE) gives p = 0.00283289.
func TestCompareOnStudentsSleepData(t *testing.T) {
	b := []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}
	a := []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
	c := Compare(bySeed(a), bySeed(b), 0.95, 1)
	near(t, "delta", c.Delta, 1.58)
	if math.Abs(c.P-0.00283289) > 1e-8 {
		t.Errorf("p = %v", c.P)
	}
	// One drug kept one patient awake far longer: the bootstrap sees the skew, Student's 0.70 … 2.46 does not.
	if i := c.Interval; i.Method != StudentisedBootstrap || i.Low < 0.7 || i.High < 2.6 {
		t.Errorf("interval %+v, want it to reach further up than Student's", i)
	}
}

func TestComparePairsBySeed(t *testing.T) {
	variant := BySeed{1: 5, 2: 7, 3: math.NaN(), 4: 9, 9: 1}
	baseline := BySeed{4: 6, 2: 5, 1: 4, 3: 2, 8: 1, 7: math.Inf(1)}
	got := Compare(variant, baseline, 0.95, 0)
	want := Compare(BySeed{1: 5, 2: 7, 4: 9}, BySeed{1: 4, 2: 5, 4: 6}, 0.95, 0)
	if got.Unpaired != 4 { // 3 diverged, 9 has no baseline, 8 and 7 no variant
		t.Errorf("%d unpaired, want 4", got.Unpaired)
	}
	got.Unpaired = 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.N != 3 || got.Delta != 2 {
		t.Errorf("comparison %+v", got)
	}
}

func TestFewOrEqualDifferencesClaimNoCertainty(t *testing.T) {
	none := Compare(BySeed{}, BySeed{1: 1}, 0.95, 0)
	one := Compare(BySeed{1: 2}, BySeed{1: 1}, 0.95, 0)
	for _, c := range []Comparison{none, one} {
		if c.Test != NoTest || !math.IsNaN(c.P) || c.Interval.Method != NoMethod || !math.IsNaN(c.Interval.Low) {
			t.Errorf("with %d seeds %+v", c.N, c)
		}
	}
	// 0.3−0.1 and 0.4−0.2 differ by rounding only, so the t test would be sure of nothing.
	equal := Compare(BySeed{1: .3, 2: .4, 3: .5}, BySeed{1: .1, 2: .2, 3: .3}, 0.95, 0)
	if equal.Test != SignFlips || equal.P != 0.25 || equal.Interval.Method != NoMethod {
		t.Errorf("equal differences: %+v", equal)
	}
	tenth := 0.1
	same := Compare(BySeed{1: .3, 2: .4}, BySeed{1: tenth + .2, 2: .4}, 0.95, 0) // 0.1+0.2 is not 0.3
	if same.P != 1 || same.Delta != 0 {
		t.Errorf("no differences: %+v", same)
	}
}

func TestTheBootstrapIsAFunctionOfItsSeed(t *testing.T) {
	values := normal(rand.New(rand.NewPCG(2, 2)), 8, 0)
	first, again, other := MeanInterval(values, 0.95, 7), MeanInterval(values, 0.95, 7), MeanInterval(values, 0.95, 8)
	if first != again || first == other {
		t.Errorf("seed 7 gives %v and %v, seed 8 %v", first, again, other)
	}
	if math.Abs(first.Low-other.Low) > 0.1 || math.Abs(first.High-other.High) > 0.1 {
		t.Errorf("seeds 7 and 8 are far apart: %v and %v", first, other)
	}
}

// All but one value equal: so many resamples have no spread that the bootstrap has no end.
func TestAnEndlessBootstrapFallsBackOnStudent(t *testing.T) {
	values := []float64{1, 1, 1, 1, 1, 2}
	if t0 := slices.Min(studentised(values, Summarize(values).Mean, 0, 99)); !math.IsInf(t0, -1) {
		t.Errorf("resamples of the lowest value alone give %v, want -Inf", t0)
	}
	i := MeanInterval(values, 0.95, 0)
	if i.Method != StudentT || math.IsInf(i.Low, 0) || math.IsInf(i.High, 0) {
		t.Errorf("interval %+v", i)
	}
}

func TestMcNemarCountsDisagreements(t *testing.T) {
	a := []bool{true, true, true, false, false, true}
	b := []bool{false, true, false, true, false, false}
	d := McNemar(a, b)
	if d.OnlyA != 3 || d.OnlyB != 1 {
		t.Errorf("%+v, want 3 and 1", d)
	}
	near(t, "exact", d.Exact, 2*(1+4)/16.0)
	near(t, "mid-p", d.MidP, 2*(1+4)/16.0-4/16.0)
	if none := mcnemarOf(0, 0); none.Exact != 1 || none.MidP != 1 {
		t.Errorf("without disagreement %+v", none)
	}
}

func TestHolmLeavesOutTestsThatWereNotMade(t *testing.T) {
	got := Holm([]float64{0.03, math.NaN(), 0.01, 0.9})
	if diff := cmp.Diff([]float64{0.06, math.NaN(), 0.03, 0.9}, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
}

func TestPermuteSwapsWholeSeedsAndWholeExamples(t *testing.T) {
	a := [][]bool{{true, true, false, true}, {true, true, true, false}}
	b := [][]bool{{false, true, false, false}, {false, false, true, true}}
	c, err := Permute(a, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "delta", c.Delta, 3.0/8)
	// By seed the sums are 2 and 1: only both signs alike reach 3. By example 2, 1, 0 and 0.
	if c.Seeds.P != 0.5 || c.Examples.P != 0.5 || c.Seeds.N != 2 || c.Examples.N != 2 || c.MinP() != 0.5 {
		t.Errorf("%+v", c)
	}
	for _, bad := range [][2][][]bool{{nil, nil}, {a, b[:1]}, {a, {b[0], b[1][:3]}}, {{{}}, {{}}}} {
		var f *fault.Error
		if _, err := Permute(bad[0], bad[1], 0); !errors.As(err, &f) || f.Kind != fault.Invalid || f.Hint == "" {
			t.Errorf("shapes that differ: %v", err)
		}
	}
}

func TestFiveSeedsCannotConvinceSignFlips(t *testing.T) {
	five, six := signFlip([]float64{1, 2, 3, 4, 5}, 0, resamples), signFlip([]float64{1, 2, 3, 4, 5, 6}, 0, resamples)
	if five.P != 1.0/16 || five.MinP != five.P || six.P != 1.0/32 {
		t.Errorf("p = %v and %v", five.P, six.P)
	}
}

func TestAnUnbalancedGridIsRefusedByName(t *testing.T) {
	factors, full := design([]int{2, 3}, 2, func(cell, seed int) float64 { return float64(cell * seed) })
	factors[0].Name, factors[1].Name = "pool", "width"
	with := func(o Observation) []Observation {
		return append(slices.Clone(full), o)
	}
	nan := slices.Clone(full)
	nan[3].Value = math.NaN()
	for want, c := range map[string]struct {
		factors      []results.Factor
		observations []Observation
	}{
		"anova: unbalanced: pool=1 × width=2 lacks seed 1":     {factors, full[:11]},
		"anova: unbalanced: pool=0 × width=0 lacks seed 7":     {factors, with(Observation{[]int{0, 1}, 7, 1})},
		"anova: pool=0 × width=1 has seed 0 twice":             {factors, with(Observation{[]int{0, 1}, 0, 1})},
		"anova: pool=0 × width=1 has NaN for seed 1":           {factors, nan},
		"anova: factor width has no level 3, only 0 to 2":      {factors, with(Observation{[]int{0, 3}, 0, 1})},
		"anova: an observation of seed 0 has 1 levels, want 2": {factors, with(Observation{[]int{0}, 0, 1})},
		"anova: factor width has 1 level, want 2 at least":     {[]results.Factor{factors[0], {Name: "width", Levels: []string{"64"}}}, full},
		"anova: 0 factors, want 1 to 8":                        {nil, full},
		"anova: no observations":                               {factors, nil},
		"anova: 9 factors, want 1 to 8":                        {make([]results.Factor, 9), full},
	} {
		_, err := AnalyseVariance(c.factors, c.observations)
		var f *fault.Error
		if !errors.As(err, &f) || f.Msg != want || f.Hint == "" {
			t.Errorf("%v, want %s and a hint", err, want)
		}
	}
}

func TestVarianceWithoutResidualHasNoTest(t *testing.T) {
	factors, oneSeed := design([]int{2, 2}, 1, func(cell, _ int) float64 { return []float64{1, 2, 3, 8}[cell] })
	a, err := AnalyseVariance(factors, oneSeed)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, term := range a.Terms {
		sum += term.EtaSquared
		if !math.IsNaN(term.P) || !math.IsNaN(term.F) {
			t.Errorf("%s has p = %v with one seed", term.Name(), term.P)
		}
	}
	near(t, "all of η²", sum, 1)
	// Equal values in every cell leave only rounding, which must not pass for variation.
	for _, v := range []float64{0.1, 0.3, 0.7, 53.3, 1e9 / 3} {
		factors, equal := design([]int{3}, 7, func(int, int) float64 { return v })
		a, err := AnalyseVariance(factors, equal)
		if err != nil || !math.IsNaN(a.Terms[0].P) || !math.IsNaN(a.Terms[0].EtaSquared) || a.SumSquares != 0 {
			t.Errorf("equal values %v: %+v, %v", v, a, err)
		}
	}
}

func TestTermsAreInTheOrderOfFactors(t *testing.T) {
	factors, observations := design([]int{2, 2, 2}, 2, func(cell, seed int) float64 { return float64(cell ^ seed) })
	a, err := AnalyseVariance(factors, observations)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, term := range a.Terms {
		names = append(names, term.Name())
	}
	if got := strings.Join(names, ", "); got != "a, b, c, a × b, a × c, b × c, a × b × c" {
		t.Error(got)
	}
}

func TestTheNoiseFloorNeedsThreeSeeds(t *testing.T) {
	n := NoiseOf([]float64{1}, []float64{2})
	if n.Delta != 1 || !math.IsNaN(n.Floor(3, 3, 0.95)) || !math.IsNaN(n.P) {
		t.Errorf("%+v", n)
	}
	n = NoiseOf([]float64{1, 3}, []float64{2, 4})
	near(t, "std", n.Std, math.Sqrt2)
	near(t, "floor", n.Floor(1, 1, 0.95), 2*4.302652729696142) // t with 2 degrees of freedom
	if three := n.Floor(3, 3, 0.95); three >= n.Floor(2, 2, 0.95) {
		t.Errorf("floor of three seeds %v", three)
	}
}

func TestSelectionFindsWhatSortingWould(t *testing.T) {
	stream := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 60; n++ {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(stream.IntN(1 + n/2)) // many are equal
			if stream.IntN(10) == 0 {
				values[i] = math.Inf(1 - 2*stream.IntN(2))
			}
		}
		sorted := slices.Sorted(slices.Values(values))
		for k := range sorted {
			if got := selectSmallest(values, k); got != sorted[k] {
				t.Fatalf("%d of %v is %v, want %v", k, sorted, got, sorted[k])
			}
		}
	}
}
