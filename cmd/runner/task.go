package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/run"
	"tandem/core/experiment/slurm"
	"tandem/core/experiment/task"
	"tandem/core/fault"
)

// taskFlags holds the flags of task that are not the task's own.
type taskFlags struct {
	engine string        // slurm, or "": the flags say which task this is
	lead   time.Duration // how long before the end of its time the engine tells the task
}

// taskCommand is what engines such as Slurm run on their nodes.
func (a *app) taskCommand() *cobra.Command {
	var o task.Options
	var f taskFlags
	c := &cobra.Command{
		Use: "task BUNDLE", Short: "make trials of a bundle: what the tasks of runner submit run", Hidden: true, Args: args(cobra.ExactArgs(1)),
		Long: `Make trials of a bundle, one after another, until none is left that this task can have. Any number of tasks on any number of
machines may work on a bundle; the ledger in the shared folder says who has which trial. SIGTERM, SIGUSR2 and Ctrl-C have
the trial write a checkpoint and give it back; a second Ctrl-C ends it at once.

Exit codes: 0 nothing is left for this task, 1 a trial failed for good, 2 bad input, 130 interrupted.`,
		Example: "  runner task results/cluster/sweep-0123456789ab",
	}
	lease := leaseFlag(c)
	c.Flags().IntVar(&o.Owner.Round, "round", 0, "`number` of the submission, by which failures are counted")
	c.Flags().IntVar(&o.Index, "index", 0, "`place` of this task among those of the bundle, from 0")
	c.Flags().IntVar(&o.Tasks, "tasks", 1, "`number` of the bundle's tasks")
	c.Flags().StringVar(&o.Owner.Task, "name", "", "`name` of this task, the same when the engine starts it again")
	c.Flags().StringVar(&f.engine, "engine", "", "slurm: the array that this process is a task of says index, name and end")
	c.Flags().DurationVar(&f.lead, "lead", slurm.Lead, "`time` before its end at which the engine sends SIGUSR2")
	c.RunE = func(c *cobra.Command, given []string) error {
		o.Expiry = *lease
		return a.runTask(c.Context(), given[0], o, f)
	}
	return c
}

// leaseFlag gives a command the flag that all who work on a bundle share.
func leaseFlag(c *cobra.Command) *time.Duration {
	return c.Flags().Duration("lease", 0, fmt.Sprintf("`age` of a task's last sign of life at which it counts as dead (default: what the bundle was submitted with, else %v)", ledger.DefaultExpiry))
}

// leaseOf returns the lease that a flag gives, or else what a bundle was submitted with.
func leaseOf(given time.Duration, b *bundle.Bundle) (time.Duration, error) {
	if given > 0 {
		return given, nil
	}
	return b.Lease()
}

// thisOwner says in a ledger who this process is.
func thisOwner() ledger.Owner {
	host, _ := os.Hostname()
	return ledger.Owner{Host: host, PID: os.Getpid()}
}

func (a *app) runTask(parent context.Context, dir string, o task.Options, f taskFlags) error {
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	if o.Expiry, err = leaseOf(o.Expiry, b); err != nil {
		return err
	}
	w := &taskWatcher{a: a, bundle: b}
	me := thisOwner()
	o.Owner.Host, o.Owner.PID = me.Host, me.PID
	var array slurm.Task
	var end time.Time
	switch f.engine {
	case "":
	case "slurm":
		var isTask bool
		if array, isTask = slurm.ThisTask(); !isTask {
			return usage{fault.New(fault.Invalid, "--engine slurm: this process is no task of an array: SLURM_ARRAY_JOB_ID and SLURM_ARRAY_TASK_ID are not set")}
		}
		o.Index, o.Owner.Task, o.Owner.Restart = array.Index, "slurm:"+array.ID(), array.Restart
		if end, err = array.End(parent); err != nil {
			w.Note("when this task's time is over is not known: " + err.Error())
		}
	default:
		return usage{fault.New(fault.Invalid, "--engine %s: want slurm", f.engine)}
	}
	if !end.IsZero() {
		o.Deadline = end.Add(-f.lead)
	}
	ctx, stop, why, release := engineSignals(parent, o.Deadline, w)
	defer release()
	o.Why = func() string { return *why.Load() }
	r, err := task.Run(ctx, b, o, stop, w)
	if err != nil {
		return err
	}
	w.Note(fmt.Sprintf("%d attempts, %d trials failed for good", r.Made, r.Failed))
	// Whoever sent SIGTERM has decided what becomes of the task: Slurm starts a preempted one again by itself, and a cancelled one not.
	if f.engine == "slurm" && (r.Left || r.Interrupted && *why.Load() != ledger.Shutdown) {
		if err := array.Requeue(context.WithoutCancel(ctx)); err != nil {
			w.Note("the task is not started again: " + err.Error() + "; runner submit goes on with what is left")
		} else {
			w.Note("the task is started again by Slurm")
		}
	}
	switch {
	case r.Interrupted:
		return errInterrupted
	case r.Failed > 0:
		return alreadySaid{exitFailed}
	}
	return nil
}

// timeSlack is how much earlier than due Slurm may send its warning: it looks at the clock once a minute at times.
const timeSlack = time.Minute

// engineSignals returns a channel that closes with the first signal, why it came, and a context that ends with a second Ctrl-C. SIGUSR2 is
// the engine's warning: of the end of the task's time where the clock says so, else of its preemption.
func engineSignals(parent context.Context, deadline time.Time, w *taskWatcher) (ctx context.Context, stop <-chan struct{}, why *atomic.Pointer[string], release func()) {
	ctx, cancel := context.WithCancel(parent)
	signals, stopped, done := make(chan os.Signal, 16), make(chan struct{}), make(chan struct{})
	signal.Notify(signals, endings()...)
	why = &atomic.Pointer[string]{}
	unknown := ledger.Shutdown
	why.Store(&unknown)
	go func() {
		first := true
		for {
			var s os.Signal
			select {
			case <-done:
				return
			case s = <-signals:
			}
			if !first {
				if s == os.Interrupt {
					cancel()
				}
				continue
			}
			first = false
			reason := ledger.Shutdown
			if s == syscall.SIGUSR2 {
				if reason = ledger.Preempted; deadline.IsZero() || time.Until(deadline) < timeSlack {
					reason = ledger.TimeOut
				}
			}
			why.Store(&reason)
			w.Note(fmt.Sprintf("%v: %s; the trial finishes its step, writes a checkpoint and is given back", s, reason))
			close(stopped)
		}
	}()
	return ctx, stopped, why, func() { signal.Stop(signals); close(done); cancel() }
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
	w.Note(fmt.Sprintf("trial %s (%s, seed %d): attempt %d%s", t.ID, cmp.Or(t.Variant(), w.bundle.Name()), t.Seed, attempt, how))
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
