package ablation

import (
	"testing"

	"tandem/core/results/stat"
)

// predicted gives each cell of a study right answers: the first so many of 40 examples.
func predicted(seeds int, right map[string]int) Experiment {
	values := make([]float64, seeds)
	variants := map[string][]float64{}
	for v := range right {
		if v != "baseline" {
			variants[v] = values
		}
	}
	e := study(values, variants)
	e.Predicted = "emoji/label"
	for i := range e.Cells {
		c := &e.Cells[i]
		c.Right, c.Examples = make([]bool, 40), 7
		for x := range right[c.Variant] {
			c.Right[(x+int(c.Seed))%40] = true
		}
		// Seeds differ a little, so that the t test has a spread.
		c.Values[top1] = float64(right[c.Variant])/40 + 0.001*float64(int(c.Seed)*right[c.Variant]%3)
	}
	return e
}

func TestPredictionsOfFewSeedsSayNothingOfOtherSeeds(t *testing.T) {
	table := analyse(t, predicted(3, map[string]int{"baseline": 10, "good": 30, "same": 10}))
	p := find(t, table, "good").Predictions
	if p.Verdict != stat.Better || p.ExamplesP > 0.001 || p.SeedsP < 0.05 || p.Crossed.Delta != 0.5 {
		t.Errorf("%+v", p)
	}
	if len(p.Seeds) != 3 || p.Seeds[1].Seed != 1 || p.Seeds[1].OnlyA != 20 || p.Seeds[1].OnlyB != 0 || p.Seeds[1].MidP > 1e-5 {
		t.Errorf("by seed %+v", p.Seeds)
	}
	if s := find(t, table, "same").Predictions; s.Verdict != stat.NoDifference || s.BothP != 1 {
		t.Errorf("same %+v", s)
	}
	if *table.Predicted != (Predicted{"emoji/label", 40, 2}) || find(t, table, "baseline").Predictions != nil {
		t.Errorf("%+v", table.Predicted)
	}
}

func TestPredictionsOfManySeedsAreJudgedAfterHolm(t *testing.T) {
	table := analyse(t, predicted(8, map[string]int{"baseline": 10, "bad": 2, "good": 30}))
	good, bad := find(t, table, "good").Predictions, find(t, table, "bad").Predictions
	if good.Verdict != stat.Better || bad.Verdict != stat.Worse || good.SeedsP != 2*good.Crossed.Seeds.P {
		t.Errorf("good %+v\nbad %+v", good, bad)
	}
}

func TestPredictionsOnOtherExamplesAreNotCompared(t *testing.T) {
	e := predicted(3, map[string]int{"baseline": 10, "good": 30})
	e.Cells[3].Examples = 8
	e.Cells[4].Right = nil
	table := analyse(t, e)
	p := find(t, table, "good").Predictions
	if len(p.Seeds) != 1 || p.Seeds[0].Seed != 2 || p.Verdict != stat.NotEnough || len(table.Notes) != 1 || table.Predicted.Tests != 0 {
		t.Errorf("%+v, %q", p, table.Notes)
	}
	e.Predicted = ""
	if table = analyse(t, e); table.Predicted != nil {
		t.Errorf("without predictions %+v", table.Predicted)
	}
}
