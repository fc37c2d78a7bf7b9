package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tandem/core/results/ablation"
	"tandem/core/results/stat"
)

// otherMetrics exceeds column.spare of all but the other metrics' columns: these go before the deciding one's words do.
const otherMetrics = 10000

// mainSheets have a row for each variant: its metrics, and what lies between it and the baseline. The first has the
// metrics that are not compared too, and each further metric that is compared a sheet of its own.
func mainSheets(t *ablation.Table) (all []sheet) {
	t = confirming(t)
	for j, m := range t.Metrics {
		if j > 0 && (!m.Compared || !hasVariants(t)) {
			continue
		}
		s := sheet{Class: "main", Columns: []column{{Name: "variant"}, {Name: "n", Right: true}}}
		if !t.HasBaseline {
			s.Columns = append([]column{{Name: "rank", Right: true}}, s.Columns...)
		}
		for _, r := range t.Rows {
			s.Rows = append(s.Rows, rowLine(t, r, j))
		}
		if j > 0 {
			s.Title = m.Name
		}
		s.addMetric(t, j, j, 0)
		if hasVariants(t) {
			s.addComparison(t, j)
		}
		all = append(all, s)
	}
	for j, m := range t.Metrics {
		if j > 0 && (!m.Compared || !hasVariants(t)) {
			spare := 0
			if !m.Compared {
				spare = otherMetrics - j // the last first
			}
			all[0].addMetric(t, j, 0, spare)
		}
	}
	all[len(all)-1].Notes = mainNotes(t)
	return all
}

// hasVariants reports whether anything is compared with a baseline.
func hasVariants(t *ablation.Table) bool {
	return t.HasBaseline && slices.ContainsFunc(t.Rows, func(r ablation.Row) bool { return r.Role == ablation.IsVariant })
}

// addMetric adds the means of metric j; the sheet's n is that of metric shown.
func (s *sheet) addMetric(t *ablation.Table, j, shown, spare int) {
	sc := scaleOf(t, j)
	s.Columns = append(s.Columns, column{heading(t, j, sc), true, spare})
	for i, r := range t.Rows {
		s.Rows[i].Entries = append(s.Rows[i].Entries, meanEntry(r, j, shown, sc))
	}
}

func (s *sheet) addComparison(t *ablation.Table, j int) {
	sc := scaleOf(t, j)
	name := strings.TrimSpace("difference " + sc.delta)
	s.Columns = append(s.Columns, column{name, true, 0}, column{"p", true, otherMetrics + 1}, column{"verdict", false, otherMetrics})
	for i, r := range t.Rows {
		s.Rows[i].Entries = append(s.Rows[i].Entries, comparisonEntries(r, j, sc)...)
	}
}

func rowLine(t *ablation.Table, r ablation.Row, j int) line {
	l := line{Class: string(r.Role)}
	if !t.HasBaseline {
		rank := "–"
		if r.Rank > 0 {
			rank = fmt.Sprint(r.Rank)
		}
		l.Entries = append(l.Entries, figure(rank))
	}
	name := words(dash(r.Variant))
	if r.Lost > 0 {
		name.Marks = flattered
	}
	n := fmt.Sprint(r.Columns[j].Summary.N)
	if r.Columns[j].Summary.N < r.Cells {
		n += fmt.Sprintf("/%d", r.Cells)
	}
	l.Entries = append(l.Entries, name, figure(n))
	return l
}

func meanEntry(r ablation.Row, j, shown int, sc scale) entry {
	c := r.Columns[j]
	e := figure(sc.spread(c.Summary))
	e.Best = c.Best
	if n := c.Summary.N; n > 0 && n != r.Columns[shown].Summary.N {
		e.Text += fmt.Sprintf(" (%d)", n)
	}
	return e
}

// comparisonEntries returns the difference, p and the verdict.
func comparisonEntries(r ablation.Row, j int, sc scale) []entry {
	none := []entry{words(""), words(""), words("")}
	c := r.Columns[j]
	switch {
	case r.Role == ablation.IsRepeat:
		none[2].Text = "the baseline under other seeds"
		return none
	case r.HasSame && c.Comparison == nil:
		none[2].Text = "the same runs as " + dash(r.Same)
		return none
	case c.Comparison == nil:
		return none
	}
	d := figure(sc.difference(c.Comparison))
	verdict := words(string(c.Judgement.Verdict))
	verdict.Class = classOf(c.Judgement.Verdict)
	if c.Judgement.Verdict.Claims() {
		d.Marks, d.Class = significant, verdict.Class
	}
	if c.Comparison.N > 0 && c.Comparison.N != c.Summary.N {
		d.Text += fmt.Sprintf(" (%s)", Plural(c.Comparison.N, "pair"))
	}
	if c.InFloor() {
		d.Marks += within
	}
	if r.HasSame {
		verdict.Text += ", the same runs as " + dash(r.Same)
	}
	return []entry{d, figure(pValue(c.Judgement.P)), verdict}
}

// classOf returns the class of a verdict, for colours.
func classOf(v stat.Verdict) string {
	switch v {
	case stat.Better:
		return "better"
	case stat.Worse:
		return "worse"
	case stat.Differs:
		return "differs"
	case stat.NoDifference:
		return "none"
	}
	return "unknown"
}

// mainNotes returns the legend, as far as its marks are used, and what the table cannot say.
func mainNotes(t *ablation.Table) (notes []string) {
	var used struct{ best, marked, within, flattered bool }
	var methods, tests []string
	most := 0
	for _, r := range t.Rows {
		most = max(most, r.Columns[0].Summary.N)
		used.flattered = used.flattered || r.Lost > 0
		for _, c := range r.Columns {
			used.best = used.best || c.Best
			used.within = used.within || c.InFloor()
			used.marked = used.marked || c.Judgement != nil && c.Judgement.Verdict.Claims()
			if c.Comparison != nil {
				methods = addName(methods, string(c.Comparison.Interval.Method))
				tests = addName(tests, string(c.Comparison.Test))
			}
		}
	}
	add := func(when bool, format string, args ...any) {
		if when {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	add(most > 1, "Mean ± standard deviation over n seeds.")
	add(most == 1, "One seed a variant: what other seeds would give is not known.")
	add(used.best, "%s best mean of its column, which need not be better than the next.", bestMark)
	if len(tests) > 0 {
		add(!t.NoIntervals, "Differences are of the means over %s, paired by seed, each with its own %s interval by %s (each by itself: that all hold at once is less likely).",
			pairCounts(t), percentOf(t.Level), strings.Join(methods, " or "))
		add(t.NoIntervals, "Differences are of the means over %s, paired by seed. They have no intervals: a rule stops trials early here, and the variants that keep all seeds are the lucky ones%s.", pairCounts(t), seeCheck(t))
		add(t.Tests > 0, "p by %s, after Holm over all %s of this table%s: at most %s of such tables say anything false.",
			strings.Join(tests, " or "), Plural(t.Tests, "test"), noteEffectTests(t), percentOf(t.Alpha))
		add(t.Analysis == ablation.Pooled, "The spread is that of all variants together, with seeds as blocks: right where seeds spread all variants alike (--analysis paired takes each pair's own).")
		notes = append(notes, pairing(t)...)
	}
	add(used.marked && !t.NoIntervals, "%s p at most %s, and the interval leaves out 0.", significant, Number(t.Alpha))
	add(used.marked && t.NoIntervals, "%s p at most %s.", significant, Number(t.Alpha))
	if t.Noise != nil && !math.IsNaN(t.Noise.Floor) {
		sc := scaleOf(t, 0)
		add(true, "Noise floor %s: what the means of two sets of %s of the baseline differ by at most, %s of the time, where no seed is in both (its standard deviation is %s, over %d and %d seeds).",
			withUnit(sc, t.Noise.Floor), Plural(t.Noise.First.N, "seed"), percentOf(t.Level), withUnit(sc, t.Noise.Std), t.Noise.First.N, t.Noise.Second.N)
		add(used.within, "%s within the noise floor: the means lie no further apart than that. A difference paired by seed may be shown even so.", within)
	}
	add(used.flattered, "%s some seeds are lost: the mean is of those that came through, which flatters it.", flattered)
	return slices.Concat(searchNotes(t), notes, noteReasons(t), t.Notes)
}

func seeCheck(t *ablation.Table) string {
	if t.Check == nil {
		return ""
	}
	return " (the first check, below, has some)"
}

// pairCounts says over how many pairs the differences of the deciding metric are.
func pairCounts(t *ablation.Table) string {
	low, high := math.MaxInt, 0
	for _, r := range t.Rows {
		if c := r.Columns[0].Comparison; c != nil && c.N > 0 {
			low, high = min(low, c.N), max(high, c.N)
		}
	}
	if low < high {
		return fmt.Sprintf("%d to %d pairs", low, high)
	}
	return Plural(high, "pair")
}

// noteEffectTests says how many of the tests are of factors.
func noteEffectTests(t *ablation.Table) string {
	if !t.Effects.Crossed || len(t.Effects.Terms) == 0 || t.Tests == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of them of factors)", len(t.Effects.Terms))
}

// pairing says what pairing by seed is worth here.
func pairing(t *ablation.Table) []string {
	switch p := t.Pairing; {
	case math.IsNaN(p.Share):
		return nil
	case p.Share >= 0.1:
		return []string{fmt.Sprintf("Pairing pays: what a seed does to one variant it does to the others too, which takes away %.0f %% of a difference's variance (over %s).", 100*p.Share, Plural(p.Comparisons, "comparison"))}
	case p.Share <= -0.1:
		return []string{fmt.Sprintf("Pairing does not pay here: it adds %.0f %% to a difference's variance (over %s).", -100*p.Share, Plural(p.Comparisons, "comparison"))}
	default:
		return []string{fmt.Sprintf("Pairing hardly matters here: seeds of the baseline and of the variants correlate by %.2f (over %s).", p.Share, Plural(p.Comparisons, "comparison"))}
	}
}

// addName adds a name, unless it is empty or among names.
func addName(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

func withUnit(sc scale, v float64) string {
	return strings.TrimSpace(sc.value(v) + " " + sc.delta)
}

// noteReasons says why there is no verdict, once for all variants that share a reason.
func noteReasons(t *ablation.Table) (notes []string) {
	var order []string
	variants := map[string][]string{}
	for _, r := range t.Rows {
		if c := r.Columns[0]; c.Judgement != nil && (c.Judgement.Verdict == stat.NotEnough || c.Judgement.Why != "") {
			reason := c.Judgement.Reason(*c.Comparison)
			if variants[reason] == nil {
				order = append(order, reason)
			}
			variants[reason] = append(variants[reason], dash(r.Variant))
		}
	}
	for _, reason := range order {
		notes = append(notes, fmt.Sprintf("%s: %s.", nameSome(variants[reason]), reason))
	}
	return notes
}

// nameSome lists names, a few of them where they are many.
func nameSome(names []string) string {
	const most = 6
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most-1], ", "), len(names)-most+1)
	}
	return strings.Join(names, ", ")
}
