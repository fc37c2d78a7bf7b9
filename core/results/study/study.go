// Package study makes the table of an experiment from what was recorded of it: it reads the cells and their values, chooses the
// metrics and the variants that are compared, and has core/results/ablation analyse them.
package study

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// Source gives what was recorded of an experiment; a store.Reader does.
type Source interface {
	Experiment(ctx context.Context, name string) (*store.Experiment, error)
	Cells(ctx context.Context, experiment string) ([]results.Cell, error)
	CellValues(ctx context.Context, experiment string) ([]store.CellValue, error)
	Directions(ctx context.Context) (map[string]metric.Direction, error)
	FirstPoints(ctx context.Context, experiment, metric string, steps int, epochs float64) ([]store.CellPoint, error)
	Outcomes(ctx context.Context, experiment, evaluation string) ([]store.Outcome, error)
	Twins(ctx context.Context, experiment string, metrics []string) ([]store.Twin, error)
}

var _ Source = (*store.Reader)(nil)

// Options says what a table shows. The zero value of all fields but Level is what the experiment's spec asks for.
type Options struct {
	// Metrics are compared with the baseline, and the first decides. Without any, the experiment's own decides and is compared,
	// and the others of its evaluations stand beside it.
	Metrics  []string
	Level    float64 // of the intervals: 0.95
	Baseline string
	Variants []string // to show beside the baseline; nil: all
	Analysis ablation.Analysis
}

// Table reads the experiment of a name and analyses it. Errors: fault.NotFound for an experiment, a metric or a variant that is
// not there, and where nothing is recorded yet; fault.Invalid for a metric's name that means several.
func Table(ctx context.Context, src Source, name string, o Options) (*ablation.Table, error) {
	e, err := src.Experiment(ctx, name)
	if err != nil {
		return nil, err
	}
	x := ablation.Experiment{Name: e.Name, Description: e.Description, Design: e.Design, Baseline: e.Baseline, Noise: e.Noise, Factors: e.Factors,
		Looks: e.Settings.Looks, Stops: e.Settings.Stop != "", Choose: e.Settings.Choose, Analysis: cmp.Or(o.Analysis, ablation.Analysis(e.Settings.Analysis))}
	if q := e.Settings.Search; q != nil {
		x.Search = &ablation.Search{Of: q.Trials, Hours: q.Hours}
	}
	unplanned, err := addCells(ctx, src, &x)
	if err != nil {
		return nil, err
	}
	recorded, err := addValues(ctx, src, &x)
	if err != nil {
		return nil, err
	}
	if x.Metrics, err = chooseMetrics(ctx, src, e, o.Metrics, recorded); err != nil {
		return nil, err
	}
	if err := addChecks(ctx, src, e.Settings, &x); err != nil {
		return nil, err
	}
	if err := addOutcomes(ctx, src, &x); err != nil {
		return nil, err
	}
	notes, err := chooseVariants(&x, o)
	if err != nil {
		return nil, err
	}
	t, err := ablation.Analyse(x, o.Level)
	if err != nil {
		return nil, err
	}
	if unplanned > 0 {
		notes = append(notes, fmt.Sprintf("%d cells that were run and are not planned any more are left out.", unplanned))
	}
	notes = append(notes, noteSelection(e, x.Metrics[0].Name)...)
	notes = append(notes, noteTaints(t.Absent)...)
	twins, err := noteTwins(ctx, src, x)
	t.Notes = slices.Concat(t.Notes, notes, twins)
	return t, err
}
