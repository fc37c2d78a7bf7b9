package ablation

import (
	"fmt"
	"math"
	"strings"

	"tandem/core/results/stat"
)

// Check compares the variants at the first check of the rule that stops trials: by the values of the deciding metric that
// every trial comes to before any trial can be stopped. No luck has chosen among these, so that their intervals hold and
// lost seeds lose nothing. What the table says of the final values and what it says here share one Holm correction.
type Check struct {
	After    string // when the rule begins, as the spec has it: "1 epoch"
	From, To int    // the steps that the values are of, lowest and highest: epochs of variants may differ in length
	Rows     []CheckRow
}

// CheckRow holds the baseline, or a variant that is compared with it.
type CheckRow struct {
	Variant string
	Role    Role
	Column
}

// check fills Table.Check, and returns its comparisons for the table's correction. None are returned where no rule may stop
// trials, or no cell has a value of its first check.
func (a *analysis) check() (all []asked, questions []stat.Question) {
	check := &Check{After: a.e.Check, From: math.MaxInt}
	for _, c := range a.e.Cells {
		if c.AtCheck != nil && !a.isRepeat(c.Variant) {
			check.From, check.To = min(check.From, c.AtCheck.Step), max(check.To, c.AtCheck.Step)
		}
	}
	if !a.HasBaseline || !a.NoIntervals || check.To == 0 {
		return nil, nil
	}
	a.Table.Check = check
	for _, r := range a.Rows {
		if r.Role == IsRepeat || r.HasSame {
			continue
		}
		row := CheckRow{Variant: r.Variant, Role: r.Role, Column: Column{Values: map[int64]float64{}, Apart: math.NaN(), Floor: math.NaN()}}
		for _, c := range a.cells[r.Variant] {
			if stateAtCheck(c) == "" {
				row.Values[c.Seed] = c.AtCheck.Value
			}
		}
		row.Summary = stat.Summarize(bySeed(row.Values).Values())
		check.Rows = append(check.Rows, row)
	}
	baseline := check.Rows[0]
	for i := range check.Rows[1:] {
		row := &check.Rows[i+1]
		compared := stat.Compare(bySeed(row.Values), bySeed(baseline.Values), a.Level, 0)
		q := stat.Question{Direction: a.Metrics[0].Direction}
		q.Open, q.Why = a.open(row.Variant, stateAtCheck)
		if q.Open == stat.Lost {
			compared = compared.WithoutInterval()
		}
		q.Comparison, row.Comparison = compared, &compared
		all, questions = append(all, asked{i + 1, 0, &row.Column}), append(questions, q)
	}
	return all, questions
}

// stateAtCheck says why a cell has no value of the first check; "" when it has one. Trials that ended afterwards have.
func stateAtCheck(c Cell) State {
	switch at := c.AtCheck; {
	case at != nil && c.Status == "done" && !c.Done:
		return Tainted
	case at != nil && !math.IsNaN(at.Value) && !math.IsInf(at.Value, 0):
		return ""
	case at != nil || c.Done || c.Status == "stopped":
		return NoValue
	case c.RunID == "":
		return Missing
	}
	return State(c.Status)
}

// open says what keeps a variant from being judged against the baseline, given the states of their cells: seeds of either
// that are lost, since those that are left are not any seeds but the lucky ones; and seeds that are not there yet, since
// who looks again and again until a verdict comes will see one. "" when nothing does.
func (a *analysis) open(variant string, state func(Cell) State) (stat.Verdict, string) {
	if a.Look != nil && a.Look.Number == 0 {
		return stat.Unfinished, "before the first planned look"
	}
	var lost, waiting []string
	for _, v := range []string{a.Baseline, variant} {
		of, gone := "", map[State]int{}
		if v == a.Baseline {
			of = "of the baseline "
		}
		for _, c := range a.cells[v] {
			gone[state(c)]++
		}
		for _, s := range states {
			said := fmt.Sprintf("%d of %d seeds %s%s", gone[s], len(a.cells[v]), of, s.phrase())
			switch {
			case gone[s] == 0:
			case s.Unfinished():
				waiting = append(waiting, said)
			default:
				lost = append(lost, said)
			}
		}
	}
	switch {
	case len(lost) > 0:
		return stat.Lost, strings.Join(lost, ", ") + ": those that are left are a choice, not a sample"
	case len(waiting) > 0:
		return stat.Unfinished, strings.Join(waiting, ", ")
	}
	return "", ""
}
