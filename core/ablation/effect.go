package ablation

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/metric/stat"
)

// Effects is what each factor does to the deciding metric.
type Effects struct {
	Terms []Effect
	// Crossed tells that the terms are of one analysis of all factors, with their interactions; else each factor is
	// analysed beside the baseline's levels of the others, and interactions are not seen.
	Crossed bool
	Why     string // where there are no terms though there are factors, the reason; or what was left out
}

// Effect is a term of an analysis of variance.
type Effect struct {
	stat.Term
	Residual stat.Term // only SumSquares and DF
	Levels   int       // combinations of levels that were compared
	Seeds    int       // that all of these have
	P        float64   // after Holm over the terms; Term.P is before
	Verdict  EffectVerdict
}

// EffectVerdict is what a term shows, in the words of a report.
type EffectVerdict string

// The verdicts. None says that a factor does nothing: no test can show that.
const (
	HasEffect     EffectVerdict = "effect"
	NoEffectShown EffectVerdict = "no effect shown"
	NoEffectTest  EffectVerdict = EffectVerdict(stat.NotEnough)
)

// effects analyses the variance: of the whole grid where every combination of levels has cells, else of each factor on
// its own around the baseline.
func (a *analysis) effects() {
	var factors []stat.Factor
	drawn := false
	for _, f := range a.e.Factors {
		drawn = drawn || len(f.Levels) == 0
		if len(f.Levels) > 1 {
			factors = append(factors, f)
		}
	}
	switch {
	case len(a.e.Factors) == 0:
		return
	case drawn || a.Design == "random":
		a.Effects.Why = "the levels are drawn, so no two cells differ in one factor alone"
		return
	}
	all := a.levelCells(factors, func(map[string]string) bool { return true })
	if len(all) == 0 {
		a.Effects.Why = "no cell is finished"
		return
	}
	if combinations(factors) == len(all) && len(factors) > 1 {
		a.Effects.Crossed = true
		a.term(factors, all)
	} else if a.HasBaseline {
		if len(factors) > 1 && a.Design == "grid" {
			a.Effects.Why = "the grid is not whole, so that interactions are not seen; each factor is analysed beside the baseline's levels of the others"
		}
		base := a.cells[a.Baseline][0].Levels
		for _, f := range factors {
			beside := a.levelCells([]stat.Factor{f}, func(levels map[string]string) bool {
				for _, other := range a.e.Factors {
					if other.Name != f.Name && levels[other.Name] != base[other.Name] {
						return false
					}
				}
				return true
			})
			f.Levels = slices.DeleteFunc(slices.Clone(f.Levels), func(l string) bool {
				if beside[l] == nil {
					a.why(fmt.Sprintf("%s=%s is left out: it has no finished seeds", f.Name, l))
				}
				return beside[l] == nil
			})
			if len(f.Levels) > 1 {
				a.term([]stat.Factor{f}, beside)
			}
		}
	}
	a.judgeEffects()
	if len(a.Effects.Terms) == 0 && a.Effects.Why == "" {
		a.Effects.Why = "no two finished cells differ in one factor alone"
	}
}

// levelCells are the values of the deciding metric, by combination of the factors' levels and by seed, of the variants that
// keep chooses. Combinations without any value are left out.
func (a *analysis) levelCells(factors []stat.Factor, keep func(levels map[string]string) bool) map[string]map[int64]float64 {
	cells := map[string]map[int64]float64{}
	for _, r := range a.Rows {
		if r.Role == IsRepeat || len(r.Levels) < len(a.e.Factors) || !keep(r.Levels) {
			continue
		}
		if values := r.Columns[0].Values; len(values) > 0 {
			cells[combination(factors, r.Levels)] = values
		}
	}
	return cells
}

const between = "\x00"

func combination(factors []stat.Factor, levels map[string]string) string {
	parts := make([]string, len(factors))
	for i, f := range factors {
		parts[i] = levels[f.Name]
	}
	return strings.Join(parts, between)
}

func combinations(factors []stat.Factor) int {
	n := 1
	for _, f := range factors {
		n *= len(f.Levels)
		if n > 1<<20 {
			return n
		}
	}
	return n
}

// term analyses these factors over the seeds that all their cells have, and appends the terms.
func (a *analysis) term(factors []stat.Factor, cells map[string]map[int64]float64) {
	var observations []stat.Observation
	seeds := a.common(cells)
	for _, key := range slices.Sorted(maps.Keys(cells)) {
		at := make([]int, len(factors))
		for i, level := range strings.Split(key, between) {
			at[i] = slices.Index(factors[i].Levels, level)
		}
		for _, seed := range seeds {
			observations = append(observations, stat.Observation{Levels: at, Seed: uint64(seed), Value: cells[key][seed]})
		}
	}
	switch left := len(a.Seeds) - len(seeds); {
	case left > 0 && len(seeds) > 0:
		a.why(fmt.Sprintf("%s: over the %d of %d seeds that are finished in all cells", names(factors), len(seeds), len(a.Seeds)))
	case len(seeds) == 0:
		a.why("no seed is finished in all cells of " + names(factors))
		return
	}
	anova, err := stat.AnalyseVariance(factors, observations)
	if err != nil {
		a.why(message(err))
		return
	}
	for _, t := range anova.Terms {
		a.Effects.Terms = append(a.Effects.Terms, Effect{Term: t, Residual: anova.Residual, Levels: len(cells), Seeds: len(seeds)})
	}
}

func (a *analysis) why(reason string) {
	if a.Effects.Why != "" {
		a.Effects.Why += "; "
	}
	a.Effects.Why += reason
}

// common are the seeds that all cells have.
func (a *analysis) common(cells map[string]map[int64]float64) (seeds []int64) {
	for _, seed := range a.Seeds {
		everywhere := true
		for _, values := range cells {
			_, has := values[seed]
			everywhere = everywhere && has
		}
		if everywhere {
			seeds = append(seeds, seed)
		}
	}
	return seeds
}

func names(factors []stat.Factor) string {
	all := make([]string, len(factors))
	for i, f := range factors {
		all[i] = f.Name
	}
	return strings.Join(all, " × ")
}

func message(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Msg
	}
	return err.Error()
}

// judgeEffects corrects the terms' p-values over all of them; those over fewer than stat.MinSeeds seeds are no tests.
func (a *analysis) judgeEffects() {
	p := make([]float64, len(a.Effects.Terms))
	for i, t := range a.Effects.Terms {
		if p[i] = t.Term.P; t.Seeds < stat.MinSeeds {
			p[i] = math.NaN()
		}
	}
	for i, adjusted := range stat.Holm(p) {
		t := &a.Effects.Terms[i]
		t.P = adjusted
		switch {
		case t.Seeds < stat.MinSeeds:
			t.Verdict = NoEffectTest
		case adjusted <= a.Alpha:
			t.Verdict = HasEffect
		default:
			t.Verdict = NoEffectShown
		}
	}
}
