package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/report"
	"tandem/core/results/stat"
)

// mostFindings limits how many variants are named at the top of the page; the table has all.
const mostFindings = 8

// Answer says what the table shows, in words that claim no more than its numbers.
type Answer struct {
	Headline string
	Lines    []Finding
	Left     int // variants that have no line
}

// Finding says what is found of one variant.
type Finding struct {
	Variant, Verdict, Text string
	Class                  string // better, worse, none or unknown
}

var classOf = map[stat.Verdict]string{stat.Better: "better", stat.Worse: "worse", stat.Differs: "differs", stat.NoDifference: "none",
	stat.NotEnough: "unknown", stat.Lost: "unknown", stat.Unfinished: "unknown"}

// answer puts the table's verdicts into words.
func answer(p *Page) Answer {
	t := p.Table
	name := t.Metrics[0].Name
	var a Answer
	var ranked []ablation.Row
	verdicts := map[stat.Verdict][]ablation.Row{}
	for _, r := range t.Rows {
		if r.Role == ablation.IsRepeat || r.HasSame || r.Rank == 0 || isPoint(t, r) {
			continue
		}
		ranked = append(ranked, r)
		if j := r.Columns[0].Judgement; j != nil {
			verdicts[j.Verdict] = append(verdicts[j.Verdict], r)
		}
	}
	slices.SortStableFunc(ranked, func(x, y ablation.Row) int { return x.Rank - y.Rank })
	for _, rows := range verdicts {
		slices.SortStableFunc(rows, func(x, y ablation.Row) int {
			return cmp.Compare(math.Abs(y.Columns[0].Comparison.Delta), math.Abs(x.Columns[0].Comparison.Delta))
		})
	}
	switch better, worse := verdicts[stat.Better], verdicts[stat.Worse]; {
	case len(ranked) == 0 && t.Search != nil && t.Search.Best != "":
		a.Headline = fmt.Sprintf("%s is the best of %s, with %s %s; until fresh seeds confirm it, this figure flatters it.", t.Search.Best, countOf(t.Search.Tried, "1 point", "%d points"), metric.Short(name), report.Metric(name, t.Search.Reached))
	case len(ranked) == 0:
		a.Headline = "No run is finished yet: there is nothing to compare."
	case !t.HasBaseline && t.Choose != "":
		a.Headline = fmt.Sprintf("%s is chosen by %s, and reaches %s %s; without a baseline nothing is tested.", named(ranked[0].Variant), metric.Short(t.Choose), metric.Short(name), mean(ranked[0], name))
	case !t.HasBaseline:
		a.Headline = fmt.Sprintf("%s has the best mean, %s %s; without a baseline nothing is tested.", named(ranked[0].Variant), metric.Short(name), mean(ranked[0], name))
	case len(ranked) == 1:
		a.Headline = fmt.Sprintf("%s reaches %s %s; no other variant has finished runs.", named(ranked[0].Variant), metric.Short(name), mean(ranked[0], name))
	case len(better) > 0:
		a.Headline = fmt.Sprintf("%s is better than the baseline: %s %s, %s.", named(better[0].Variant), metric.Short(name), mean(better[0], name), change(better[0], name))
		if n := len(better) - 1; n > 0 {
			a.Headline += fmt.Sprintf(" So %s.", countOf(n, "is one more variant", "are %d more variants"))
		}
	case len(worse) > 0:
		a.Headline = fmt.Sprintf("No variant is shown to be better than the baseline; %s is worse by %s.", named(worse[0].Variant), strings.TrimLeft(delta(name, worse[0].Columns[0].Comparison.Delta), "+−"))
	case len(verdicts[stat.Differs]) > 0:
		r := verdicts[stat.Differs][0]
		a.Headline = fmt.Sprintf("%s differs from the baseline: %s %s, %s.", named(r.Variant), metric.Short(name), mean(r, name), change(r, name))
	case len(verdicts[stat.NoDifference]) > 0:
		a.Headline = "No difference from the baseline is shown."
	case len(verdicts[stat.Unfinished]) > 0:
		a.Headline = "Not finished: nothing is judged yet."
	case len(verdicts[stat.Lost]) > 0:
		a.Headline = "Seeds are lost in every variant: nothing can be judged."
	default:
		a.Headline = "Not enough seeds to tell."
	}
	if s := t.Search; s != nil && s.Winner != "" && !math.IsNaN(s.Shrunk) {
		a.Headline += fmt.Sprintf(" %s is %s: there, the best of %s, it had %s; only fresh seeds count here.", named(s.Winner), s.Best, countOf(s.Tried, "1 point", "%d points"), report.Metric(name, s.Reached))
	}
	if lost := report.LostCells(t); lost != "" {
		a.Headline += " " + lost + "."
	}
	if t.HasBaseline {
		for _, v := range []stat.Verdict{stat.Better, stat.Worse, stat.Differs, stat.NoDifference, stat.NotEnough, stat.Lost, stat.Unfinished} {
			for _, r := range verdicts[v] {
				if len(a.Lines) == mostFindings {
					a.Left++
				} else {
					a.Lines = append(a.Lines, Finding{named(r.Variant), string(v), change(r, name) + probability(r.Columns[0].Judgement) + inFloor(r, name) + reasonFor(r.Columns[0].Judgement), classOf[v]})
				}
			}
		}
	}
	return a
}

// change writes a variant's difference from the baseline with its interval.
func change(r ablation.Row, name string) string {
	c := r.Columns[0].Comparison
	if c.N == 0 {
		return "no seed in common with the baseline"
	}
	text := delta(name, c.Delta)
	if c.Interval.Method != stat.NoMethod {
		text += fmt.Sprintf(" [%s, %s]", delta(name, c.Interval.Low), delta(name, c.Interval.High))
	}
	return text + " over " + countOf(c.N, "1 pair of seeds", "%d pairs of seeds")
}

// probability writes the p-value of the test, where it counts.
func probability(j *stat.Judgement) string {
	switch {
	case math.IsNaN(j.P):
		return ""
	case j.P < 0.001:
		return ", p < 0.001"
	}
	return fmt.Sprintf(", p = %.3f", j.P)
}

// reasonFor says why there is no verdict.
func reasonFor(j *stat.Judgement) string {
	if j.Why == "" {
		return ""
	}
	return "; " + j.Why
}

// inFloor says so of means that lie no further apart than the baseline's own.
func inFloor(r ablation.Row, name string) string {
	c := r.Columns[0]
	if !c.InFloor() {
		return ""
	}
	return fmt.Sprintf(", within the noise floor of %s", strings.TrimLeft(delta(name, c.Floor), "+"))
}

func mean(r ablation.Row, name string) string {
	s := r.Columns[0].Summary
	text := report.Metric(name, s.Mean)
	if s.N > 1 {
		text += " on average of " + countOf(s.N, "", "%d seeds")
	}
	return text
}

// delta writes a difference of a metric with its sign; of shares in percentage points.
func delta(name string, v float64) string {
	sign := "+"
	if v < 0 {
		sign = "−"
	}
	v = math.Abs(v)
	if metric.IsShare(name) {
		return fmt.Sprintf("%s%.1f pt", sign, 100*v)
	}
	return sign + fmt.Sprintf("%.3g", v)
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}
