package report

import (
	"bytes"
	"strings"
	"testing"

	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
)

// searchTable is the table of a search of three points, the last of which is the best and is confirmed under three seeds.
func searchTable(t *testing.T, confirmed bool) *ablation.Table {
	t.Helper()
	x := ablation.Experiment{Name: "s", Design: "search", Baseline: "baseline", Metrics: []ablation.Metric{{Name: "eval/emoji/mean_rank", Direction: metric.Down}},
		Factors: []results.Factor{{Name: "lr"}, {Name: "bias", Conditional: true}}, Search: &ablation.Search{Of: 4}}
	add := func(variant, phase string, seed int64, value float64, levels map[string]string) {
		x.Cells = append(x.Cells, ablation.Cell{Cell: results.Cell{Variant: variant, Seed: seed, Levels: levels, Planned: true, Done: true, RunID: variant, Status: "done", Phase: phase},
			Values: map[string]float64{"eval/emoji/mean_rank": value}})
	}
	best := map[string]string{"lr": "0.01"}
	add("search-1", results.Searched, 0, 20, map[string]string{"lr": "0.1", "bias": "-3"})
	add("search-2", results.Searched, 0, 25, map[string]string{"lr": "0.5"})
	add("search-3", results.Searched, 0, 10, best)
	for seed := range int64(3) {
		if confirmed {
			add("baseline", results.Confirming, seed+1, 30+float64(seed), nil)
			add("winner", results.Confirming, seed+1, 14+float64(seed), best)
		}
	}
	table, err := ablation.Analyse(x, .95)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestASearchIsReportedWithItsPointsAndWhatFreshSeedsLeave(t *testing.T) {
	var b bytes.Buffer
	if err := ablationTextAt(&b, searchTable(t, true), 0, false); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"search-3 is the best of 3 points, with 10.0", "under 3 fresh seeds it has 15.0, which is 5.0 worse", "winner (search-3) compared with baseline under fresh seeds",
		"search-1 0.1 -3 20.0 20.0", "search-2 0.5 — 25.0 20.0", "search-3 0.01 — 10.0 * 10.0", "— the factor does not apply",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if head, _, _ := strings.Cut(text, "Points of the search"); strings.Contains(head, "search-2") {
		t.Errorf("a point is among what is compared:\n%s", head)
	}
}

func TestASearchUnderWayIsReportedAsUnfinished(t *testing.T) {
	var b bytes.Buffer
	if err := ablationTextAt(&b, searchTable(t, false), 0, false); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"UNFINISHED: the search tried 3 points of 4", "until fresh seeds confirm it, this figure flatters it"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
