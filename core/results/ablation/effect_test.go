package ablation

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/results"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

// grid makes pool × width over three seeds, where width adds and pool does nothing.
func grid(design string) Experiment {
	e := Experiment{Name: "g", Design: design, Baseline: "baseline", Metrics: []Metric{{Name: top1, Direction: metric.Up}},
		Factors: []results.Factor{{Name: "pool", Levels: []string{"attention", "average"}}, {Name: "width", Levels: []string{"32", "64", "96"}}}}
	noise := []float64{0.001, -0.002, 0.0015, 0.0005, -0.001, 0.002, -0.0005, 0.001, -0.0015}
	for i, pool := range e.Factors[0].Levels {
		for j, width := range e.Factors[1].Levels {
			name := "baseline"
			if i+j > 0 {
				name = "pool=" + pool + ",width=" + width
			}
			if design == "one-at-a-time" && i > 0 && j > 0 {
				continue
			}
			for seed := range 3 {
				e.Cells = append(e.Cells, Cell{Cell: results.Cell{Variant: name, Seed: int64(seed), Done: true, RunID: fmt.Sprint(name, seed), Levels: map[string]string{"pool": pool, "width": width}}, Values: map[string]float64{top1: 0.3 + 0.1*float64(j) + 0.02*float64(seed) + noise[(4*i+2*j+seed*(1+i+j))%9]}})
			}
		}
	}
	return e
}

func terms(e Effects) string {
	var all []string
	for _, t := range e.Terms {
		all = append(all, fmt.Sprintf("%s: %s", t.Name(), t.Verdict))
	}
	return strings.Join(all, "; ")
}

func TestAGridShowsFactorsAndInteractions(t *testing.T) {
	e := analyse(t, grid("grid")).Effects
	if got := terms(e); got != "pool: no effect shown; width: effect; pool × width: no effect shown" || !e.Crossed || e.Why != "" {
		t.Errorf("%s; %+v", got, e)
	}
	// Five rows and three terms are one family.
	table := analyse(t, grid("grid"))
	var p []float64
	for _, r := range table.Rows[1:] {
		p = append(p, r.Columns[0].Comparison.P)
	}
	for _, term := range e.Terms {
		p = append(p, term.Term.P)
	}
	for i, want := range stat.Holm(p)[5:] {
		if e.Terms[i].P != want || e.Terms[i].Levels != 6 || e.Terms[i].Seeds != 3 {
			t.Errorf("term %+v, want p %g", e.Terms[i], want)
		}
	}
	if c := table.Rows[1].Columns[0].Comparison; table.Tests != 8 || table.Analysis != Pooled || c.DF != 10 {
		t.Errorf("%d tests, %s, %+v", table.Tests, table.Analysis, c)
	}
}

func TestOneAtATimeAnalysesEachFactorByItself(t *testing.T) {
	table := analyse(t, grid("one-at-a-time"))
	e := table.Effects
	if got := terms(e); got != "pool: no effect shown; width: effect" || e.Crossed || e.Why != "" {
		t.Errorf("%s; %+v", got, e)
	}
	// Of two levels it is the paired t test, and one test has one verdict: that of its row.
	if j := find(t, table, "pool=average,width=32").Columns[0].Judgement; e.Terms[0].P != j.P || len(e.Terms[0].Rows) != 1 || len(e.Terms[1].Rows) != 2 || table.Tests != 3 {
		t.Errorf("%+v beside the row's %+v, %d tests", e.Terms[0], j, table.Tests)
	}
	if c := find(t, table, "pool=average,width=32").Columns[0].Comparison; math.Abs(c.P-e.Terms[0].Term.P) > 1e-9 {
		t.Errorf("p %g, by the t test %g", e.Terms[0].Term.P, c.P)
	}
}

func TestABrokenGridHasNoInteractionsAndSaysSo(t *testing.T) {
	g := grid("grid")
	g.Cells = g.Cells[:len(g.Cells)-3]
	e := analyse(t, g).Effects
	if e.Crossed || len(e.Terms) != 2 || !strings.Contains(e.Why, "not whole") {
		t.Errorf("%+v", e)
	}
}

func TestEffectsUseTheSeedsThatAllCellsHave(t *testing.T) {
	g := grid("grid")
	g.Cells = slices.Delete(g.Cells, 1, 2) // the baseline was never meant to have this seed
	e := analyse(t, g).Effects
	if got := terms(e); strings.Count(got, "not enough seeds to tell") != 3 || e.Terms[0].Seeds != 2 || !strings.Contains(e.Why, "2 of 3 seeds") || !math.IsNaN(e.Terms[1].P) {
		t.Errorf("%s; %+v", got, e)
	}
	g = grid("grid")
	for i := range g.Cells {
		g.Cells[i].Done = false
	}
	if e = analyse(t, g).Effects; len(e.Terms) != 0 || e.Why != "no cell is finished" {
		t.Errorf("nothing is done: %+v", e)
	}
}

func TestAGridThatLostSeedsIsNotAnalysedWhole(t *testing.T) {
	g := grid("grid")
	g.Cells[4].Done, g.Cells[4].Status = false, "failed"
	e := analyse(t, g).Effects
	if e.Crossed || !strings.Contains(e.Why, "not whole") || terms(e) != "pool: no effect shown; width: seeds lost, not judged" && terms(e) != "pool: no effect shown; width: effect" {
		t.Errorf("%s; %+v", terms(e), e)
	}
}

// same makes the cells of one combination the runs of another.
func same(e *Experiment, pool, width, asPool, asWidth string) {
	of := func(pool, width string, seed int64) *Cell {
		for i := range e.Cells {
			if c := &e.Cells[i]; c.Levels["pool"] == pool && c.Levels["width"] == width && c.Seed == seed {
				return c
			}
		}
		return nil
	}
	for seed := range int64(3) {
		to, from := of(pool, width, seed), of(asPool, asWidth, seed)
		to.RunID, to.Values = from.RunID, from.Values
	}
}

func TestARunCountsOnceInTheAnalysisOfVariance(t *testing.T) {
	g := grid("grid")
	for _, width := range g.Factors[1].Levels { // pool changes nothing
		same(&g, "average", width, "attention", width)
	}
	table := analyse(t, g)
	e := table.Effects
	if e.Crossed || terms(e) != "width: effect" || e.Terms[0].Residual.DF != 4 || table.Tests != 2 || !strings.Contains(e.Why, "pool changes nothing") {
		t.Errorf("%s of %d tests; %+v", terms(e), table.Tests, e)
	}
	g = grid("grid") // width changes nothing beside the average pool
	same(&g, "average", "64", "average", "32")
	same(&g, "average", "96", "average", "32")
	table = analyse(t, g)
	if e = table.Effects; e.Crossed || len(e.Terms) != 2 || table.Tests != 3 || !strings.Contains(e.Why, "same runs") {
		t.Errorf("%s of %d tests; %+v", terms(e), table.Tests, e)
	}
	g = grid("grid") // two of three widths are one
	for _, pool := range g.Factors[0].Levels {
		same(&g, pool, "96", pool, "64")
	}
	if e = analyse(t, g).Effects; !e.Crossed || e.Terms[1].DF != 1 || e.Terms[0].Residual.DF != 6 {
		t.Errorf("%+v", e)
	}
}

func TestALevelWithoutFinishedSeedsIsLeftOutAndNamed(t *testing.T) {
	o := grid("one-at-a-time")
	for i := range o.Cells {
		if o.Cells[i].Levels["width"] == "96" {
			o.Cells[i].Done = false
		}
	}
	e := analyse(t, o).Effects
	if len(e.Terms) != 2 || e.Terms[1].DF != 1 || !strings.Contains(e.Why, "width=96 is left out") {
		t.Errorf("%+v", e)
	}
}
