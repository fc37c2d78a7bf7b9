package study

import (
	"cmp"
	"context"
	"fmt"

	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// noteSelection warns where the evaluation of the deciding metric has selected trials or variants before: what it then says of
// them is no independent test.
func noteSelection(e *store.Experiment, deciding string) (notes []string) {
	evaluation := metric.Source(deciding)
	selects := func(name string) bool { return metric.IsEvaluation(name) && metric.Source(name) == evaluation }
	const remedy = "Let another evaluation, of a validation split, do that"
	if e.Settings.Stop != "" && selects(e.Settings.StopMetric) {
		notes = append(notes, fmt.Sprintf("%s also stopped trials early (%s, by %s): what went on was chosen on the examples that it is judged by. %s: stop.metric.",
			evaluation, e.Settings.Stop, e.Settings.StopMetric, remedy))
	}
	if e.Design == "random" && (e.Settings.Choose == "" || selects(e.Settings.Choose)) && metric.IsEvaluation(deciding) {
		notes = append(notes, fmt.Sprintf("%s also chooses the best of these variants, so that its own figure flatters it. %s: choose.", evaluation, remedy))
	}
	if e.Design == "search" && (e.Settings.Choose == "" || selects(e.Settings.Choose)) && metric.IsEvaluation(deciding) {
		notes = append(notes, fmt.Sprintf("%s also guided the search: fresh seeds do not undo that the winner was chosen on these examples. %s: choose.", evaluation, remedy))
	}
	if c := e.Settings.Choose; c != "" && !selects(c) {
		notes = append(notes, fmt.Sprintf("Variants are chosen by %s, and judged by %s.", c, deciding))
	}
	return notes
}

// noteTaints says of which cells only a tainted run is there, with each reason once.
func noteTaints(absent []ablation.Absent) (notes []string) {
	var reasons []string
	cells := map[string]int{}
	for _, a := range absent {
		if a.State != ablation.Tainted {
			continue
		}
		if cells[a.Note] == 0 {
			reasons = append(reasons, a.Note)
		}
		cells[a.Note]++
	}
	for _, reason := range reasons {
		what := "The run of 1 cell is tainted and counts"
		if n := cells[reason]; n > 1 {
			what = fmt.Sprintf("The runs of %d cells are tainted and count", n)
		}
		notes = append(notes, fmt.Sprintf("%s in nothing here: %s.", what, cmp.Or(reason, "no reason is recorded")))
	}
	return notes
}

// maxTwins limits how many pairs of runs are named that should be equal and are not.
const maxTwins = 3

// noteTwins warns of runs of one identity that differ in a compared metric.
func noteTwins(ctx context.Context, src Source, x ablation.Experiment) (notes []string, err error) {
	var names []string
	for _, m := range x.Metrics {
		if m.Compared || m.Name == x.Metrics[0].Name {
			names = append(names, m.Name)
		}
	}
	twins, err := src.Twins(ctx, x.Name, names)
	for i, t := range twins {
		if i == maxTwins {
			return append(notes, fmt.Sprintf("WARNING: %d more pairs of runs of one identity differ.", len(twins)-i)), err
		}
		notes = append(notes, fmt.Sprintf("WARNING: two runs of one identity differ in %s: %s, which is taken for %s under seed %d, has %g, and %s has %g. The same spec, plugins and seed promise equal bits: did the machine, its libraries or the data change?",
			t.Metric, t.RunID, cmp.Or(t.Variant, "–"), t.Seed, t.Value, t.Other, t.Was))
	}
	return notes, err
}
