package ablation

import (
	"math"
	"runtime"
	"slices"
	"sync"

	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

// Predicted says what the tests on predictions are of.
type Predicted struct {
	Of       string // "emoji/label"
	Examples int
	Tests    int // variants with enough seeds for the test by seeds
}

// Prediction compares a variant's predictions with the baseline's, example by example.
type Prediction struct {
	Seeds   []SeedPrediction // that both have, ascending
	Crossed stat.Crossed
	// After Holm over the variants: that other seeds would say so on these examples, and that other examples would say so of
	// these models; BothP is the larger of the second and of the row's own P.
	SeedsP, ExamplesP, BothP float64
	// Verdict is the row's where other examples would say so too; NoDifference where that is not shown; the row's where it
	// claims nothing.
	Verdict stat.Verdict
}

// SeedPrediction holds McNemar's test of the two models of one seed. It is never summed over seeds: models of one variant
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
	for _, c := range a.doneCells(a.Baseline) {
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
	var tested []*Row
	for i := range a.Rows {
		r := &a.Rows[i]
		if r.Role != IsVariant || r.HasSame {
			continue
		}
		p := &Prediction{}
		var right, base [][]bool
		for _, c := range slices.SortedFunc(slices.Values(a.doneCells(r.Variant)), bySeedOrder) {
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
		tested = append(tested, r)
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

// judgePredictions adds to the verdicts of the rows whether other examples would say so too. It makes no verdict of its own:
// that other seeds would say so is the row's question and answer, and a second one beside it could contradict it.
func (a *analysis) judgePredictions(tested []*Row) {
	var examples, seeds []float64
	for _, r := range tested {
		p := r.Predictions
		examples = append(examples, p.Crossed.Examples.P)
		if len(p.Seeds) < stat.MinSeeds {
			seeds = append(seeds, math.NaN())
		} else {
			seeds = append(seeds, p.Crossed.Seeds.P)
			a.Table.Predicted.Tests++
		}
	}
	examples, seeds = stat.Holm(examples), stat.Holm(seeds)
	for i, r := range tested {
		p, j := r.Predictions, r.Columns[0].Judgement
		p.ExamplesP, p.SeedsP, p.BothP = examples[i], seeds[i], max(examples[i], j.P)
		if p.Verdict = j.Verdict; !j.Verdict.Claims() {
			continue
		}
		if len(p.Seeds) < stat.MinSeeds {
			p.Verdict = stat.NotEnough
			continue
		}
		higher := a.Metrics[0].Direction == metric.Up
		agrees := a.Metrics[0].Direction == metric.None || (p.Crossed.Delta > 0) == (r.Columns[0].Comparison.Delta > 0) == higher
		if !(p.ExamplesP <= a.Alpha && p.Crossed.Delta != 0 && agrees) {
			p.Verdict = stat.NoDifference
		}
	}
}
