package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"tandem/core/experiment/schedule"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/study"
)

// sweepFlags holds the flags of run that only a sweep heeds.
type sweepFlags struct {
	jobs  int
	rerun bool
}

// runSweep runs the trials of a sweep and says how it ended.
func (a *app) runSweep(parent context.Context, s *sweep.Sweep, f sweepFlags, quiet, show bool) error {
	out := a.stderr
	if quiet {
		out = io.Discard
	}
	view := newSweepView(out, show && !quiet)
	a.note = view.Note
	ctx, stop, end := interruptible(parent, func() {
		view.Note("stopping: every trial finishes its step and writes a checkpoint; Ctrl-C again stops at once")
	})
	defer end()
	a.sayRanks(view.Note)
	outcome, err := schedule.Run(ctx, a.lab(), s, schedule.Options{Jobs: f.jobs, Rerun: f.rerun}, stop, view)
	a.hurry(ctx)
	view.Close()
	if err != nil {
		return err
	}
	if err := a.printSweep(s, outcome, time.Since(view.started), quiet, out); err != nil {
		return err
	}
	if err := outcome.Failure(s); err != nil {
		return err
	}
	if outcome.Interrupted {
		return errInterrupted
	}
	return nil
}

// printSweep prints the trials, how many there are of each kind and where to look next.
func (a *app) printSweep(s *sweep.Sweep, o schedule.Outcome, took time.Duration, quiet bool, hints io.Writer) error {
	if a.asJSON || quiet {
		if err := a.printSweepRows(s, o, quiet); err != nil {
			return err
		}
	}
	say(hints, "%s\n", sweepSummary(s, o, took))
	name, where := shellWord(s.Base.Name), ""
	if a.db != usual(envDB, defaultDB) {
		where = " --db " + shellWord(a.db)
	}
	if o.Interrupted || o.Count(schedule.Failed) > 0 {
		fmt.Fprintln(hints, "the same command goes on with it")
		return nil
	}
	if o.Count(schedule.Done) == 0 {
		return nil
	}
	if !a.asJSON && !quiet {
		fmt.Fprintln(hints)
		if err := a.printSweepTable(s.Base.Name); err != nil {
			return err
		}
	}
	say(hints, "\nnext\n  %[1]s ablation %[2]s --format latex%[3]s\n  %[1]s report %[2]s -o %[2]s.html%[3]s\n", program(), name, where)
	return nil
}

// printSweepTable prints what the sweep shows.
func (a *app) printSweepTable(name string) error {
	return a.reading(context.Background(), func(r *store.Reader) error {
		t, err := study.Table(context.Background(), r, name, study.Options{Level: 0.95})
		if err != nil {
			return err
		}
		return report.Ablation(a.stdout, report.Text, t)
	})
}

func (a *app) printSweepRows(s *sweep.Sweep, o schedule.Outcome, quiet bool) error {
	if quiet && !a.asJSON {
		for _, t := range o.States {
			if t.RunID != "" {
				fmt.Fprintln(a.stdout, t.RunID)
			}
		}
		return nil
	}
	r, err := store.OpenReader(a.db)
	if err != nil {
		return err
	}
	defer r.Close()
	var rows [][]any
	for i, t := range o.States {
		trial := s.Trials[i]
		var value any
		if t.RunID != "" {
			final, err := r.Final(context.Background(), t.RunID)
			if err != nil {
				return err
			}
			if m, ok := final[s.Metric]; ok {
				value = m.Last
			}
		}
		message := t.Reason
		if t.Err != nil {
			message = t.Err.Error()
		}
		rows = append(rows, []any{trial.ID, strings.Join(trial.Variants(), " = "), trial.Seed, t.RunID, string(t.Status), t.Before, t.Attempt, value, message})
	}
	return report.Rows(a.stdout, a.format(), []string{"trial", "variant", "seed", "run_id", "status", "before", "attempts", s.Metric, "message"}, rows)
}

// sweepSummary says in a line how a sweep ended.
func sweepSummary(s *sweep.Sweep, o schedule.Outcome, took time.Duration) string {
	now, before := 0, 0
	for _, t := range o.States {
		switch {
		case t.Before:
			before++
		case t.Status == schedule.Done || t.Status == schedule.Stopped:
			now++
		}
	}
	n := len(o.States)
	if before == n {
		stopped := ""
		if k := o.Count(schedule.Stopped); k > 0 {
			stopped = fmt.Sprintf(" (%d stopped early)", k)
		}
		return fmt.Sprintf("%s: all %d trials are done%s; nothing was started (--rerun makes them again)", s.Base.Name, n, stopped)
	}
	text := fmt.Sprintf("%s: %d of %d trials done", s.Base.Name, o.Count(schedule.Done), n)
	if before > 0 {
		text += fmt.Sprintf(", %d of them before", before)
	}
	for _, x := range []schedule.Status{schedule.Stopped, schedule.Failed, schedule.Interrupted, schedule.Waiting} {
		if k := o.Count(x); k > 0 {
			text += fmt.Sprintf(", %d %s", k, x)
		}
	}
	return text + ", in " + report.Duration(took.Seconds())
}

// shellWord quotes a word for a shell where it has to.
func shellWord(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// check reports flags that make no sense.
func (f sweepFlags) check() error {
	if f.jobs < 1 {
		return usage{fault.New(fault.Invalid, "--jobs %d: want at least 1", f.jobs)}
	}
	return nil
}
