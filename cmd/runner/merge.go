package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/task"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

func (a *app) mergeCommand() *cobra.Command {
	var o store.MergeOptions
	c := &cobra.Command{
		Use: "merge OTHER.db | BUNDLE", Short: "take the runs of another results database, or of a cluster's tasks, into this one", Args: args(cobra.ExactArgs(1)),
		Long: `Take the runs of another results database into that of --db, with their curves, predictions, events and
planned cells. OTHER is only read, and written by an older tandem is fine.

A run is known by its id: one that is not here is added, one that is further along there (done there and not here,
or written to later) is replaced, and one that a process makes just now, there or here, is left out. Merging again changes
nothing, and other runners may write meanwhile. The folders of runs are not copied: where the recorded folder
of a checkpoint is gone, it is looked for beside OTHER, in runs/.

BUNDLE is a folder that runner submit made: of each trial, the attempt that counts is taken. Trials that tasks make just now
are left out, or with --wait waited for.`,
		Example: "  runner merge laptop/results.db --dry-run\n  runner merge laptop/results.db\n  runner merge results/cluster/sweep-0123456789ab",
	}
	a.dbFlag(c)
	a.formatFlags(c, false)
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what would be done")
	lease := leaseFlag(c)
	wait := c.Flags().Bool("wait", false, "of a BUNDLE: wait for tasks that make trials just now, at most for a lease: a task that was killed counts as dead by then")
	c.Flags().StringVar(&o.RunsDir, "other-runs-dir", "", "`folder` of OTHER's runs (default: runs beside OTHER)")
	c.RunE = func(_ *cobra.Command, given []string) error {
		ctx, end := canceled()
		defer end()
		if terminal, _ := report.Terminal(a.stderr); terminal && !a.asJSON {
			o.Progress = func(done, of int) {
				if done%100 == 0 || done == of {
					fmt.Fprintf(a.stderr, "\r%d of %d runs\x1b[K", done, of)
				}
			}
			defer fmt.Fprint(a.stderr, "\r\x1b[K")
		}
		o.Waiting = a.say
		if bundle.IsBundle(given[0]) {
			return a.mergeBundle(ctx, given[0], *lease, *wait, o)
		}
		m, err := store.Merge(ctx, a.db, given[0], o)
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, m)
		}
		return a.printMerge(m)
	}
	return c
}

// mergeBundle merges what the tasks of a bundle have made.
func (a *app) mergeBundle(ctx context.Context, dir string, lease time.Duration, wait bool, o store.MergeOptions) error {
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	if lease, err = leaseOf(lease, b); err != nil {
		return err
	}
	g, err := task.Merge(ctx, b, a.db, task.MergeOptions{MergeOptions: o, Expiry: lease, Wait: wait}, thisOwner())
	if err != nil {
		return err
	}
	if a.asJSON {
		return report.Value(a.stdout, g)
	}
	say(a.stdout, "%s: there are results of %d of %d trials", b.Name(), g.Trials, len(b.Trials()))
	if g.Going > 0 {
		say(a.stdout, "; %d are left out, tasks make them just now: merge again when they have ended", g.Going)
	}
	fmt.Fprintln(a.stdout)
	return a.printMerge(g.Merged)
}

func (a *app) printMerge(m *store.Merged) error {
	if len(m.Runs) > 0 && m.DryRun {
		rows := make([][]any, len(m.Runs))
		for i, r := range m.Runs {
			rows[i] = []any{r.ID, r.Experiment, r.Variant, r.Seed, r.Status, strings.ReplaceAll(r.Action, "_", " ")}
		}
		if err := report.Rows(a.stdout, report.Text, []string{"run", "experiment", "variant", "seed", "status", ""}, rows); err != nil {
			return err
		}
	}
	would := ""
	if m.DryRun {
		would = "dry run, nothing is changed: "
	}
	say(a.stdout, "%s%d runs added, %d updated, %d unchanged; %d new experiments, %d new planned cells\n",
		would, m.Added, m.Updated, m.Unchanged, m.Experiments, m.Cells)
	for _, r := range m.Runs {
		if r.Owner != "" {
			say(a.stdout, "run %s is left out, %s makes it: merge again when it has ended\n", r.ID, r.Owner)
		}
	}
	for _, n := range m.Notes {
		say(a.stdout, "%s\n", n)
	}
	return nil
}
