package ablation

import (
	"math"
	"runtime"
	"slices"
	"sync"

	"tandem/core/metric/stat"
)

// Predicted says what the tests on predictions are of.
type Predicted struct {
	Of       string // "emoji/label"
	Examples int
	Tests    int // variants that Holm's correction is over
}

// Prediction compares a variant's predictions with the baseline's, example by example.
type Prediction struct {
	Seeds   []SeedPrediction // that both have, ascending
	Crossed stat.Crossed
	// After Holm over the table: that other seeds would say so on these examples, that other examples would say
	// so of these models, and both.
	SeedsP, ExamplesP, BothP float64
	Verdict                  stat.Verdict // of both
}

// SeedPrediction is McNemar's test of the two models of one seed. It is never summed over seeds: models of one variant
// find the same examples hard, so that a sum would take one example for several.
type SeedPrediction struct {
	Seed              int64
	stat.Disagreement // A is the variant's model, B the baseline's
}

// predictions tests right and wrong by example, in a table with a baseline and predictions.
func (a *analysis) predictions() {
	if !a.HasBaseline || a.e.Predicted == "" {
		return
	}
	baseline := map[int64]Cell{}
	var set int64
	examples, others := 0, 0
	for _, c := range a.done(a.Baseline) {
		if c.Right == nil {
			continue
		}
		if examples == 0 {
			set, examples = c.Examples, len(c.Right)
		}
		if c.Examples == set {
			baseline[c.Seed] = c
		} else {
			others++
		}
	}
	if examples == 0 {
		return
	}
	a.Table.Predicted = &Predicted{Of: a.e.Predicted, Examples: examples}
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var tested []*Prediction
	for i := range a.Rows {
		r := &a.Rows[i]
		if r.Role != IsVariant || r.HasSame {
			continue
		}
		p := &Prediction{}
		var right, base [][]bool
		for _, c := range slices.SortedFunc(slices.Values(a.done(r.Variant)), bySeedOrder) {
			b, both := baseline[c.Seed]
			switch {
			case c.Right == nil || !both:
			case c.Examples != set || len(c.Right) != examples:
				others++
			default:
				right, base = append(right, c.Right), append(base, b.Right)
				p.Seeds = append(p.Seeds, SeedPrediction{Seed: c.Seed})
			}
		}
		if len(right) == 0 {
			continue
		}
		r.Predictions = p
		tested = append(tested, p)
		slots <- struct{}{}
		wait.Go(func() {
			p.test(right, base)
			<-slots
		})
	}
	wait.Wait()
	a.judgePredictions(tested)
	for i := range a.Rows {
		if r := &a.Rows[i]; r.HasSame {
			r.Predictions = a.row(r.Same).Predictions
		}
	}
	if others > 0 {
		a.note("The predictions of %d cells are on other examples than the baseline's; they are not compared.", others)
	}
}

func bySeedOrder(x, y Cell) int {
	switch {
	case x.Seed < y.Seed:
		return -1
	case x.Seed > y.Seed:
		return 1
	}
	return 0
}

func (p *Prediction) test(right, base [][]bool) {
	p.Crossed, _ = stat.Permute(right, base, 0) // the shapes are equal
	for s := range right {
		p.Seeds[s].Disagreement = stat.McNemar(right[s], base[s])
	}
}

// judgePredictions corrects the tests of all variants with enough seeds, each question for itself.
func (a *analysis) judgePredictions(tested []*Prediction) {
	counted := slices.DeleteFunc(slices.Clone(tested), func(p *Prediction) bool { return len(p.Seeds) < stat.MinSeeds })
	a.Table.Predicted.Tests = len(counted)
	adjust := func(of []*Prediction, from func(*Prediction) float64, to func(*Prediction, float64)) {
		values := make([]float64, len(of))
		for i, p := range of {
			values[i] = from(p)
		}
		for i, v := range stat.Holm(values) {
			to(of[i], v)
		}
	}
	for _, p := range tested {
		p.SeedsP, p.BothP, p.Verdict = math.NaN(), math.NaN(), stat.NotEnough
	}
	adjust(tested, func(p *Prediction) float64 { return p.Crossed.Examples.P }, func(p *Prediction, v float64) { p.ExamplesP = v })
	adjust(counted, func(p *Prediction) float64 { return p.Crossed.Seeds.P }, func(p *Prediction, v float64) { p.SeedsP = v })
	adjust(counted, func(p *Prediction) float64 { return p.Crossed.P() }, func(p *Prediction, v float64) { p.BothP = v })
	for _, p := range counted {
		switch {
		case p.BothP <= a.Alpha && p.Crossed.Delta > 0:
			p.Verdict = stat.Better
		case p.BothP <= a.Alpha && p.Crossed.Delta < 0:
			p.Verdict = stat.Worse
		case p.Crossed.MinP()*float64(len(counted)) > a.Alpha && p.Crossed.Delta != 0:
		default:
			p.Verdict = stat.NoDifference
		}
	}
}
