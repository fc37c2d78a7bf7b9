package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

// reading opens the database, after marking runs whose process is gone.
func (a *app) reading(ctx context.Context, do func(*store.Reader) error) error {
	r, err := store.OpenReader(a.db)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Copied() {
		fmt.Fprintf(a.stderr, "%s is of an older tandem, or has views that are not tandem's: a copy is read that is brought up to date (of an older one, runner run and runner gc bring the file itself)\n", a.db)
	} else if dead, err := r.Dead(ctx); err == nil && len(dead) > 0 {
		// Without the right to write, or while another process writes, what is there is shown as it is.
		_ = store.MarkDeadNow(ctx, a.db)
	}
	return do(r)
}

func (a *app) listCommand() *cobra.Command {
	var f store.Filter
	c := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list runs, newest first", Args: args(cobra.NoArgs)}
	a.dbFlag(c)
	a.formatFlags(c, true)
	c.Flags().StringVar(&f.Experiment, "experiment", "", "only those of this experiment")
	c.Flags().StringVar(&f.Variant, "variant", "", "only those of this variant")
	c.Flags().StringVar(&f.Status, "status", "", "only running, done, failed, interrupted or stopped ones")
	c.Flags().IntVarP(&f.Limit, "limit", "n", 0, "at most so many")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.reading(c.Context(), func(r *store.Reader) error {
			if err := r.Check(c.Context(), f); err != nil {
				return err
			}
			list, err := report.NewRunWriter(a.stdout, a.format())
			if err != nil {
				return err
			}
			if err := r.EachRun(c.Context(), f, list.Add); err != nil {
				return err
			}
			return list.Close()
		})
	}
	return c
}

func (a *app) leaderboardCommand() *cobra.Command {
	var name, direction string
	var limit int
	c := &cobra.Command{
		Use: "leaderboard [EXPERIMENT]", Short: "list done runs by a metric, the best first", Args: args(cobra.MaximumNArgs(1)),
		Long: `List done runs by their last value of a metric, the best first; which way is better is declared (docs/results.md)
or said by --direction. Without --metric it is the one that decides in the experiment, or in all that have runs when
they agree. Tainted runs are left out.`,
		Example: "  runner leaderboard pooling -n 5\n  runner leaderboard --metric train/loss",
	}
	a.dbFlag(c)
	a.formatFlags(c, true)
	c.Flags().StringVar(&name, "metric", "", "the `metric` that ranks the runs, such as eval/emoji/top1")
	c.Flags().StringVar(&direction, "direction", "", "`way` in which the metric is good: up or down (default: as the spec says or is declared)")
	c.Flags().IntVarP(&limit, "limit", "n", 20, "at most so many; 0: all")
	c.RunE = func(c *cobra.Command, given []string) error {
		way := map[string]int{"": 0, "up": 1, "down": -1}
		if _, known := way[direction]; !known {
			return usage{fault.New(fault.Invalid, "unknown direction %q", direction).WithHint("up or down")}
		}
		return a.reading(c.Context(), func(r *store.Reader) error {
			var experiment string
			if len(given) > 0 {
				experiment = given[0]
			}
			names, err := r.Metrics(c.Context(), "")
			if err == nil {
				name, err = metric.Find(name, names)
			}
			if err != nil {
				return err
			}
			runs, err := r.Leaderboard(c.Context(), experiment, name, way[direction], limit)
			if err != nil {
				return err
			}
			return report.Runs(a.stdout, a.format(), runs)
		})
	}
	return c
}

func (a *app) showCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "show RUN", Short: "show all of a run", Args: args(cobra.ExactArgs(1)),
		Long: "Show all of a run. RUN is an id, a unique prefix of one, or latest.",
	}
	a.dbFlag(c)
	a.formatFlags(c, true)
	c.RunE = func(c *cobra.Command, given []string) error {
		return a.reading(c.Context(), func(r *store.Reader) error {
			id, err := r.FindRun(c.Context(), given[0])
			if err != nil {
				return err
			}
			d, err := r.Get(c.Context(), id)
			if err != nil {
				return err
			}
			return report.Show(a.stdout, a.format(), d)
		})
	}
	return c
}

func (a *app) compareCommand() *cobra.Command {
	c := &cobra.Command{Use: "compare RUN RUN…", Short: "compare runs: final metrics and the settings that differ", Args: args(cobra.MinimumNArgs(2))}
	a.dbFlag(c)
	a.formatFlags(c, true)
	c.RunE = func(c *cobra.Command, given []string) error {
		return a.reading(c.Context(), func(r *store.Reader) error {
			ids := make([]string, len(given))
			for i, ref := range given {
				var err error
				if ids[i], err = r.FindRun(c.Context(), ref); err != nil {
					return err
				}
			}
			comparison, err := r.Compare(c.Context(), ids...)
			if err != nil {
				return err
			}
			return report.Compare(a.stdout, a.format(), comparison)
		})
	}
	return c
}

func (a *app) queryCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "query SQL", Short: "query the database, read-only", Args: args(cobra.ExactArgs(1)),
		Long:    "Query the database with SQL, read-only. The views are described in docs/results.md.",
		Example: `  runner query "select experiment, variant, mean, std, n from v_seed_stats where metric like '%/top1'"`,
	}
	a.dbFlag(c)
	a.formatFlags(c, true)
	c.RunE = func(c *cobra.Command, given []string) error {
		return a.reading(c.Context(), func(r *store.Reader) error {
			var out *report.RowWriter
			err := r.Each(c.Context(), given[0], func(columns []string) (err error) {
				out, err = report.NewRowWriter(a.stdout, a.format(), columns)
				return err
			}, func(row []any) error { return out.Add(row) })
			if err != nil {
				return err
			}
			return out.Close()
		})
	}
	return c
}
