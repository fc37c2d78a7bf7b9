package stat

import (
	"fmt"
	"math"
	"slices"

	"tandem/core/results/metric"
)

// Verdict says what a comparison shows, in the words of a report.
type Verdict string

// The verdicts. None says that two variants are equal: no test can show that.
const (
	Better       Verdict = "better"
	Worse        Verdict = "worse"
	Differs      Verdict = "differs" // of a metric that is good neither way
	NoDifference Verdict = "no difference shown"
	NotEnough    Verdict = "not enough seeds to tell"
	Lost         Verdict = "seeds lost, not judged" // some failed, diverged or were stopped: what is left is a choice
	Unfinished   Verdict = "unfinished, not judged" // some have not ended yet
)

// Claims reports whether the verdict states a difference.
func (v Verdict) Claims() bool { return v == Better || v == Worse || v == Differs }

// MinSeeds limits tests from below: fewer seeds in common make none.
const MinSeeds = 3

// Question asks for the verdict on one comparison of a table.
type Question struct {
	Comparison
	Direction metric.Direction
	// Open is Lost or Unfinished where the comparison gets no other verdict, with the reason in words; it counts as a test
	// that shows nothing, so that what became of a variant does not make the others' tests more lenient.
	Open Verdict
	Why  string
}

// Judgement holds a verdict and what it rests on.
type Judgement struct {
	Verdict Verdict
	P       float64 // after Holm over Tests and after Looks; NaN where no test counts
	Tests   int     // of the table that count
	Alpha   float64
	Why     string // of Lost and Unfinished
}

// Family says what the verdicts of one table answer for together.
type Family struct {
	Alpha float64
	// Least is how many tests Holm counts at least: more than there are where those that are shown were chosen from more.
	Least int
	// Share is what this look at the data may spend of Alpha, in (0, 1]: see Spending. 0 is all of it.
	Share float64
}

// Judge gives the verdicts of a table's comparisons, and beside them the adjusted p-values of the table's other tests, such
// that anything false is said in at most Alpha of all tables: Holm is over all of them together. Better, Worse and Differs
// need an adjusted P of at most Alpha and an interval that excludes 0 where there is one. NotEnough is the verdict under
// MinSeeds, which also do not count as tests, and where even the least P the test can give would not do.
func (f Family) Judge(table []Question, others []float64) ([]Judgement, []float64) {
	share := f.Share
	if share == 0 {
		share = 1
	}
	p := make([]float64, len(table), len(table)+len(others))
	for i, q := range table {
		switch {
		case q.Open != "":
			p[i] = 1
		case q.N < MinSeeds:
			p[i] = math.NaN()
		default:
			p[i] = min(1, q.P/share)
		}
	}
	for _, v := range others {
		p = append(p, min(1, v/share))
	}
	tests := 0
	for _, v := range p {
		if !math.IsNaN(v) {
			tests++
		}
	}
	if tests > 0 && tests < f.Least {
		p = append(p, slices.Repeat([]float64{1}, f.Least-tests)...)
		tests = f.Least
	}
	adjusted := Holm(p)
	judged := make([]Judgement, len(table))
	for i, q := range table {
		j := Judgement{NoDifference, adjusted[i], tests, f.Alpha, q.Why}
		switch {
		case q.Open != "":
			j.Verdict, j.P = q.Open, math.NaN()
		case q.N < MinSeeds:
			j.Verdict = NotEnough
		case adjusted[i] <= f.Alpha && !q.Interval.Contains(0) && q.Delta != 0:
			j.Verdict = Worse
			if (q.Delta > 0) == (q.Direction == metric.Up) {
				j.Verdict = Better
			}
			if q.Direction == metric.None {
				j.Verdict = Differs
			}
		case q.MinP*float64(tests)/share > f.Alpha && q.Delta != 0:
			j.Verdict = NotEnough
		}
		judged[i] = j
	}
	return judged, adjusted[len(table) : len(table)+len(others)]
}

// Reason says in one sentence what the verdict on c rests on.
func (j Judgement) Reason(c Comparison) string {
	switch {
	case j.Why != "":
		return j.Why
	case c.N < MinSeeds:
		return fmt.Sprintf("%d %s in common, and %d are the least", c.N, plural(c.N, "seed"), MinSeeds)
	case c.Test == SignFlips && c.Delta == 0:
		return fmt.Sprintf("no difference in any of %d seeds", c.N)
	case c.Test == SignFlips:
		return fmt.Sprintf("the same difference in all %d seeds, p = %s%s by sign flips", c.N, probability(j.P), j.after())
	}
	return fmt.Sprintf("%s over %d seeds, p = %s%s; %g %% interval by %s",
		c.Test, c.N, probability(j.P), j.after(), 100*c.Interval.Level, c.Interval.Method)
}

func (j Judgement) after() string {
	if j.Tests < 2 {
		return ""
	}
	return fmt.Sprintf(" after Holm over %d tests", j.Tests)
}

// probability writes a p-value with three decimals, or two digits where those would all be 0.
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
