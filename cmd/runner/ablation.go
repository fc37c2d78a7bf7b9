package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/ablation"
	metrics "tandem/core/results/metric"
	"tandem/core/results/report"
	"tandem/core/results/stat"
	"tandem/core/results/store"
)

func (a *app) ablationCommand() *cobra.Command {
	var format string
	var o tableOptions
	c := &cobra.Command{
		Use: "ablation [EXPERIMENT]", Short: "print an experiment as a table: variants, differences, tests", Args: args(cobra.MaximumNArgs(1)),
		Long: "Print an experiment as a table: what each variant reaches, its difference from the baseline paired by seed, and whether\n" +
			"other seeds would say so. Without EXPERIMENT, list the experiments. docs/results.md says how to read it.",
		Example:           "  runner ablation pooling\n  runner ablation pooling --metric eval/emoji/top1,train/loss --format latex",
		ValidArgsFunction: a.completeExperiment,
	}
	a.dbFlag(c)
	c.Flags().StringSliceVar(&o.metrics, "metric", nil, "compare these `metrics`, the first decides (default: the experiment's own, the others of its evaluations beside it)")
	c.Flags().StringVar(&format, "format", string(report.Text), "text, markdown, latex, csv, json or html")
	c.Flags().Float64Var(&o.level, "level", 0.95, "`level` of the intervals; at most 1 - level of all tables say anything false")
	c.Flags().StringVar(&o.baseline, "baseline", "", "compare with this `variant` instead of the spec's baseline; Holm is then over all pairs")
	c.Flags().StringSliceVar(&o.variants, "variants", nil, "show only these `variants` beside the baseline; Holm is then over all pairs")
	c.Flags().StringVar(&o.analysis, "analysis", "", "`how` the noise is known: paired, from each pair's seeds, or pooled, from all variants (default: the spec's)")
	_ = c.RegisterFlagCompletionFunc("format", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, f := range report.AblationFormats {
			names = append(names, string(f))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, given []string) error {
		if o.analysis != "" && o.analysis != string(ablation.Paired) && o.analysis != string(ablation.Pooled) {
			return usage{fault.New(fault.Invalid, "unknown analysis %q", o.analysis).WithHint("paired or pooled")}
		}
		if !slices.Contains(report.AblationFormats, report.Format(format)) {
			return usage{fault.New(fault.Invalid, "unknown output format %q", format).WithHint("text, markdown, latex, csv, json or html")}
		}
		return a.reading(c.Context(), func(r *store.Reader) error {
			if len(given) == 0 {
				return a.listExperiments(c.Context(), r, report.Format(format))
			}
			t, err := ablationTable(c.Context(), r, given[0], o)
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

// tableOptions say what a table is to show.
type tableOptions struct {
	metrics  []string // compared, the first decides; none: the experiment's own decides, the others of its evaluations are beside it
	level    float64
	baseline string   // "": the experiment's own
	variants []string // besides the baseline; nil: all
	analysis string   // "": the experiment's own
}

// ablationTable reads an experiment and analyses it.
func ablationTable(ctx context.Context, r *store.Reader, name string, o tableOptions) (*ablation.Table, error) {
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
	for metric, said := range e.Settings.Directions {
		d, _ := metrics.ParseDirection(said)
		directions[metric] = d
	}
	x := ablation.Experiment{Name: e.Name, Description: e.Description, Design: e.Design, Baseline: e.Baseline, Noise: e.Noise,
		Looks: e.Settings.Looks, Stops: e.Settings.Stop != "", Choose: e.Settings.Choose, Analysis: ablation.Analysis(cmp.Or(o.analysis, e.Settings.Analysis))}
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
	if x.Metrics, err = chooseMetrics(e, o.metrics, recorded, directions); err != nil {
		return nil, err
	}
	if err := addChecks(ctx, r, e, &x); err != nil {
		return nil, err
	}
	if err := addOutcomes(ctx, r, &x); err != nil {
		return nil, err
	}
	notes, err := chooseVariants(&x, o)
	if err != nil {
		return nil, err
	}
	t, err := ablation.Analyse(x, o.level)
	if err != nil {
		return nil, err
	}
	if len(infos) < all {
		notes = append(notes, fmt.Sprintf("%d cells that were run and are not planned any more are left out.", all-len(infos)))
	}
	notes = append(notes, choosers(e, x.Metrics[0].Name)...)
	twins, err := twinNotes(ctx, r, x)
	t.Notes = append(append(t.Notes, notes...), twins...)
	return t, err
}

// addChecks adds what the cells had come to when trials might first have been stopped.
func addChecks(ctx context.Context, r *store.Reader, e *store.Experiment, x *ablation.Experiment) error {
	after, err := spec.ParseInterval(e.Settings.StopAfter)
	if e.Settings.StopAfter == "" || err != nil { // an experiment of an older version does not say
		return nil
	}
	points, err := r.FirstPoints(ctx, e.Name, x.Metrics[0].Name, after.Steps, after.Epochs)
	if err != nil {
		return err
	}
	x.Check = e.Settings.StopAfter
	if after.Epochs == 0 {
		x.Check = fmt.Sprintf("%d steps", after.Steps)
	}
	for _, p := range points {
		if i := slices.IndexFunc(x.Cells, func(c ablation.Cell) bool { return c.Variant == p.Variant && c.Seed == p.Seed }); i >= 0 {
			x.Cells[i].AtCheck = &ablation.AtStep{Step: p.Step, Value: p.Value}
		}
	}
	return nil
}

// chooseVariants narrows an experiment to what was asked for. What is chosen once results are there may be chosen by them.
func chooseVariants(x *ablation.Experiment, o tableOptions) (notes []string, err error) {
	var all []string
	for _, c := range x.Cells {
		if c.Variant != x.Noise && !slices.Contains(all, c.Variant) {
			all = append(all, c.Variant)
		}
	}
	for _, v := range append(slices.Clone(o.variants), o.baseline) {
		if v != "" && !slices.Contains(all, v) {
			f := fault.New(fault.NotFound, "experiment %s has no variant %q", x.Name, v).WithHint("it has %s", strings.Join(all, ", "))
			if near := fault.Near(v, all); near != "" {
				f.WithHint("did you mean %s?", near)
			}
			return nil, f
		}
	}
	other := o.baseline != "" && o.baseline != x.Baseline
	if other {
		if x.Noise != "" {
			notes = append(notes, fmt.Sprintf("%s is left out: it repeats %s, which is not the baseline here.", x.Noise, x.Baseline))
		}
		x.Cells = slices.DeleteFunc(x.Cells, func(c ablation.Cell) bool { return x.Noise != "" && c.Variant == x.Noise })
		x.Baseline, x.Noise = o.baseline, ""
	}
	if len(o.variants) > 0 {
		x.Cells = slices.DeleteFunc(x.Cells, func(c ablation.Cell) bool {
			return c.Variant != x.Baseline && c.Variant != x.Noise && !slices.Contains(o.variants, c.Variant)
		})
	}
	if x.Chosen = other || len(o.variants) > 0; x.Chosen {
		x.All = len(all)
		notes = append(notes, fmt.Sprintf("What is compared was chosen when the results were there, so Holm is over all %d pairs of %d variants.", x.All*(x.All-1)/2, x.All))
	}
	return notes, nil
}

// choosers say where what decides has chosen before: then it is not a test of what it chose.
func choosers(e *store.Experiment, deciding string) (notes []string) {
	set := func(metric string) string { return metric[:strings.LastIndexByte(metric, '/')+1] }
	same := func(metric string) bool { return strings.HasPrefix(metric, "eval/") && set(metric) == set(deciding) }
	const remedy = "Let another evaluation, of a validation split, do that"
	if e.Settings.Stop != "" && same(e.Settings.StopMetric) {
		notes = append(notes, fmt.Sprintf("%s also stopped trials early (%s, by %s): what went on was chosen on the examples that it is judged by. %s: stop.metric.",
			set(deciding)[:len(set(deciding))-1], e.Settings.Stop, e.Settings.StopMetric, remedy))
	}
	if e.Design == "random" && (e.Settings.Choose == "" || same(e.Settings.Choose)) && strings.HasPrefix(deciding, "eval/") {
		notes = append(notes, fmt.Sprintf("%s also chooses the best of these variants, so that its own figure flatters it. %s: choose.", set(deciding)[:len(set(deciding))-1], remedy))
	}
	if c := e.Settings.Choose; c != "" && !same(c) {
		notes = append(notes, fmt.Sprintf("Variants are chosen by %s, and judged by %s.", c, deciding))
	}
	return notes
}

// mostTwins is how many pairs of runs are named that should be equal and are not.
const mostTwins = 3

// twinNotes warn of runs of one identity that differ.
func twinNotes(ctx context.Context, r *store.Reader, x ablation.Experiment) (notes []string, err error) {
	var names []string
	for _, m := range x.Metrics {
		if m.Compared || m.Name == x.Metrics[0].Name {
			names = append(names, m.Name)
		}
	}
	twins, err := r.Twins(ctx, x.Name, names)
	for i, t := range twins {
		if i == mostTwins {
			return append(notes, fmt.Sprintf("WARNING: %d more pairs of runs of one identity differ.", len(twins)-i)), err
		}
		notes = append(notes, fmt.Sprintf("WARNING: two runs of one identity differ in %s: %s, which is taken for %s under seed %d, has %g, and %s has %g. The same spec, plugins and seed promise equal bits: did the machine, its libraries or the data change?",
			t.Metric, t.RunID, cmp.Or(t.Variant, "–"), t.Seed, t.Value, t.Other, t.Was))
	}
	return notes, err
}

func chooseMetrics(e *store.Experiment, asked []string, recorded map[string]bool, directions map[string]metrics.Direction) ([]ablation.Metric, error) {
	names := metrics.Names(recorded)
	compared := len(asked)
	asked = slices.Clone(asked)
	for i, m := range asked {
		var err error
		if asked[i], err = metrics.Find(m, append(names, e.Metric)); err != nil {
			return nil, err
		}
	}
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
		metrics[i] = ablation.Metric{Name: m, Direction: directions[m], Compared: i < compared}
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
