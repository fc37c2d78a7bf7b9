package stat

import (
	"fmt"
	"math"
)

// Verdict is what a comparison shows, in the words of a report.
type Verdict string

// The verdicts. None says that two variants are equal: no test can show that.
const (
	Better       Verdict = "better"
	Worse        Verdict = "worse"
	NoDifference Verdict = "no difference shown"
	NotEnough    Verdict = "not enough seeds to tell"
)

// MinSeeds is the fewest seeds in common that a verdict other than NotEnough is made on.
const MinSeeds = 3

// Goal says which way a metric is good.
type Goal int

// The goals.
const (
	HigherIsBetter Goal = iota
	LowerIsBetter
)

// Judgement is a verdict and what it rests on.
type Judgement struct {
	Verdict Verdict
	P       float64 // after Holm over Tests; NaN where no test counts
	Tests   int     // comparisons of the table that count
	Alpha   float64
}

// Judge gives the verdicts of a table's comparisons at an error rate alpha for the whole table, with
// P-values adjusted by Holm. Better and Worse need an adjusted P of at most alpha and an interval that
// excludes 0 where there is one. NotEnough is the verdict under MinSeeds, which also do not count as
// tests, and where even the least P the test can give would not do.
func Judge(table []Comparison, alpha float64, goal Goal) []Judgement {
	p, tests := make([]float64, len(table)), 0
	for i, c := range table {
		p[i] = math.NaN()
		if c.N >= MinSeeds {
			p[i] = c.P
			tests++
		}
	}
	judged := make([]Judgement, len(table))
	for i, adjusted := range Holm(p) {
		c := table[i]
		j := Judgement{NoDifference, adjusted, tests, alpha}
		switch {
		case c.N < MinSeeds:
			j.Verdict = NotEnough
		case adjusted <= alpha && !c.Interval.Contains(0) && c.Delta != 0:
			j.Verdict = Worse
			if (c.Delta > 0) == (goal == HigherIsBetter) {
				j.Verdict = Better
			}
		case c.MinP*float64(tests) > alpha && c.Delta != 0:
			j.Verdict = NotEnough
		}
		judged[i] = j
	}
	return judged
}

// Reason says in one sentence what the verdict on c rests on.
func (j Judgement) Reason(c Comparison) string {
	if c.N < MinSeeds {
		return fmt.Sprintf("%d %s in common, and %d are the least", c.N, plural(c.N, "seed"), MinSeeds)
	}
	if c.Test == SignFlips {
		if c.Delta == 0 {
			return fmt.Sprintf("no difference in any of %d seeds", c.N)
		}
		return fmt.Sprintf("the same difference in all %d seeds, p = %s%s by sign flips", c.N, probability(j.P), j.after())
	}
	return fmt.Sprintf("%s over %d seeds, p = %s%s; %g %% interval by %s",
		c.Test, c.N, probability(j.P), j.after(), 100*c.Interval.Level, c.Interval.Method)
}

func (j Judgement) after() string {
	if j.Tests < 2 {
		return ""
	}
	return fmt.Sprintf(" after Holm over %d comparisons", j.Tests)
}

// probability is a p-value with three decimals, or two digits where those would all be 0.
func probability(p float64) string {
	if p >= 0.001 {
		return fmt.Sprintf("%.3f", p)
	}
	return fmt.Sprintf("%.1e", p)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
