// Package study makes the table of an experiment from what was recorded of it: it reads the cells and their values, chooses the
// metrics and the variants that are compared, and has core/results/ablation analyse them.
package study

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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

// Study holds what was recorded of an experiment's cells.
type Study struct {
	src        Source
	experiment *store.Experiment
	cells      []ablation.Cell // with their final values
	recorded   map[string]bool // metrics
	unplanned  int             // cells that are left out: an earlier version of the spec planned them
}

// Read reads the experiment of a name. Errors: fault.NotFound when there is none.
func Read(ctx context.Context, src Source, name string) (*Study, error) {
	e, err := src.Experiment(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &Study{src: src, experiment: e}
	if err := s.addCells(ctx); err != nil {
		return nil, err
	}
	return s, s.addValues(ctx)
}

// Table reads the experiment of a name and analyses it. Errors: fault.NotFound for an experiment, a metric or a variant that is
// not there, and where nothing is recorded yet; fault.Invalid for a metric's name that means several.
func Table(ctx context.Context, src Source, name string, o Options) (*ablation.Table, error) {
	s, err := Read(ctx, src, name)
	if err != nil {
		return nil, err
	}
	return s.Table(ctx, o)
}

// Experiment returns what is known of the experiment beside its cells.
func (s *Study) Experiment() store.Experiment { return *s.experiment }

// Metrics returns the names of the metrics that a table may show: those that done cells have a value of, and the experiment's own.
func (s *Study) Metrics() []string {
	names := maps.Clone(s.recorded)
	if s.experiment.Metric != "" {
		names[s.experiment.Metric] = true
	}
	return metric.Names(names)
}

// Variants returns the variants that may be the baseline, in the order of the design.
func (s *Study) Variants() (all []string) {
	for _, c := range s.cells {
		if (c.Variant != s.experiment.Noise || c.Variant == "") && !slices.Contains(all, c.Variant) {
			all = append(all, c.Variant)
		}
	}
	return all
}

// Table analyses the study. Errors are those of Table, the function, but for an experiment that is not there.
func (s *Study) Table(ctx context.Context, o Options) (*ablation.Table, error) {
	e := s.experiment
	x := ablation.Experiment{Name: e.Name, Description: e.Description, Design: e.Design, Baseline: e.Baseline, Noise: e.Noise, Factors: e.Factors,
		Looks: e.Settings.Looks, Stops: e.Settings.Stop != "", Choose: e.Settings.Choose, Analysis: cmp.Or(o.Analysis, ablation.Analysis(e.Settings.Analysis)),
		Cells: slices.Clone(s.cells)}
	if q := e.Settings.Search; q != nil {
		x.Search = &ablation.Search{Of: q.Trials, Hours: q.Hours}
	}
	var err error
	if x.Metrics, err = chooseMetrics(ctx, s.src, e, o.Metrics, s.recorded); err != nil {
		return nil, err
	}
	if err := addChecks(ctx, s.src, e.Settings, &x); err != nil {
		return nil, err
	}
	if err := addOutcomes(ctx, s.src, &x); err != nil {
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
	if s.unplanned > 0 {
		notes = append(notes, fmt.Sprintf("%d cells that were run and are not planned any more are left out.", s.unplanned))
	}
	notes = append(notes, noteSelection(e, x.Metrics[0].Name)...)
	notes = append(notes, noteTaints(t.Absent)...)
	twins, err := noteTwins(ctx, s.src, x)
	t.Notes = slices.Concat(t.Notes, notes, twins)
	return t, err
}
