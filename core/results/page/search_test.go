package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
)

// searchTable is the table of a search of these points, confirmed under as many seeds as there are fresh values.
func searchTable(t *testing.T, points, fresh []float64) *ablation.Table {
	t.Helper()
	x := ablation.Experiment{Name: "s", Design: "search", Baseline: "baseline", Metrics: []ablation.Metric{{Name: "eval/emoji/top1", Direction: metric.Up}},
		Factors: []results.Factor{{Name: "lr"}}, Search: &ablation.Search{Of: 3}}
	add := func(variant, phase string, seed int64, value float64, level string) {
		x.Cells = append(x.Cells, ablation.Cell{Cell: results.Cell{Variant: variant, Seed: seed, Levels: map[string]string{"lr": level}, Planned: true, Done: true, RunID: fmt.Sprint(variant, seed), Status: "done", Phase: phase},
			Values: map[string]float64{"eval/emoji/top1": value}})
	}
	for i, v := range points {
		add(fmt.Sprintf("search-%d", i+1), results.Searched, 0, v, fmt.Sprint(i))
	}
	for i, v := range fresh {
		add("baseline", results.Confirming, int64(i+1), .2+.01*float64(i%2), "")
		add("winner", results.Confirming, int64(i+1), v, "1")
	}
	table, err := ablation.Analyse(x, .95)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestThePageOfASearchShowsTheBestSoFarAndWhatFreshSeedsLeaveOfIt(t *testing.T) {
	p := &Page{Table: searchTable(t, []float64{.3, .8, .5}, []float64{.61, .63, .62, .64})}
	if got, want := answer(p).Headline, "search-2: there, the best of 3 points, it had 80.0 %"; !strings.Contains(got, want) || !strings.HasPrefix(got, "winner is better") {
		t.Errorf("headline %q", got)
	}
	charts := newCharts(p)
	text, err := json.Marshal(charts.Points)
	if err != nil || len(charts.Variants) != 2 || !strings.Contains(string(text), `{"name":"search-3","levels":{"lr":"2"},"value":0.5,"best":0.8}`) {
		t.Errorf("%d variants, points %s (%v)", len(charts.Variants), text, err)
	}
	var page bytes.Buffer
	if err := Write(&page, p); err != nil || !strings.Contains(page.String(), `data-chart="search"`) {
		t.Errorf("the page has no chart of the search (%v)", err)
	}
}

func TestThePageOfASearchUnderWayClaimsNothing(t *testing.T) {
	p := &Page{Table: searchTable(t, []float64{.3, .8}, nil)}
	if got := answer(p).Headline; !strings.Contains(got, "search-2 is the best of 2 points") && !strings.Contains(got, "search-2 has the best mean") || !strings.Contains(got, "flatters") {
		t.Errorf("headline %q", got)
	}
}
