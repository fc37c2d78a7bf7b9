package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/assess"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

func (a *app) evalCommand() *cobra.Command {
	var o assess.Options
	var suite, benchmark, features string
	c := &cobra.Command{
		Use:   "eval RUN | EXPERIMENT",
		Short: "evaluate checkpoints of runs by a suite",
		Long: `Evaluate checkpoints of a run, or of every run of an experiment, by the evaluations of a suite (--suite FILE, see
experiments/suites), or by those of the run's own spec. What is found is recorded beside the run, at the step of the checkpoint:
show, leaderboard, compare, ablation and report then have it as eval/NAME/…. What is recorded already is not computed again,
unless --again asks for it. Ctrl-C keeps every evaluation that is complete.`,
		Example: "  runner eval latest --suite experiments/suites/emoji.yaml\n  runner eval pooling --suite suite.yaml && runner ablation pooling --metric eval/emoji-groups/top1",
		Args:    args(cobra.ExactArgs(1)),
	}
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&suite, "suite", "", "the `file` of a suite (default: the run's own evaluations)")
	c.Flags().StringVar(&o.Checkpoint, "checkpoint", assess.Last, "`which`: last, all, best (by the metric that decides) or a step")
	c.Flags().StringVar(&o.Weights, "weights", "", "`which`: live, ema (averaged, train.ema) or both (default: both where a run keeps averages)")
	c.Flags().BoolVar(&o.Again, "again", false, "compute also what is recorded already, and replace it")
	c.Flags().StringVar(&benchmark, "clip-benchmark", "", "write the figures into a `folder` too, as CLIP_benchmark's JSON files")
	c.Flags().StringVar(&features, "features", "", "write the features into a `folder` too, as .safetensors files; everything is then computed")
	c.ValidArgsFunction = a.completeEval
	_ = c.RegisterFlagCompletionFunc("suite", a.completeSpec)
	_ = c.RegisterFlagCompletionFunc("checkpoint", cobra.FixedCompletions([]string{assess.Last, assess.All, assess.Best}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("weights", cobra.FixedCompletions([]string{assess.Live, assess.EMA, assess.Both}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(_ *cobra.Command, given []string) (err error) {
		if !slices.Contains([]string{"", assess.Live, assess.EMA, assess.Both}, o.Weights) {
			return usage{fault.New(fault.Invalid, "unknown weights %q", o.Weights).WithHint("live, ema or both")}
		}
		if suite != "" {
			if o.Suite, err = spec.LoadSuite(suite, spec.Options{Catalog: assemble.NewCatalog(a.catalog)}); err != nil {
				return err
			}
		}
		o.Version, o.Keep = version, features != ""
		ctx, end := canceled()
		defer end()
		runs, err := a.runsOf(ctx, given[0])
		if err != nil {
			return err
		}
		for _, dir := range []string{benchmark, features} {
			if dir != "" {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return fault.New(fault.Unavailable, "%w", err).WithHint("name a folder that can be written into")
				}
			}
		}
		results, err := a.evaluate(ctx, runs, o)
		if benchmark != "" && len(results) > 0 {
			err = a.written(assess.WriteBenchmarks(benchmark, results))(err)
		}
		if features != "" && len(results) > 0 {
			err = a.written(assess.WriteFeatures(features, results))(err)
		}
		if len(results) > 0 || err == nil {
			if said := a.sayResults(results); err == nil {
				err = said
			}
		}
		return err
	}
	return c
}

// written says which files were written, and returns what becomes of an error before.
func (a *app) written(paths []string, failed error) func(before error) error {
	for _, p := range paths {
		a.say(p)
	}
	return func(before error) error {
		if before == nil {
			return failed
		}
		return before
	}
}

// runsOf returns the runs that a word names: one run, or those that fill the cells of an experiment.
func (a *app) runsOf(ctx context.Context, word string) (runs []string, err error) {
	err = a.reading(ctx, func(r *store.Reader) error {
		id, err := r.FindRun(ctx, word)
		if err == nil {
			runs = []string{id}
			return nil
		}
		if fault.KindOf(err) != fault.NotFound {
			return err
		}
		if _, other := r.Experiment(ctx, word); other != nil {
			names, _ := r.Experiments(ctx)
			f := fault.New(fault.NotFound, "%s has no run and no experiment %q", a.db, word).WithHint("runner list shows all runs")
			if near := fault.Nearest(word, names); near != "" {
				f.WithHint("did you mean %s?", near)
			}
			return f
		}
		cells, err := r.Cells(ctx, word)
		for _, cell := range cells {
			if cell.RunID != "" && !slices.Contains(runs, cell.RunID) {
				runs = append(runs, cell.RunID)
			}
		}
		if err == nil && len(runs) == 0 {
			err = fault.New(fault.NotFound, "experiment %s has no runs", word)
		}
		return err
	})
	return runs, err
}

// evaluate evaluates runs, one after another. A run of several that cannot be evaluated is told of and does not keep the others
// from it.
func (a *app) evaluate(ctx context.Context, runs []string, o assess.Options) (all []assess.Result, err error) {
	w := newProgress(a.stderr, true)
	defer w.Close()
	failed := 0
	for i, id := range runs {
		prefix := ""
		if len(runs) > 1 {
			prefix = fmt.Sprintf("run %d of %d (%s): ", i+1, len(runs), id)
		}
		results, err := assess.Evaluate(ctx, a.lab(), id, o, evalWatcher{w, prefix})
		all = append(all, results...)
		if err == nil {
			continue
		}
		if len(runs) == 1 || ctx.Err() != nil {
			return all, err
		}
		failed++
		w.Say("%serror: %s", prefix, fault.Format(err))
	}
	if known := len(slices.DeleteFunc(slices.Clone(all), func(r assess.Result) bool { return !r.Known })); known > 0 {
		w.Say("%d of %d evaluations are recorded already and were not computed again (--again does)", known, len(all))
	}
	if failed > 0 {
		w.Say("%d of %d runs were not evaluated", failed, len(runs))
		return all, alreadySaid{exitFailed}
	}
	return all, nil
}

// evalWatcher shows how evaluations go.
type evalWatcher struct {
	*progress
	prefix string
}

// Doing implements assemble.Watcher.
func (e evalWatcher) Doing(what string) {
	if what != "" {
		what = e.prefix + what
	}
	e.progress.Doing(what)
}

// Measured implements assess.Watcher.
func (e evalWatcher) Measured(r assess.Result) {
	if !r.Known {
		e.Evaluated(r.Step, e.prefix+r.Evaluation, r.Metrics)
	}
}

// sayResults prints a table of results, or JSON.
func (a *app) sayResults(results []assess.Result) error {
	if a.asJSON {
		type row struct {
			assess.Result
			Metrics map[string]*float64 `json:"metrics"`
		}
		rows := make([]row, len(results))
		for i, r := range results {
			rows[i] = row{r, map[string]*float64{}}
			for _, m := range r.Metrics {
				if v := m.Value; math.IsNaN(v) || math.IsInf(v, 0) {
					rows[i].Metrics[m.Name] = nil
				} else {
					rows[i].Metrics[m.Name] = &v
				}
			}
		}
		return report.Value(a.stdout, rows)
	}
	columns := []string{"run", "variant", "seed", "step", "evaluation"}
	found := map[string]bool{}
	for _, r := range results {
		for _, m := range r.Metrics {
			if metric.IsHeadline(m.Name) {
				found[metric.Measure(m.Name)] = true
			}
		}
	}
	var measures []string
	for name := range found {
		measures = append(measures, name)
	}
	slices.SortFunc(measures, func(x, y string) int { return metric.Compare(metric.Evaluated("e", x), metric.Evaluated("e", y)) })
	rows := make([][]any, len(results))
	for i, r := range results {
		row := []any{r.Run, r.Variant, r.Seed, r.Step, r.Evaluation}
		for _, name := range measures {
			var cell any
			for _, m := range r.Metrics {
				if metric.Measure(m.Name) == name {
					cell = report.Metric(m.Name, m.Value)
				}
			}
			row = append(row, cell)
		}
		rows[i] = row
	}
	return report.Rows(a.stdout, report.Text, append(columns, measures...), rows)
}

// completeEval completes runs and experiments.
func (a *app) completeEval(c *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	runs, _ := a.completeRun(c, nil, begun)
	experiments, directive := a.completeExperiment(c, nil, begun)
	return append(experiments, runs...), directive
}
