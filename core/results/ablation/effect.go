package ablation

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/stat"
)

// Effects says what each factor does to the deciding metric.
type Effects struct {
	Terms []Effect
	// Crossed tells that the terms are of one analysis of all factors, with their interactions, and are tested beside the
	// rows. Else a factor has an effect where a row that differs from the baseline in it alone is called different: what is
	// tested once has one verdict. F then describes, and interactions are not seen.
	Crossed bool
	Why     string // where there are no terms though there are factors, the reason; or what was left out
}

// Effect holds a term of an analysis of variance and its verdict.
type Effect struct {
	stat.Term
	Residual stat.Term // only SumSquares and DF
	Levels   int       // combinations of levels that were compared, each set of runs once
	Seeds    int       // that all of these have
	Rows     []string  // whose verdicts this one's is; nil where Crossed
	P        float64   // after Holm over the table; of Rows, the least of theirs. Term.P is before
	Verdict  EffectVerdict
}

// EffectVerdict says what a term shows, in the words of a report.
type EffectVerdict string

// The verdicts. None says that a factor does nothing: no test can show that.
const (
	HasEffect        EffectVerdict = "effect"
	NoEffectShown    EffectVerdict = "no effect shown"
	NoEffectTest     EffectVerdict = EffectVerdict(stat.NotEnough)
	EffectLost       EffectVerdict = EffectVerdict(stat.Lost)
	EffectUnfinished EffectVerdict = EffectVerdict(stat.Unfinished)
)

// judge gives the verdict of a term that is tested itself.
func (e *Effect) judge(p, alpha float64) {
	switch e.P = p; {
	case math.IsNaN(p):
		e.Verdict = NoEffectTest
	case p <= alpha:
		e.Verdict = HasEffect
	default:
		e.Verdict = NoEffectShown
	}
}

// effects analyses the variance: of the whole grid where every combination of levels has all its seeds and runs of its own,
// else of each factor on its own around the baseline.
func (a *analysis) effects() {
	var factors []results.Factor
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
	case a.e.Search != nil:
		a.Effects.Why = "a search chose the levels by the results, so no two points differ in one factor alone"
		return
	case drawn || a.Design == "random":
		a.Effects.Why = "the levels are drawn, so no two cells differ in one factor alone"
		return
	case !slices.ContainsFunc(a.Rows, func(r Row) bool { return r.Role != IsRepeat && r.Columns[0].Summary.N > 0 }):
		a.Effects.Why = "no cell is finished"
		return
	}
	if reduced := a.withoutIdle(factors); len(reduced) > 1 {
		why := a.whyBroken(reduced)
		if why == "" {
			a.Effects.Crossed = true
			a.addTerm(reduced, a.combined(reduced))
		} else if a.Design == "grid" && a.HasBaseline {
			a.noteReason(why + ", so that interactions are not seen; each factor is analysed beside the baseline's levels of the others")
		}
	}
	if !a.Effects.Crossed && a.HasBaseline {
		for _, f := range factors {
			a.analyseAlone(f)
		}
	}
	if len(a.Effects.Terms) == 0 && a.Effects.Why == "" {
		a.Effects.Why = "no two finished cells differ in one factor alone"
	}
}

// withoutIdle leaves out the levels, and then the factors, that change nothing: their cells are the very same runs as those of
// another level. A run counts once in an analysis, however many cells show it.
func (a *analysis) withoutIdle(factors []results.Factor) (reduced []results.Factor) {
	for _, f := range factors {
		var levels, idle []string
		for _, level := range f.Levels {
			same := slices.IndexFunc(levels, func(other string) bool { return a.sameRuns(f.Name, level, other) })
			if same < 0 {
				levels = append(levels, level)
			} else {
				idle = append(idle, level+" as "+levels[same])
			}
		}
		if len(idle) > 0 {
			a.noteReason(fmt.Sprintf("%s changes nothing between levels that are the same runs: %s", f.Name, strings.Join(idle, ", ")))
		}
		if len(levels) > 1 {
			reduced = append(reduced, results.Factor{Name: f.Name, Levels: levels, Conditional: f.Conditional})
		}
	}
	return reduced
}

// sameRuns reports whether each cell of one level of a factor is the same runs as that of another level beside it.
func (a *analysis) sameRuns(factor, level, other string) bool {
	found := false
	for _, r := range a.leveled() {
		if r.Levels[factor] != level {
			continue
		}
		beside := a.leveledAs(r.Levels, factor, other)
		if beside == nil || runsOf(a.doneCells(r.Variant)) == "" || runsOf(a.doneCells(r.Variant)) != runsOf(a.doneCells(beside.Variant)) {
			return false
		}
		found = true
	}
	return found
}

// leveled returns the rows that have a level of every factor, conditional ones excepted.
func (a *analysis) leveled() (rows []*Row) {
	for i := range a.Rows {
		r := &a.Rows[i]
		lacks := func(f results.Factor) bool { _, has := r.Levels[f.Name]; return !has && !f.Conditional }
		if r.Role != IsRepeat && len(r.Levels) > 0 && !slices.ContainsFunc(a.e.Factors, lacks) {
			rows = append(rows, r)
		}
	}
	return rows
}

// leveledAs returns the row that has these levels, with level for factor's; nil when there is none.
func (a *analysis) leveledAs(levels map[string]string, factor, level string) *Row {
	for _, r := range a.leveled() {
		same := true
		for _, f := range a.e.Factors {
			want := levels[f.Name]
			if f.Name == factor {
				want = level
			}
			same = same && r.Levels[f.Name] == want
		}
		if same {
			return r
		}
	}
	return nil
}

// combined returns the rows of the combinations of the factors' levels. The other factors change nothing: any level of theirs will do.
func (a *analysis) combined(factors []results.Factor) map[string]*Row {
	rows := map[string]*Row{}
	for _, r := range a.leveled() {
		if slices.ContainsFunc(factors, func(f results.Factor) bool { return !slices.Contains(f.Levels, r.Levels[f.Name]) }) {
			continue
		}
		if key := combination(factors, r.Levels); rows[key] == nil {
			rows[key] = r
		}
	}
	return rows
}

// whyBroken says why not every combination of the factors' levels has all its seeds and runs of its own; "" when each has.
func (a *analysis) whyBroken(factors []results.Factor) string {
	rows, runs := a.combined(factors), map[string]bool{}
	for _, r := range rows {
		key := runsOf(a.doneCells(r.Variant))
		switch {
		case r.Lost+r.Waiting > 0 || r.Columns[0].Summary.N == 0:
			return "the grid is not whole"
		case runs[key] && key != "":
			return "some cells of the grid are the same runs"
		}
		runs[key] = true
	}
	if combinations(factors) != len(rows) {
		if slices.ContainsFunc(factors, func(f results.Factor) bool { return f.Conditional }) {
			return "some factors apply in some cells only"
		}
		return "the grid is not whole"
	}
	return ""
}

// analyseAlone describes one factor beside the baseline's levels of the others. Its verdict is its rows'.
func (a *analysis) analyseAlone(f results.Factor) {
	base := a.Rows[0].Levels
	rows, runs := map[string]*Row{}, map[string]bool{}
	var used, levels []string
	for _, level := range f.Levels {
		r := a.leveledAs(base, f.Name, level)
		if r == nil {
			continue
		}
		if r.Role == IsVariant && !(r.HasSame && a.row(r.Same).Role == IsBaseline) {
			used = append(used, r.Variant)
		}
		key := runsOf(a.doneCells(r.Variant))
		switch {
		case r.Columns[0].Summary.N == 0:
			a.noteReason(fmt.Sprintf("%s=%s is left out: it has no finished seeds", f.Name, level))
		case r.Lost > 0:
			a.noteReason(fmt.Sprintf("F leaves out %s=%s, which lost %d of %d seeds", f.Name, level, r.Lost, r.Cells))
		case key == "" || !runs[key]:
			runs[key] = true
			rows[level], levels = r, append(levels, level)
		}
	}
	before := len(a.Effects.Terms)
	if len(levels) > 1 {
		a.addTerm([]results.Factor{{Name: f.Name, Levels: levels}}, rows)
	}
	switch {
	case len(a.Effects.Terms) > before:
	case len(used) > 0:
		none := stat.Term{Factors: []string{f.Name}, F: math.NaN(), P: math.NaN(), EtaSquared: math.NaN(), PartialEtaSq: math.NaN()}
		a.Effects.Terms = append(a.Effects.Terms, Effect{Term: none, Levels: len(levels)})
	default:
		return
	}
	a.Effects.Terms[len(a.Effects.Terms)-1].Rows = append([]string{}, used...)
}

// effectsOfRows gives the factors that are not tested themselves the verdicts of their rows: one that some row is called
// different for has an effect. That costs no further error, and no factor is called otherwise than its rows.
func (a *analysis) effectsOfRows() {
	for i := range a.Effects.Terms {
		e := &a.Effects.Terms[i]
		if e.Rows == nil {
			continue
		}
		e.P, e.Verdict = math.NaN(), NoEffectTest
		verdicts := map[stat.Verdict]bool{}
		for _, name := range e.Rows {
			if j := a.row(name).Columns[0].Judgement; j != nil {
				if verdicts[j.Verdict] = true; math.IsNaN(e.P) || j.P < e.P {
					e.P = j.P
				}
			}
		}
		switch {
		case verdicts[stat.Better] || verdicts[stat.Worse] || verdicts[stat.Differs]:
			e.Verdict = HasEffect
		case verdicts[stat.Lost]:
			e.P, e.Verdict = math.NaN(), EffectLost
		case verdicts[stat.Unfinished]:
			e.P, e.Verdict = math.NaN(), EffectUnfinished
		case verdicts[stat.NoDifference]:
			e.Verdict = NoEffectShown
		}
	}
}

const between = "\x00"

func combination(factors []results.Factor, levels map[string]string) string {
	parts := make([]string, len(factors))
	for i, f := range factors {
		parts[i] = levels[f.Name]
	}
	return strings.Join(parts, between)
}

func combinations(factors []results.Factor) int {
	n := 1
	for _, f := range factors {
		n *= len(f.Levels)
		if n > 1<<20 {
			return n
		}
	}
	return n
}

// addTerm analyses these factors over the seeds that all their rows have, and appends the terms.
func (a *analysis) addTerm(factors []results.Factor, rows map[string]*Row) {
	var observations []stat.Observation
	seeds := a.commonSeeds(rows)
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		at := make([]int, len(factors))
		for i, level := range strings.Split(key, between) {
			at[i] = slices.Index(factors[i].Levels, level)
		}
		for _, seed := range seeds {
			observations = append(observations, stat.Observation{Levels: at, Seed: uint64(seed), Value: rows[key].Columns[0].Values[seed]})
		}
	}
	switch left := len(a.Seeds) - len(seeds); {
	case left > 0 && len(seeds) > 0:
		a.noteReason(fmt.Sprintf("%s: over the %d of %d seeds that are finished in all cells", names(factors), len(seeds), len(a.Seeds)))
	case len(seeds) == 0:
		a.noteReason("no seed is finished in all cells of " + names(factors))
		return
	}
	anova, err := stat.AnalyseVariance(factors, observations)
	if err != nil {
		a.noteReason(message(err))
		return
	}
	for _, t := range anova.Terms {
		a.Effects.Terms = append(a.Effects.Terms, Effect{Term: t, Residual: anova.Residual, Levels: len(rows), Seeds: len(seeds)})
	}
}

func (a *analysis) noteReason(reason string) {
	if a.Effects.Why != "" {
		a.Effects.Why += "; "
	}
	a.Effects.Why += reason
}

// commonSeeds returns the seeds that all rows have.
func (a *analysis) commonSeeds(rows map[string]*Row) (seeds []int64) {
	for _, seed := range a.Seeds {
		everywhere := true
		for _, r := range rows {
			_, has := r.Columns[0].Values[seed]
			everywhere = everywhere && has
		}
		if everywhere {
			seeds = append(seeds, seed)
		}
	}
	return seeds
}

func names(factors []results.Factor) string {
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
