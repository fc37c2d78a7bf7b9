package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"tandem/core/fault"
	"tandem/core/results/ablation"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/study"
)

func (a *app) ablationCommand() *cobra.Command {
	var format string
	var o study.Options
	var analysis string
	c := &cobra.Command{
		Use: "ablation [EXPERIMENT]", Short: "print an experiment as a table: variants, differences, tests", Args: args(cobra.MaximumNArgs(1)),
		Long: "Print an experiment as a table: what each variant reaches, its difference from the baseline paired by seed, and whether\n" +
			"other seeds would say so. Without EXPERIMENT, list the experiments. docs/results.md says how to read it.",
		Example:           "  runner ablation pooling\n  runner ablation pooling --metric eval/emoji/top1,train/loss --format latex",
		ValidArgsFunction: a.completeExperiment,
	}
	a.dbFlag(c)
	c.Flags().StringSliceVar(&o.Metrics, "metric", nil, "compare these `metrics`, the first decides (default: the experiment's own, the others of its evaluations beside it)")
	c.Flags().StringVar(&format, "format", string(report.Text), "text, markdown, latex, csv, json or html")
	c.Flags().Float64Var(&o.Level, "level", 0.95, "`level` of the intervals; at most 1 - level of all tables say anything false")
	c.Flags().StringVar(&o.Baseline, "baseline", "", "compare with this `variant` instead of the spec's baseline; Holm is then over all pairs")
	c.Flags().StringSliceVar(&o.Variants, "variants", nil, "show only these `variants` beside the baseline; Holm is then over all pairs")
	c.Flags().StringVar(&analysis, "analysis", "", "`how` the noise is known: paired, from each pair's seeds, or pooled, from all variants (default: the spec's)")
	_ = c.RegisterFlagCompletionFunc("format", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, f := range report.AblationFormats {
			names = append(names, string(f))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, given []string) error {
		o.Analysis = ablation.Analysis(analysis)
		if analysis != "" && o.Analysis != ablation.Paired && o.Analysis != ablation.Pooled {
			return usage{fault.New(fault.Invalid, "unknown analysis %q", analysis).WithHint("paired or pooled")}
		}
		if !slices.Contains(report.AblationFormats, report.Format(format)) {
			return usage{fault.New(fault.Invalid, "unknown output format %q", format).WithHint("text, markdown, latex, csv, json or html")}
		}
		return a.reading(c.Context(), func(r *store.Reader) error {
			if len(given) == 0 {
				return a.listExperiments(c.Context(), r, report.Format(format))
			}
			t, err := study.Table(c.Context(), r, given[0], o)
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
