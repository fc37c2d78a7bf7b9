package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/fault"
	"tandem/core/results/board"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/top"
)

func (a *app) topCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "top [EXPERIMENT]", Short: "watch experiments in the terminal: cells, progress, failures", Args: args(cobra.MaximumNArgs(1)),
		Long: `Watch experiments in the terminal while they run: the list, the board of one with its variants and seeds, a run with its metrics and events.
It only reads. Keys: arrows move, Enter opens, Esc goes back, n goes to the next failure, ? lists all, q leaves.

Where the output is no terminal, and with --json, the board of EXPERIMENT is printed once.`,
		Example:           "  runner top\n  runner top pooling\n  runner top pooling --json",
		ValidArgsFunction: a.completeExperiment,
	}
	a.dbFlag(c)
	a.formatFlags(c, false)
	c.RunE = func(c *cobra.Command, given []string) error {
		ctx, end := canceled()
		defer end()
		experiment := ""
		if len(given) == 1 {
			experiment = given[0]
		}
		return a.reading(ctx, func(r *store.Reader) error {
			terminal, _ := report.Terminal(a.stdout)
			if terminal && !a.asJSON {
				return a.watchTop(ctx, r, experiment)
			}
			if experiment == "" {
				return usage{fault.New(fault.Invalid, "runner top shows the list of experiments on a terminal only").
					WithHint("name an experiment, or use runner ablation, which lists them")}
			}
			b, err := board.Read(ctx, r, experiment)
			if err != nil {
				return err
			}
			if a.asJSON {
				return report.Value(a.stdout, boardValue(b))
			}
			return top.Print(a.stdout, b)
		})
	}
	return c
}

// watchTop shows experiments on the terminal until q or Ctrl-C.
func (a *app) watchTop(ctx context.Context, r *store.Reader, experiment string) error {
	if experiment != "" {
		if _, err := r.Experiment(ctx, experiment); err != nil {
			return err
		}
	}
	r.Rest(time.Second) // a connection that stays open keeps the log beside the database
	last := store.MarkOf(a.db)
	changed := func() bool {
		was := last
		last = store.MarkOf(a.db)
		return last != was
	}
	return top.Run(ctx, r, top.Options{Name: a.db, Experiment: experiment, Changed: changed, In: os.Stdin, Out: a.stdout})
}

// boardValue returns a board as JSON shows it: times in seconds, and null for what is not known.
func boardValue(b *board.Board) map[string]any {
	seconds := func(d time.Duration) any {
		if d < 0 {
			return nil
		}
		return d.Seconds()
	}
	cells := []map[string]any{}
	for _, r := range b.Rows {
		for _, c := range r.Cells {
			if c.State == "" {
				continue
			}
			cells = append(cells, map[string]any{"variant": r.Variant, "seed": c.Seed, "state": c.State, "run_id": c.Run, "note": c.Note, "step": c.Step, "steps": c.Steps,
				"took_s": seconds(c.Took), "remaining_s": seconds(c.Remaining), "value": c.Value, "silent": c.Silent, "host": c.Host})
		}
	}
	return map[string]any{"experiment": b.Name, "metric": b.Metric, "baseline": b.Baseline, "counts": b.Counts, "planned": b.Cells, "missing": b.Missing,
		"remaining_s": seconds(b.Remaining), "cells": cells}
}
