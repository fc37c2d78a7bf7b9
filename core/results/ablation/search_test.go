package ablation_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
)

// aSearch is a search of points of these values under seed 0, confirmed under seeds 1 to 3. NaN failed.
func aSearch(points []float64, baseline, winner []float64) ablation.Experiment {
	x := ablation.Experiment{Name: "s", Design: "search", Baseline: "baseline", Metrics: []ablation.Metric{{Name: "top1", Direction: metric.Up}},
		Factors: []results.Factor{{Name: "lr"}, {Name: "bias", Conditional: true}}, Search: &ablation.Search{Of: len(points)}}
	add := func(variant, phase string, seed int64, value float64, levels map[string]string) {
		c := ablation.Cell{Cell: results.Cell{Variant: variant, Seed: seed, Levels: levels, Planned: true, Done: true, RunID: fmt.Sprint(variant, seed), Status: "done", Phase: phase}, Values: map[string]float64{"top1": value}}
		if math.IsNaN(value) {
			c.Done, c.Status = false, "failed"
		}
		x.Cells = append(x.Cells, c)
	}
	best := 0
	for i, v := range points {
		add(fmt.Sprintf("search-%d", i+1), results.Searched, 0, v, map[string]string{"lr": fmt.Sprint(i)})
		if v > points[best] {
			best = i
		}
	}
	for i := range winner {
		add("baseline", results.Confirming, int64(i+1), baseline[i], nil)
		add("winner", results.Confirming, int64(i+1), winner[i], map[string]string{"lr": fmt.Sprint(best)})
	}
	return x
}

func TestOnlyFreshSeedsAreComparedInASearch(t *testing.T) {
	x := aSearch([]float64{.5, math.NaN(), .9, .6}, []float64{.40, .42, .41}, []float64{.70, .73, .71})
	x.Stops = true // points may be; what is compared is not
	table, err := ablation.Analyse(x, .95)
	if err != nil {
		t.Fatal(err)
	}
	s := table.Search
	if s.Tried != 4 || !s.Over || s.Lost != 1 || s.Best != "search-3" || s.Winner != "winner" || math.Abs(s.Shrunk-(.9-2.14/3)) > 1e-12 {
		t.Errorf("%+v", s)
	}
	var roles []string
	for _, r := range table.Rows {
		roles = append(roles, fmt.Sprint(r.Variant, " ", r.Role, " ", r.Rank))
		if (r.Columns[0].Comparison != nil) != (r.Variant == "winner") {
			t.Errorf("%s is compared: %v", r.Variant, r.Columns[0].Comparison)
		}
	}
	if got := strings.Join(roles, ", "); got != "baseline baseline 2, winner variant 1, search-1 trial 3, search-2 trial 0, search-3 trial 1, search-4 trial 2" {
		t.Errorf("rows %s", got)
	}
	if c := table.Rows[1].Columns[0].Comparison; c.N != 3 || math.Abs(c.Delta-.91/3) > 1e-12 || table.Tests != 1 || math.IsNaN(c.Interval.Low) {
		t.Errorf("%d tests, %+v", table.Tests, c)
	}
	if best := fmt.Sprint(s.Points[1].BestNow, s.Points[3].BestNow); best != "0.5 0.9" {
		t.Errorf("best so far %s", best)
	}
}

func TestASearchUnderWaySaysSo(t *testing.T) {
	x := aSearch([]float64{.5, .7}, nil, nil)
	x.Search.Of = 5
	table, err := ablation.Analyse(x, .95)
	if err != nil {
		t.Fatal(err)
	}
	if s := table.Search; s.Over || s.Tried != 2 || s.Best != "search-2" || s.Winner != "" || !math.IsNaN(s.Shrunk) {
		t.Errorf("%+v", s)
	}
}

func TestConditionalFactorsAreAnalysedWhereTheyApply(t *testing.T) {
	x := ablation.Experiment{Name: "g", Design: "grid", Baseline: "baseline", Metrics: []ablation.Metric{{Name: "top1", Direction: metric.Up}},
		Factors: []results.Factor{{Name: "loss", Levels: []string{"clip", "siglip"}}, {Name: "lr", Levels: []string{"1", "2"}}, {Name: "bias", Levels: []string{"0", "5"}, Conditional: true}}}
	for i, c := range []struct {
		variant string
		levels  map[string]string
	}{
		{"baseline", map[string]string{"loss": "clip", "lr": "1"}}, {"lr=2", map[string]string{"loss": "clip", "lr": "2"}},
		{"bias=0,loss=siglip", map[string]string{"loss": "siglip", "lr": "1", "bias": "0"}}, {"bias=5,loss=siglip", map[string]string{"loss": "siglip", "lr": "1", "bias": "5"}},
	} {
		for seed := range int64(3) {
			x.Cells = append(x.Cells, ablation.Cell{Cell: results.Cell{Variant: c.variant, Seed: seed, Levels: c.levels, Planned: true, Done: true, RunID: fmt.Sprint(i, seed), Status: "done"},
				Values: map[string]float64{"top1": float64(i) + .01*float64(seed*int64(i+1))}})
		}
	}
	table, err := ablation.Analyse(x, .95)
	if err != nil {
		t.Fatal(err)
	}
	if e := table.Effects; e.Crossed || len(e.Terms) != 1 || e.Terms[0].Name() != "lr" || !strings.Contains(e.Why, "some factors apply in some cells only") {
		t.Errorf("%+v", e)
	}
}
