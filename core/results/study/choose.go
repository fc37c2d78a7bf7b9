package study

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// chooseMetrics returns the table's columns: those asked for, which may be named by the ends of their names; without any, the
// metric that decides and then the others of evaluations.
func chooseMetrics(ctx context.Context, src Source, e *store.Experiment, asked []string, recorded map[string]bool) ([]ablation.Metric, error) {
	names := metric.Names(recorded)
	chosen := make([]string, len(asked))
	for i, word := range asked {
		var err error
		if chosen[i], err = metric.Find(word, append(names, e.Metric)); err != nil {
			return nil, err
		}
	}
	for _, m := range chosen {
		if !recorded[m] && m != e.Metric {
			return nil, notFound(e.Name, "metric", m, names)
		}
	}
	compared := len(chosen)
	if compared == 0 {
		deciding := e.Metric
		if deciding == "" && len(names) > 0 {
			deciding = names[0]
		}
		if deciding == "" {
			return nil, fault.New(fault.NotFound, "experiment %s has recorded nothing yet", e.Name).WithHint("runner run SPEC fills its cells")
		}
		chosen, compared = []string{deciding}, 1
		for _, m := range names {
			if metric.IsEvaluation(m) && m != deciding {
				chosen = append(chosen, m)
			}
		}
	}
	directions, err := src.Directions(ctx)
	if err != nil {
		return nil, err
	}
	columns := make([]ablation.Metric, len(chosen))
	for i, m := range chosen {
		way := directions[m]
		if said, has := e.Settings.Directions[m]; has {
			way, _ = metric.ParseDirection(said)
		}
		columns[i] = ablation.Metric{Name: m, Direction: way, Compared: i < compared}
	}
	return columns, nil
}

// chooseVariants narrows an experiment to the variants asked for, and gives it the baseline asked for. Who chooses once results
// are there may choose by them: the table then corrects for all pairs of variants.
func chooseVariants(x *ablation.Experiment, o Options) (notes []string, err error) {
	var all []string
	for _, c := range x.Cells {
		if c.Variant != x.Noise && !slices.Contains(all, c.Variant) {
			all = append(all, c.Variant)
		}
	}
	for _, v := range append(slices.Clone(o.Variants), o.Baseline) {
		if v != "" && !slices.Contains(all, v) {
			return nil, notFound(x.Name, "variant", v, all)
		}
	}
	otherBaseline := o.Baseline != "" && o.Baseline != x.Baseline
	if otherBaseline {
		if x.Noise != "" {
			notes = append(notes, fmt.Sprintf("%s is left out: it repeats %s, which is not the baseline here.", x.Noise, x.Baseline))
		}
		x.Cells = slices.DeleteFunc(x.Cells, func(c ablation.Cell) bool { return x.Noise != "" && c.Variant == x.Noise })
		x.Baseline, x.Noise = o.Baseline, ""
	}
	if len(o.Variants) > 0 {
		x.Cells = slices.DeleteFunc(x.Cells, func(c ablation.Cell) bool {
			return c.Variant != x.Baseline && c.Variant != x.Noise && !slices.Contains(o.Variants, c.Variant)
		})
	}
	if x.Chosen = otherBaseline || len(o.Variants) > 0; x.Chosen {
		x.All = len(all)
		notes = append(notes, fmt.Sprintf("What is compared was chosen when the results were there, so Holm is over all %d pairs of %d variants.", x.All*(x.All-1)/2, x.All))
	}
	return notes, nil
}

// notFound reports a word that names nothing in an experiment, with the names that are there.
func notFound(experiment, what, word string, names []string) error {
	f := fault.New(fault.NotFound, "experiment %s has no %s %q", experiment, what, word).WithHint("it has %s", strings.Join(names, ", "))
	if near := fault.Nearest(word, names); near != "" {
		f.WithHint("did you mean %s?", near)
	}
	return f
}
