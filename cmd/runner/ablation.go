package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/ablation"
	"tandem/core/fault"
	"tandem/core/metric/stat"
	"tandem/core/report"
	"tandem/core/store"
)

func (a *app) ablationCommand() *cobra.Command {
	var metrics []string
	var format string
	var level float64
	c := &cobra.Command{
		Use: "ablation [EXPERIMENT]", Short: "print an experiment as a table: variants, differences, tests", Args: args(cobra.MaximumNArgs(1)),
		Long: "Print an experiment as a table: what each variant reaches, its difference from the baseline paired by seed, and whether\n" +
			"other seeds would say so. Without EXPERIMENT, list the experiments. docs/results.md says how to read it.",
		Example:           "  runner ablation pooling\n  runner ablation pooling --metric eval/emoji/top1,train/loss --format latex",
		ValidArgsFunction: a.completeExperiment,
	}
	a.dbFlag(c)
	c.Flags().StringSliceVar(&metrics, "metric", nil, "compare these `metrics`, the first decides (default: the experiment's own, the others of its evaluations beside it)")
	c.Flags().StringVar(&format, "format", string(report.Text), "text, markdown, latex, csv, json or html")
	c.Flags().Float64Var(&level, "level", 0.95, "`level` of the intervals; tests err in 1 - level of all tables at most")
	_ = c.RegisterFlagCompletionFunc("format", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, f := range report.AblationFormats {
			names = append(names, string(f))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, given []string) error {
		if !slices.Contains(report.AblationFormats, report.Format(format)) {
			return usage{fault.New(fault.Invalid, "unknown output format %q", format).WithHint("text, markdown, latex, csv, json or html")}
		}
		return a.reading(c.Context(), func(r *store.Reader) error {
			if len(given) == 0 {
				return a.listExperiments(c.Context(), r, report.Format(format))
			}
			t, err := ablationTable(c.Context(), r, given[0], metrics, level)
			if err != nil {
				return err
			}
			return report.Ablation(a.stdout, report.Format(format), t)
		})
	}
	return c
}

// listExperiments prints the experiments, newest first.
func (a *app) listExperiments(ctx context.Context, r *store.Reader, format report.Format) error {
	all, err := r.Overviews(ctx)
	if err != nil {
		return err
	}
	rows := make([][]any, len(all))
	for i, e := range all {
		rows[i] = []any{e.Name, e.Design, e.Variants, e.Seeds, e.Cells, e.Done, e.Metric, e.Description}
	}
	if format != report.JSON && format != report.CSV {
		format = report.Text
	}
	return report.Rows(a.stdout, format, []string{"experiment", "design", "variants", "seeds", "cells", "done", "metric", "description"}, rows)
}

// completeExperiment completes names of experiments.
func (a *app) completeExperiment(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	r, err := store.OpenReader(a.db)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer r.Close()
	names, _ := r.Experiments(c.Context())
	return names, cobra.ShellCompDirectiveNoFileComp
}

// ablationTable reads an experiment and analyses it. metrics are compared, the first decides; without any it is the
// experiment's own that decides, and the other metrics of evaluations are there beside it.
func ablationTable(ctx context.Context, r *store.Reader, name string, metrics []string, level float64) (*ablation.Table, error) {
	e, err := r.Experiment(ctx, name)
	if err != nil {
		return nil, err
	}
	infos, err := r.Cells(ctx, name)
	if err != nil {
		return nil, err
	}
	values, err := r.CellValues(ctx, name)
	if err != nil {
		return nil, err
	}
	directions, err := r.Directions(ctx)
	if err != nil {
		return nil, err
	}
	x := ablation.Experiment{Name: e.Name, Description: e.Description, Design: e.Design, Baseline: e.Baseline, Noise: e.Noise}
	for _, f := range e.Factors {
		x.Factors = append(x.Factors, stat.Factor(f))
	}
	type cell struct {
		variant string
		seed    int64
	}
	// What an earlier version of the spec planned is not part of the sweep any more.
	all := len(infos)
	if slices.ContainsFunc(infos, func(c store.CellInfo) bool { return c.Planned }) {
		infos = slices.DeleteFunc(infos, func(c store.CellInfo) bool { return !c.Planned })
	}
	at, recorded := map[cell]int{}, map[string]bool{}
	for i, c := range infos {
		at[cell{c.Variant, c.Seed}] = i
		x.Cells = append(x.Cells, ablation.Cell{Variant: c.Variant, Seed: c.Seed, Levels: c.Levels, RunID: c.RunID, Status: c.Status, Note: c.Note,
			Done: c.Done, Values: map[string]float64{}})
	}
	for _, v := range values {
		if i, found := at[cell{v.Variant, v.Seed}]; found {
			x.Cells[i].Values[v.Metric] = v.Value
			recorded[v.Metric] = true
		}
	}
	if x.Metrics, err = chooseMetrics(e, metrics, recorded, directions); err != nil {
		return nil, err
	}
	if err := addOutcomes(ctx, r, &x); err != nil {
		return nil, err
	}
	t, err := ablation.Analyse(x, level)
	if err == nil && len(infos) < all {
		t.Notes = append(t.Notes, fmt.Sprintf("%d cells that were run and are not planned any more are left out.", all-len(infos)))
	}
	return t, err
}

func chooseMetrics(e *store.Experiment, asked []string, recorded map[string]bool, directions map[string]float64) ([]ablation.Metric, error) {
	names := report.MetricNames(recorded)
	compared := len(asked)
	for _, m := range asked {
		if !recorded[m] && m != e.Metric {
			f := fault.New(fault.NotFound, "experiment %s has no metric %q", e.Name, m).WithHint("it has %s", strings.Join(names, ", "))
			if near := fault.Near(m, names); near != "" {
				f.WithHint("did you mean %s?", near)
			}
			return nil, f
		}
	}
	if compared == 0 {
		deciding := e.Metric
		if deciding == "" && len(names) > 0 {
			deciding = names[0]
		}
		if deciding == "" {
			return nil, fault.New(fault.NotFound, "experiment %s has recorded nothing yet", e.Name).WithHint("runner run SPEC fills its cells")
		}
		asked, compared = []string{deciding}, 1
		for _, m := range names {
			if strings.HasPrefix(m, "eval/") && m != deciding {
				asked = append(asked, m)
			}
		}
	}
	metrics := make([]ablation.Metric, len(asked))
	for i, m := range asked {
		metrics[i] = ablation.Metric{Name: m, Compared: i < compared}
		if directions[m] < 0 {
			metrics[i].Goal = stat.LowerIsBetter
		}
	}
	return metrics, nil
}

// addOutcomes gives the cells what they predicted right in the evaluation of the deciding metric.
func addOutcomes(ctx context.Context, r *store.Reader, x *ablation.Experiment) error {
	evaluation, found := strings.CutPrefix(x.Metrics[0].Name, "eval/")
	if !found {
		return nil
	}
	evaluation = evaluation[:max(0, strings.LastIndexByte(evaluation, '/'))]
	outcomes, err := r.Outcomes(ctx, x.Name, evaluation)
	if err != nil || len(outcomes) == 0 {
		return err
	}
	byRun := map[string]store.Outcome{}
	for _, o := range outcomes {
		if o.Target == outcomes[0].Target {
			byRun[o.RunID] = o
		}
	}
	x.Predicted = fmt.Sprintf("%s/%s", evaluation, outcomes[0].Target)
	for i := range x.Cells {
		if o, has := byRun[x.Cells[i].RunID]; has {
			x.Cells[i].Right, x.Cells[i].Examples = o.Right, o.Examples
		}
	}
	return nil
}
