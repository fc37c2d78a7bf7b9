package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/run"
	"tandem/core/experiment/task"
)

// taskCommand is what engines such as Slurm run on their nodes.
func (a *app) taskCommand() *cobra.Command {
	var o task.Options
	c := &cobra.Command{
		Use: "task BUNDLE", Short: "make trials of a bundle: what the tasks of runner submit run", Hidden: true, Args: args(cobra.ExactArgs(1)),
		Long: `Make trials of a bundle, one after another, until none is left that this task can have. Any number of tasks on any number of
machines may work on a bundle; the ledger in the shared folder says who has which trial. A signal (TERM, INT, USR2) has
the trial write a checkpoint and gives it back.

Exit codes: 0 nothing is left for this task, 1 a trial failed for good, 2 bad input, 130 interrupted.`,
		Example: "  runner task results/cluster/sweep-0123456789ab",
	}
	c.Flags().DurationVar(&o.Expiry, "lease", ledger.DefaultExpiry, "`age` of a task's last sign of life at which others take its trial; the same for all")
	c.Flags().IntVar(&o.Owner.Round, "round", 0, "`number` of the submission, by which failures are counted")
	c.Flags().IntVar(&o.Index, "index", 0, "`place` of this task among those of the bundle, from 0")
	c.Flags().IntVar(&o.Tasks, "tasks", 1, "`number` of the bundle's tasks")
	c.Flags().StringVar(&o.Owner.Task, "name", "", "`name` of this task that stays the same when the engine starts it again")
	c.RunE = func(c *cobra.Command, given []string) error { return a.runTask(c.Context(), given[0], o) }
	return c
}

func (a *app) runTask(parent context.Context, dir string, o task.Options) error {
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	o.Owner.Host, _ = os.Hostname()
	o.Owner.PID = os.Getpid()
	w := &taskWatcher{a: a, bundle: b}
	ctx, stop, end := interruptible(parent, func() { w.Note("stopping: the trial finishes its step, writes a checkpoint and is given back") })
	defer end()
	r, err := task.Run(ctx, b, o, stop, w)
	if err != nil {
		return err
	}
	w.Note(fmt.Sprintf("%d attempts, %d trials failed for good", r.Made, r.Failed))
	switch {
	case r.Interrupted:
		return errInterrupted
	case r.Failed > 0:
		return alreadySaid{exitFailed}
	}
	return nil
}

// taskWatcher writes what a task does, a line each, for the log of a batch job.
type taskWatcher struct {
	a      *app
	bundle *bundle.Bundle
}

// Note implements task.Watcher.
func (w *taskWatcher) Note(message string) {
	say(w.a.stderr, "%s %s\n", time.Now().Format("2006-01-02 15:04:05"), message)
}

// Trial implements task.Watcher.
func (w *taskWatcher) Trial(t bundle.Trial, attempt int, resumed bool) run.Watcher {
	how := ""
	if resumed {
		how = ", from its last checkpoint"
	}
	w.Note(fmt.Sprintf("trial %s (%s, seed %d): attempt %d%s", t.ID, t.Variant(), t.Seed, attempt, how))
	return newProgress(w.a.stderr, true)
}

// Ended implements task.Watcher.
func (w *taskWatcher) Ended(t bundle.Trial, o ledger.Outcome) {
	text := fmt.Sprintf("trial %s: %s", t.ID, o.Status)
	if o.Why != "" {
		text += " (" + o.Why + ")"
	}
	if o.Steps > 0 {
		text += ", step " + strconv.Itoa(o.Step) + " of " + strconv.Itoa(o.Steps)
	}
	if o.Message != "" {
		text += ": " + o.Message
	}
	w.Note(text)
	if o.Hint != "" {
		w.Note("  hint: " + o.Hint)
	}
}
