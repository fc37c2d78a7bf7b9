package stat

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"tandem/core/results/metric"
)

// Simulated experiments of known truth: what is called significant at 5 % must be so in 5 % ± 2 % where
// there is no effect, intervals must cover at their level ± 2 %, and known effects must be found. With
// TANDEM_LONG=1 there are more experiments and full resampling.

func long() bool { return os.Getenv("TANDEM_LONG") != "" }

// experiments returns 1,000 experiments with 999 resamples each; with TANDEM_LONG=1, 5,000 and 3,999.
func experiments() (n, draws int) {
	if long() {
		return 5000, 3999
	}
	return 1000, 999
}

// share of n experiments in which something holds; each has numbers of its own.
func share(n int, holds func(r *rand.Rand) bool) float64 {
	count := 0
	for i := range n {
		if holds(rand.New(rand.NewPCG(uint64(i), 1908))) {
			count++
		}
	}
	return float64(count) / float64(n)
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s: %.1f %%, want %.0f %% ± %.0f %%", what, 100*got, 100*want, 100*tolerance)
	}
}

func normal(r *rand.Rand, n int, mean float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = mean + r.NormFloat64()
	}
	return v
}

func TestIntervalsCoverAtTheirLevel(t *testing.T) {
	count, draws := experiments()
	shapes := map[string]func(r *rand.Rand) float64{
		"normal": (*rand.Rand).NormFloat64,
		// Student's t with 5 degrees of freedom: now and then a wild seed.
		"heavy tails": func(r *rand.Rand) float64 {
			chi := 0.0
			for range 5 {
				chi += square(r.NormFloat64())
			}
			return r.NormFloat64() / math.Sqrt(chi/5)
		},
		// Accuracies over few pictures: the spread between seeds is four steps.
		"coarse": func(r *rand.Rand) float64 { return math.Round(4*r.NormFloat64()) / 100 },
	}
	for name, shape := range shapes {
		for n := 3; n <= 10; n++ {
			covered := share(count, func(r *rand.Rand) bool {
				values := make([]float64, n)
				for i := range values {
					values[i] = shape(r)
				}
				i := meanInterval(values, 0.95, r.Uint64(), draws)
				return i.Method == NoMethod || i.Contains(0) // without an interval nothing false is said
			})
			within(t, name+" coverage", covered, 0.95, 0.02)
		}
	}
	within(t, "90 % over 8", share(count, func(r *rand.Rand) bool {
		return meanInterval(normal(r, 8, 0), 0.90, r.Uint64(), draws).Contains(0)
	}), 0.90, 0.02)
}

// seedsOf gives a variant and its baseline per seed; both share what the seed brings.
func seedsOf(r *rand.Rand, n int, effect float64) (variant, baseline BySeed) {
	variant, baseline = BySeed{}, BySeed{}
	for s := range uint64(n) {
		shared := 2 * r.NormFloat64()
		variant[s], baseline[s] = 50+effect+shared+r.NormFloat64(), 50+shared+r.NormFloat64()
	}
	return variant, baseline
}

func TestComparisonsOfEqualVariantsAreRarelySignificant(t *testing.T) {
	count, _ := experiments()
	for _, n := range []int{3, 5, 10} {
		within(t, "paired t", share(4*count, func(r *rand.Rand) bool {
			a, b := seedsOf(r, n, 0)
			return compare(differences(a, b), 0, 0.95, 0, 9).P < 0.05
		}), 0.05, 0.02)
	}
	within(t, "noise", share(4*count, func(r *rand.Rand) bool {
		return NoiseOf(normal(r, 3, 9), normal(r, 3, 9)).P < 0.05
	}), 0.05, 0.02)
}

func differences(a, b BySeed) []float64 {
	va, vb := a.Values(), b.Values()
	for i := range va {
		va[i] -= vb[i]
	}
	return va
}

// predictions draws right and wrong as [seed][example]: an example's difficulty is common to all models and
// luck to all predictions of one model.
func predictions(r *rand.Rand, seeds, examples int, luck, effect float64) (a, b [][]bool) {
	difficulty := normal(r, examples, 0)
	model := func(effect float64) []bool {
		shift, right := effect+luck*r.NormFloat64(), make([]bool, examples)
		for e := range right {
			right[e] = difficulty[e]+shift+r.NormFloat64() > 0
		}
		return right
	}
	for range seeds {
		a, b = append(a, model(effect)), append(b, model(0))
	}
	return a, b
}

func TestPredictionsOfEqualVariantsAreRarelySignificant(t *testing.T) {
	count, draws := experiments()
	var exact, mid, sampled float64
	share(count, func(r *rand.Rand) bool {
		a, b := predictions(r, 1, 400, 0, 0)
		d := McNemar(a[0], b[0])
		exact += less(d.Exact) / float64(count)
		mid += less(d.MidP) / float64(count)
		_, examples := units(t, a, b, draws)
		sampled += less(examples.P) / float64(count)
		return false
	})
	within(t, "McNemar exact", exact, 0.05, 0.02)
	within(t, "McNemar mid-p", mid, 0.05, 0.02)
	within(t, "examples of one seed", sampled, 0.05, 0.02)
	var bySeed, byExample float64
	share(count, func(r *rand.Rand) bool {
		a, b := predictions(r, 8, 50, 0.3, 0)
		seeds, examples := units(t, a, b, 99)
		bySeed += less(seeds.P) / float64(count)
		byExample += less(examples.P) / float64(count)
		return false
	})
	within(t, "seeds under luck", bySeed, 0.05, 0.02)
	if byExample < 0.15 {
		t.Errorf("examples alone take the luck of models for an effect in only %.0f %%: then Permute need not ask seeds too", 100*byExample)
	}
}

func units(t *testing.T, a, b [][]bool, draws int) (seeds, examples Permutation) {
	t.Helper()
	c, err := permute(a, b, 7, draws)
	if err != nil {
		t.Fatal(err)
	}
	return c.Seeds, c.Examples
}

func less(p float64) float64 {
	if p < 0.05 {
		return 1
	}
	return 0
}

func TestFactorsWithoutEffectAreRarelySignificant(t *testing.T) {
	count, _ := experiments()
	for _, shape := range [][]int{{3}, {2, 3}} {
		var significant [3]float64
		share(2*count, func(r *rand.Rand) bool {
			a := simulatedGrid(t, r, shape, 3, nil)
			for i, term := range a.Terms {
				significant[i] += less(term.P) / float64(2*count)
			}
			return false
		})
		for i := range 1<<len(shape) - 1 {
			within(t, "term", significant[i], 0.05, 0.02)
		}
	}
}

// simulatedGrid has noise of 1, seeds that shift all cells, and an effect by cell.
func simulatedGrid(t *testing.T, r *rand.Rand, shape []int, seeds int, effect []float64) Anova {
	t.Helper()
	shift := normal(r, seeds, 0)
	factors, observations := design(shape, seeds, func(cell, seed int) float64 {
		y := 2*shift[seed] + r.NormFloat64()
		if effect != nil {
			y += effect[cell]
		}
		return y
	})
	a, err := AnalyseVariance(factors, observations)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestATableOfEqualVariantsRarelyHasAVerdict(t *testing.T) {
	count, draws := experiments()
	any := share(count, func(r *rand.Rand) bool {
		var table []Comparison
		for range 6 {
			table = append(table, compare(normal(r, 5, 0), 0, 0.95, 0, draws))
		}
		for _, j := range judge(metric.Up, table...) {
			if j.Verdict == Better || j.Verdict == Worse {
				return true
			}
		}
		return false
	})
	within(t, "tables with any verdict", any, 0.05, 0.02)
}

func TestKnownEffectsAreFound(t *testing.T) {
	count, draws := experiments()
	for _, c := range []struct {
		what  string
		power float64 // least share of experiments that must find the effect
		found func(r *rand.Rand) bool
	}{
		// The differences have a standard deviation of √2, and the effect is 2.8 of that, 2 or 1.4.
		{"4 points over 3 seeds", 0.67, verdictIs(Better, 3, 4, 9)},
		{"2.83 points over 5 seeds", 0.85, verdictIs(Better, 5, 2.83, 9)},
		{"2 points less over 8 seeds, by the t test", 0.90, func(r *rand.Rand) bool {
			a, b := seedsOf(r, 8, -2)
			return compare(differences(a, b), 0, 0.95, 0, 9).P < 0.05
		}},
		// That the interval must exclude 0 as well costs a tenth.
		{"2 points less over 8 seeds", 0.75, verdictIs(Worse, 8, -2, draws)},
		{"McNemar, 8 points of 400", 0.75, func(r *rand.Rand) bool {
			a, b := predictions(r, 1, 400, 0, 0.35)
			return McNemar(a[0], b[0]).MidP < 0.05
		}},
		{"permutation, 8 seeds × 200", 0.85, func(r *rand.Rand) bool {
			a, b := predictions(r, 8, 200, 0.15, 0.35)
			c, err := permute(a, b, 1, 99)
			return err == nil && c.P() < 0.05 && c.Delta > 0
		}},
		{"interaction alone", 0.85, func(r *rand.Rand) bool {
			a := simulatedGrid(t, r, []int{2, 2}, 5, []float64{1, -1, -1, 1})
			return a.Terms[2].P < 0.05
		}},
		{"first factor", 0.85, func(r *rand.Rand) bool {
			a := simulatedGrid(t, r, []int{2, 3}, 3, []float64{0, 0, 0, 1.8, 1.8, 1.8})
			return a.Terms[0].P < 0.05
		}},
	} {
		if got := share(count, c.found); got < c.power {
			t.Errorf("%s: found in %.1f %%, want %.0f %% at least", c.what, 100*got, 100*c.power)
		}
	}
}

func verdictIs(want Verdict, seeds int, effect float64, draws int) func(r *rand.Rand) bool {
	return func(r *rand.Rand) bool {
		a, b := seedsOf(r, seeds, effect)
		c := compare(differences(a, b), 0, 0.95, 0, draws)
		return judge(metric.Up, c)[0].Verdict == want
	}
}

func TestTheNoiseFloorHoldsForNewSeeds(t *testing.T) {
	count, _ := experiments()
	within(t, "under the floor", share(4*count, func(r *rand.Rand) bool {
		floor := NoiseOf(normal(r, 3, 9), normal(r, 3, 9)).Floor(5, 5, 0.95)
		return math.Abs(Summarize(normal(r, 5, 9)).Mean-Summarize(normal(r, 5, 9)).Mean) <= floor
	}), 0.95, 0.02)
}
