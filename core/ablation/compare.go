package ablation

import (
	"math"
	"runtime"
	"sync"

	"tandem/core/metric/stat"
)

// Noise is the noise floor: what the baseline differs by from itself under other seeds.
type Noise struct {
	Variant string // the repeat
	stat.Noise
	Floor float64 // of as many seeds as the baseline has; NaN under three seeds in all
}

// noise measures the floor, where the experiment repeats its baseline.
func (a *analysis) noise() {
	if a.e.Noise == "" || !a.HasBaseline {
		return
	}
	values := func(role Role) (v []float64) {
		for _, r := range a.Rows {
			if r.Role == role {
				v = append(v, bySeed(r.Columns[0].Values).Values()...)
			}
		}
		return v
	}
	first, second := values(IsBaseline), values(IsRepeat)
	n := &Noise{Variant: a.e.Noise, Noise: stat.NoiseOf(first, second)}
	n.Floor = n.Noise.Floor(len(first), a.Level)
	a.Table.Noise = n
	switch {
	case len(second) == 0:
		a.note("The noise floor is not known: %s has no finished seeds.", a.e.Noise)
	case math.IsNaN(n.Std):
		a.note("The noise floor is not known: not enough seeds to tell.")
	case n.P <= a.Alpha:
		a.note("The baseline's two sets of seeds differ by more than seeds should (p = %.2g): chance does that once in %.0f times, a change between them always.", n.P, 1/a.Alpha)
	}
}

// compare sets the variants against the baseline, by seed.
func (a *analysis) compare() {
	if !a.HasBaseline {
		return
	}
	baseline := a.Rows[0]
	var tested []*Column
	var goals []stat.Goal
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range a.Rows {
		r := &a.Rows[i]
		if r.Role != IsVariant || r.HasSame { // the same runs are one test
			continue
		}
		for j, m := range a.Metrics {
			if !m.Compared {
				continue
			}
			c := &r.Columns[j]
			tested, goals = append(tested, c), append(goals, m.Goal)
			slots <- struct{}{}
			wait.Go(func() {
				compared := stat.Compare(bySeed(c.Values), bySeed(baseline.Columns[j].Values), a.Level, 0)
				c.Comparison = &compared
				<-slots
			})
		}
	}
	wait.Wait()
	a.judge(tested, goals)
	for i := range a.Rows {
		r := &a.Rows[i]
		for j := range r.Columns {
			c := &r.Columns[j]
			if same := a.row(r.Same); r.HasSame && same.Role == IsVariant {
				c.Comparison, c.Judgement = same.Columns[j].Comparison, same.Columns[j].Judgement
			}
			if j == 0 && c.Comparison != nil && a.Table.Noise != nil {
				c.Floor = a.Table.Noise.Noise.Floor(c.Comparison.N, a.Level)
			}
		}
	}
}

// judge gives the verdicts of comparisons, with Holm over all of them whatever their goals.
func (a *analysis) judge(tested []*Column, goals []stat.Goal) {
	comparisons := make([]stat.Comparison, len(tested))
	for i, c := range tested {
		comparisons[i] = *c.Comparison
	}
	for _, goal := range []stat.Goal{stat.HigherIsBetter, stat.LowerIsBetter} {
		for i, j := range stat.Judge(comparisons, a.Alpha, goal) {
			if a.Tests = j.Tests; goals[i] == goal {
				tested[i].Judgement = &j
			}
		}
	}
}

// row is the row of a variant.
func (a *analysis) row(variant string) *Row {
	for i := range a.Rows {
		if a.Rows[i].Variant == variant {
			return &a.Rows[i]
		}
	}
	return &Row{}
}
