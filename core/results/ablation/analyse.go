package ablation

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

// Analyse makes the table of an experiment with intervals at level, in (0, 1); tests err with probability
// 1 − level at most, over the whole table. fault.Invalid for another level, and for an experiment without cells or
// metrics. Equal experiments give equal tables.
func Analyse(e Experiment, level float64) (*Table, error) {
	if !(level > 0 && level < 1) {
		return nil, fault.New(fault.Invalid, "level %g is not between 0 and 1", level).WithHint("0.95 gives 95 %% intervals and tests at 5 %%")
	}
	if len(e.Cells) == 0 {
		return nil, fault.New(fault.NotFound, "experiment %s has no cells", e.Name).WithHint("runner run SPEC fills them")
	}
	if len(e.Metrics) == 0 {
		return nil, fault.New(fault.Invalid, "experiment %s has no metric to compare", e.Name).WithHint("name one that its runs recorded")
	}
	t := &Table{
		Name: e.Name, Description: e.Description, Design: e.Design, Baseline: e.Baseline,
		Level: level, Alpha: math.Round((1-level)*1e12) / 1e12, Metrics: slices.Clone(e.Metrics), Factors: e.Factors,
	}
	t.Metrics[0].Compared = true
	a := analysis{Table: t, e: e, cells: map[string][]Cell{}}
	a.keepLook()
	a.sort()
	a.rows()
	a.absent()
	a.noise()
	a.effects()
	a.compare()
	a.best()
	a.search()
	a.predictions()
	a.effectsOfRows()
	return t, nil
}

// analysis holds a table in the making.
type analysis struct {
	*Table
	e        Experiment
	variants []string          // in the order of the design
	cells    map[string][]Cell // by variant
}

// sort groups the cells by variant.
func (a *analysis) sort() {
	seeds := map[int64]bool{}
	a.Gone = map[State]int{}
	for _, c := range a.e.Cells {
		if a.cells[c.Variant] == nil {
			a.variants = append(a.variants, c.Variant)
		}
		a.cells[c.Variant] = append(a.cells[c.Variant], c)
		if !a.isRepeat(c.Variant) {
			seeds[c.Seed] = true
			a.Cells++
			if s := state(c, a.Metrics[0].Name); s != "" {
				a.Gone[s]++
			}
		}
	}
	a.Seeds = slices.Sorted(maps.Keys(seeds))
	// Without a plan "" is both no baseline and a variant; where there is such a variant it is the baseline.
	_, a.HasBaseline = a.cells[a.Baseline]
	switch {
	case a.HasBaseline:
	case a.Baseline != "":
		a.note("The baseline %s has no cells: there is nothing to compare the variants with.", a.Baseline)
	default:
		a.note("There is no baseline: the table is a ranking and tests nothing. The best of many is best by luck too.")
	}
}

func (a *analysis) note(format string, args ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(format, args...))
}

// isRepeat reports whether a variant is the baseline under other seeds.
func (a *analysis) isRepeat(variant string) bool { return a.e.Noise != "" && variant == a.e.Noise }

// doneCells returns the cells of a variant that count.
func (a *analysis) doneCells(variant string) (done []Cell) {
	for _, c := range a.cells[variant] {
		if c.Done {
			done = append(done, c)
		}
	}
	return done
}

func (a *analysis) rows() {
	runs := map[string]string{} // the first variant of a set of runs
	for _, v := range a.variants {
		r := Row{Variant: v, Role: IsVariant, Levels: a.cells[v][0].Levels, Cells: len(a.cells[v])}
		switch {
		case a.HasBaseline && v == a.Baseline:
			r.Role = IsBaseline
		case a.isRepeat(v):
			r.Role = IsRepeat
		}
		for s, n := range a.countGone(v, a.Metrics[0].Name) {
			switch {
			case s.Unfinished():
				r.Waiting += n
			default:
				r.Lost += n
			}
			if s == Stopped {
				r.Stopped = n
			}
		}
		done := a.doneCells(v)
		if key := runsOf(done); key != "" && r.Role != IsRepeat {
			if first, seen := runs[key]; seen {
				r.Same, r.HasSame = first, true
			} else {
				runs[key] = v
			}
		}
		for _, m := range a.Metrics {
			c := Column{Values: map[int64]float64{}, Apart: math.NaN(), Floor: math.NaN()}
			for _, cell := range done {
				if value, has := cell.Values[m.Name]; has && !math.IsNaN(value) && !math.IsInf(value, 0) {
					c.Values[cell.Seed] = value
				}
			}
			c.Summary = stat.Summarize(bySeed(c.Values).Values())
			r.Columns = append(r.Columns, c)
		}
		a.Rows = append(a.Rows, r)
	}
	a.byPhase()
}

// runsOf names a set of runs: the same for variants that are filled by the same ones.
func runsOf(cells []Cell) (key string) {
	cells = slices.SortedFunc(slices.Values(cells), func(x, y Cell) int { return cmp.Compare(x.Seed, y.Seed) })
	for _, c := range cells {
		if c.RunID == "" {
			return ""
		}
		key += fmt.Sprintf("%d %s\n", c.Seed, c.RunID)
	}
	return key
}

func bySeed(values map[int64]float64) stat.BySeed {
	b := make(stat.BySeed, len(values))
	for seed, v := range values {
		b[uint64(seed)] = v
	}
	return b
}

// countGone counts the cells of a variant that do not count for a metric, by what became of them.
func (a *analysis) countGone(variant, metric string) map[State]int {
	counts := map[State]int{}
	for _, c := range a.cells[variant] {
		if s := state(c, metric); s != "" {
			counts[s]++
		}
	}
	return counts
}

// absent lists the cells that do not count.
func (a *analysis) absent() {
	for _, v := range a.variants {
		for _, c := range a.cells[v] {
			if s := state(c, a.Metrics[0].Name); s != "" {
				a.Absent = append(a.Absent, Absent{v, c.Seed, s, c.RunID, c.Note})
			}
		}
	}
}

// state of a cell that does not count for a metric; "" when it does.
func state(c Cell, metric string) State {
	value, has := c.Values[metric]
	switch {
	case c.Done && has && !math.IsNaN(value) && !math.IsInf(value, 0):
		return ""
	case c.Done:
		return NoValue
	case c.RunID == "":
		return Missing
	}
	switch c.Status {
	case "done":
		return Tainted
	case "stopped":
		return Stopped
	}
	return State(c.Status)
}

// best marks the best mean of each column and ranks the rows by the one that chooses; without a baseline the rows are in
// the order of their ranks.
func (a *analysis) best() {
	ranks := max(0, slices.IndexFunc(a.Metrics, func(m Metric) bool { return m.Name == a.e.Choose }))
	if ranks > 0 {
		a.Choose = a.e.Choose
	}
	a.rank(ranks, func(r Role) bool { return r == IsBaseline || r == IsVariant })
	a.rank(ranks, func(r Role) bool { return r == IsTrial })
	if !a.HasBaseline {
		slices.SortStableFunc(a.Rows, func(x, y Row) int { return cmp.Compare(rankLast(x.Rank), rankLast(y.Rank)) })
	}
}

// rank marks the best mean of each column among the rows of some roles, and ranks them by column ranks.
func (a *analysis) rank(ranks int, among func(Role) bool) {
	for j, m := range a.Metrics {
		var means []float64
		for _, r := range a.Rows {
			if mean := r.Columns[j].Summary.Mean; among(r.Role) && !r.partial() && !math.IsNaN(mean) {
				means = append(means, mean)
			}
		}
		sortBestFirst(means, m.Direction)
		for i := range a.Rows {
			r := &a.Rows[i]
			if !among(r.Role) || r.partial() {
				continue
			}
			at := slices.Index(means, r.Columns[j].Summary.Mean) // -1 for NaN
			r.Columns[j].Best = at == 0 && len(means) > 1 && means[len(means)-1] != means[0] && m.Direction != metric.None
			if j == ranks && m.Direction != metric.None {
				r.Rank = at + 1
			}
		}
	}
}

// partial reports whether some seeds of a point are missing, which then is bad to the search whatever the others reached.
func (r Row) partial() bool { return r.Role == IsTrial && r.Lost+r.Waiting > 0 }

// rankLast puts rank 0, none, behind all others.
func rankLast(rank int) int {
	if rank == 0 {
		return math.MaxInt
	}
	return rank
}

// sortBestFirst sorts values of a metric, the best first.
func sortBestFirst(values []float64, way metric.Direction) {
	slices.Sort(values)
	if way == metric.Up {
		slices.Reverse(values)
	}
}
