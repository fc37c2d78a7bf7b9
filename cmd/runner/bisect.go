package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/bisect"
	"tandem/core/experiment/schedule"
	"tandem/core/fault"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

func (a *app) pluginBisectCommand() *cobra.Command {
	var o bisect.Options
	var jobs int
	var level float64
	var noProgress bool
	c := &cobra.Command{
		Use: "bisect A B SPEC", Short: "compare two versions of a plugin by what a spec gives with each",
		Args: args(cobra.ExactArgs(3)),
		Long: `Compare two versions of one plugin: run a spec with either, under the same seeds, and say how a metric differs and from which
step on. A and B are paths, names of plugins that are found, or the beginnings of the digests of such.

The runs are an experiment of two variants, A being the baseline, in the database: the same command goes on with what was
interrupted or failed and starts nothing when all is done, and runner ablation and runner report show it too. An ablate
block of the spec is left out, but its seeds are taken.

Exit codes: 0 done, whatever differs; 1 a trial failed; 2 bad input; 130 interrupted.`,
		Example: "  runner plugin bisect ./build/vse losses/vse experiments/mine.yaml --metric top1 --seeds 5\n" +
			"  runner plugin bisect 1c02f6a9 ./vit experiments/mine.yaml --set train.max_steps=200",
	}
	set := a.setFlag(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&o.Metric, "metric", "", "the `metric` that decides, such as eval/emoji/top1 (default: the spec's)")
	c.Flags().IntVar(&o.Seeds, "seeds", 0, "how many `N` seeds each version has (default: those of the spec's ablate block, else 3)")
	c.Flags().Float64Var(&level, "level", 0.95, "`level` of the interval")
	c.Flags().IntVarP(&jobs, "jobs", "j", 1, "run `N` trials at a time")
	c.Flags().BoolVar(&noProgress, "no-progress", false, "no progress, only what is lasting")
	c.ValidArgsFunction = a.completeBisect
	c.RunE = func(c *cobra.Command, given []string) error {
		switch {
		case c.Flags().Changed("seeds") && o.Seeds < 1:
			return usage{fault.New(fault.Invalid, "--seeds %d: want at least 1", o.Seeds)}
		case jobs < 1:
			return usage{fault.New(fault.Invalid, "--jobs %d: want at least 1", jobs)}
		case !(level > 0 && level < 1):
			return usage{fault.New(fault.Invalid, "--level %g: want a number between 0 and 1", level)}
		}
		o.A, o.B, o.Spec, o.Set = given[0], given[1], given[2], *set
		plan, err := bisect.Plan(a.lab(), o)
		if err != nil {
			return err
		}
		for _, r := range plan.Remarks {
			a.say(r)
		}
		return a.runBisect(c.Context(), plan, jobs, level, !noProgress)
	}
	return c
}

// runBisect runs the trials of a comparison, and says what they show even where some failed.
func (a *app) runBisect(parent context.Context, plan *bisect.Comparison, jobs int, level float64, show bool) error {
	view := newSweepView(a.stderr, show)
	a.note = view.Note
	ctx, stop, end := interruptible(parent, func() {
		view.Note("stopping: every trial finishes its step and writes a checkpoint; Ctrl-C again stops at once")
	})
	defer end()
	outcome, err := schedule.Run(ctx, a.lab(), plan.Sweep, schedule.Options{Jobs: jobs}, stop, view)
	view.Close()
	a.note = nil
	if err != nil {
		return err
	}
	say(a.stderr, "%s\n\n", sweepSummary(plan.Sweep, outcome, time.Since(view.started)))
	if outcome.Interrupted {
		say(a.stderr, "the same command goes on with it\n")
		return errInterrupted
	}
	err = a.reading(context.Background(), func(r *store.Reader) error {
		found, err := plan.Report(context.Background(), r, level)
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, found)
		}
		return a.printBisect(found)
	})
	if failure := outcome.Failure(plan.Sweep); failure != nil {
		return failure
	}
	return err
}

func (a *app) printBisect(b *bisect.Report) error {
	say(a.stdout, "%s by %s\n  A  %s  %.12s  %s\n  B  %s  %.12s  %s\n\n", b.Plugin, b.Metric,
		b.A.Version, b.A.SHA256, b.A.Path, b.B.Version, b.B.SHA256, b.B.Path)
	value := func(v store.Number, state string) string {
		if math.IsNaN(float64(v)) {
			return state
		}
		return report.Metric(b.Metric, float64(v))
	}
	rows := make([][]any, len(b.Seeds))
	for i, s := range b.Seeds {
		first := "equal bits"
		switch {
		case s.First != nil:
			first = fmt.Sprintf("%s at step %d: %s, %s", s.First.Metric, s.First.Step, exactly(s.First.A), exactly(s.First.B))
		case s.Compared == 0:
			first = "–"
		}
		rows[i] = []any{s.Seed, value(s.A, s.StateA), value(s.B, s.StateB), value(s.Difference, "–"), first}
	}
	if err := report.Rows(a.stdout, report.Text, []string{"seed", "A", "B", "B − A", "first difference"}, rows); err != nil {
		return err
	}
	say(a.stdout, "\n")
	if b.N > 0 {
		text := fmt.Sprintf("B − A: %s over %d seeds", report.Metric(b.Metric, float64(b.Difference)), b.N)
		if !math.IsNaN(float64(b.Low)) {
			text += fmt.Sprintf(", %g %% interval %s … %s", 100*b.Level, report.Metric(b.Metric, float64(b.Low)), report.Metric(b.Metric, float64(b.High)))
		}
		say(a.stdout, "%s\n", text)
	}
	if b.Verdict != "" {
		say(a.stdout, "B is %s: %s\n", bisectVerdict(b.Verdict), b.Reason)
	}
	for _, n := range b.Notes {
		say(a.stdout, "%s\n", n)
	}
	say(a.stdout, "\nnext\n  %s ablation %s\n", program(), shellWord(b.Experiment))
	return nil
}

// bisectVerdict puts a verdict behind "B is".
func bisectVerdict(v string) string {
	switch v {
	case "better", "worse":
		return v + " than A"
	case "differs":
		return "different from A"
	}
	return "not told from A (" + v + ")"
}

// exactly writes a number such that another one has another text.
func exactly(v store.Number) string { return fmt.Sprintf("%.17g", float64(v)) }
