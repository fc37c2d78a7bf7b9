package ablation

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"sync"

	"tandem/core/results/stat"
)

// Noise holds the noise floor: what the baseline differs by from itself under other seeds.
type Noise struct {
	Variant string // the repeat
	stat.Noise
	Floor float64 // of as many seeds as the baseline has; NaN under three seeds in all
}

// repeatAlpha limits the p-value under which two sets of seeds of one variant are said to differ. They cannot differ, and a
// verdict at the table's alpha would be one more false verdict in twenty tables.
const repeatAlpha = 0.001

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
	n.Floor = n.Noise.Floor(len(first), len(first), a.Level)
	a.Table.Noise = n
	switch {
	case len(second) == 0:
		a.note("The noise floor is not known: %s has no finished seeds.", a.e.Noise)
	case math.IsNaN(n.Std):
		a.note("The noise floor is not known: not enough seeds to tell.")
	case n.P <= repeatAlpha:
		a.note("The baseline's two sets of seeds differ by more than seeds should (p = %.1g): did anything change between them?", n.P)
	}
}

// asked points at a comparison that the table makes.
type asked struct {
	row, metric int
	column      *Column
}

// compare sets the variants against the baseline, by seed, and judges all that the table tests together.
func (a *analysis) compare() {
	if !a.HasBaseline {
		a.judge(nil, nil)
		return
	}
	var all []asked
	for i := range a.Rows {
		r := &a.Rows[i]
		if r.Role != IsVariant || r.HasSame { // the same runs are one test
			continue
		}
		for j, m := range a.Metrics {
			if m.Compared {
				all = append(all, asked{i, j, &r.Columns[j]})
			}
		}
	}
	questions := a.questions(all)
	// Which variants keep all seeds under such a rule depends on their luck, and no width of an interval makes up for that.
	// A search stops its points only, and these are not compared.
	a.NoIntervals = a.e.Search == nil && (a.e.Stops || a.Gone[Stopped] > 0)
	baseline := a.Rows[0]
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, q := range all {
		slots <- struct{}{}
		wait.Go(func() {
			compared := stat.Compare(bySeed(q.column.Values), bySeed(baseline.Columns[q.metric].Values), a.Level, 0)
			q.column.Comparison = &compared
			<-slots
		})
	}
	wait.Wait()
	a.poolBlocks(all, questions)
	a.pairing(all)
	for i, q := range all {
		if a.NoIntervals || questions[i].Open == stat.Lost {
			without := q.column.Comparison.WithoutInterval()
			q.column.Comparison = &without
		}
		questions[i].Comparison = *q.column.Comparison
	}
	checked, more := a.check()
	a.judge(append(all, checked...), append(questions, more...))
	for i := range a.Rows {
		r := &a.Rows[i]
		for j := range r.Columns {
			c := &r.Columns[j]
			if same := a.row(r.Same); r.HasSame && same.Role == IsVariant {
				c.Comparison, c.Judgement = same.Columns[j].Comparison, same.Columns[j].Judgement
			}
			if j == 0 && c.Comparison != nil && a.Table.Noise != nil {
				c.Apart = c.Summary.Mean - baseline.Columns[0].Summary.Mean
				c.Floor = a.Table.Noise.Noise.Floor(c.Summary.N, baseline.Columns[0].Summary.N, a.Level)
			}
		}
	}
}

// questions returns the comparisons to be judged, each with what keeps it from that.
func (a *analysis) questions(all []asked) []stat.Question {
	questions := make([]stat.Question, len(all))
	for i, q := range all {
		m := a.Metrics[q.metric]
		questions[i].Direction = m.Direction
		questions[i].Open, questions[i].Why = a.open(a.Rows[q.row].Variant, func(c Cell) State { return state(c, m.Name) })
	}
	return questions
}

// poolBlocks makes the comparisons those of all blocks, where the table is analysed so.
func (a *analysis) poolBlocks(all []asked, questions []stat.Question) {
	a.Table.Analysis = cmp.Or(a.e.Analysis, Paired)
	if a.e.Analysis == "" && a.Effects.Crossed {
		a.Table.Analysis = Pooled
	}
	if a.Table.Analysis == Paired {
		return
	}
	for j := range a.Metrics {
		cells, at := []stat.BySeed{bySeed(a.Rows[0].Columns[j].Values)}, map[int]int{}
		for i, q := range all {
			if q.metric == j && questions[i].Open == "" {
				at[i] = len(cells)
				cells = append(cells, bySeed(q.column.Values))
			}
		}
		blocks := stat.NewBlocks(cells)
		if len(blocks.Seeds) < stat.MinSeeds {
			if len(at) > 0 {
				a.note("%s: fewer than %d seeds in common to all variants, so that their spread is not pooled.", a.Metrics[j].Name, stat.MinSeeds)
			}
			continue
		}
		for i, k := range at {
			pooled := blocks.Pooled(*all[i].column.Comparison, k, 0)
			all[i].column.Comparison = &pooled
		}
	}
}

// pairing measures what pairing is worth, from the comparisons of the deciding metric.
func (a *analysis) pairing(all []asked) {
	apart, paired := 0.0, 0.0
	a.Pairing.Share = math.NaN()
	for _, q := range all {
		if c := q.column.Comparison; q.metric == 0 && c.N >= stat.MinSeeds && c.Spread > 0 {
			apart, paired = apart+c.Spread, paired+c.Std*c.Std
			a.Pairing.Comparisons++
		}
	}
	if apart > 0 {
		a.Pairing.Share = 1 - paired/apart
	}
}

// judge gives the verdicts of comparisons and of the terms of a crossed analysis, with Holm over all of them.
func (a *analysis) judge(all []asked, questions []stat.Question) {
	f := stat.Family{Alpha: a.Alpha}
	if a.Look != nil {
		f.Share = a.Look.Share
	}
	if a.e.Chosen {
		compared := 0
		for _, m := range a.Metrics {
			if m.Compared {
				compared++
			}
		}
		if a.Table.Check != nil {
			compared++
		}
		f.Least = a.e.All * (a.e.All - 1) / 2 * compared
	}
	var terms []float64
	if a.Effects.Crossed {
		for _, t := range a.Effects.Terms {
			p := t.Term.P
			if t.Seeds < stat.MinSeeds {
				p = math.NaN()
			}
			terms = append(terms, p)
		}
	}
	judged, adjusted := f.Judge(questions, terms)
	for i, j := range judged {
		all[i].column.Judgement = &j
		a.Tests = j.Tests
	}
	for i, p := range adjusted {
		a.Effects.Terms[i].judge(p, a.Alpha)
	}
	if len(judged) == 0 {
		a.Tests = len(slices.DeleteFunc(terms, math.IsNaN))
	}
}

// row returns the row of a variant.
func (a *analysis) row(variant string) *Row {
	for i := range a.Rows {
		if a.Rows[i].Variant == variant {
			return &a.Rows[i]
		}
	}
	return &Row{}
}
