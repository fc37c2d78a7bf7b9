// Package task is what an engine such as Slurm runs many of: it makes trials of a bundle, one after another, until none is left that it can
// have.
//
// A task takes a trial by the ledger, so that no other has it, and works on a copy of the trial's database on a local disk, since SQLite
// needs that. Checkpoints go to the shared folder, and with each of them a snapshot of the database: what another task on
// another node goes on from. Each attempt at a trial has files of its own there, and begins with links to the checkpoints of the one
// before. When a task is asked to stop, it writes a checkpoint and gives the trial back.
package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/run"
	"tandem/core/fault"
)

// Options configures a task.
type Options struct {
	Owner  ledger.Owner
	Index  int           // of this task among those of the bundle, from 0
	Tasks  int           // of the bundle; 0: one
	Expiry time.Duration // of leases; 0: ledger.DefaultExpiry
	// Deadline is when the engine will ask the task to stop; zero: not known. No trial is begun that would not end before, by the
	// longest so far.
	Deadline time.Time
	// Why says why stop was closed: ledger.TimeOut or another; nil: ledger.Shutdown.
	Why func() string
}

// Watcher sees a task as it goes.
type Watcher interface {
	// Trial is called when an attempt begins, and gives the watcher of its run.
	Trial(t bundle.Trial, attempt int, resumed bool) run.Watcher
	// Ended is called when it is over.
	Ended(t bundle.Trial, o ledger.Outcome)
	// Note is something worth saying.
	Note(message string)
}

// Result tells how a task ended.
type Result struct {
	Made        int  // attempts
	Failed      int  // trials that are not tried again
	Interrupted bool // stop was closed
	// Left says that trials wait which the time that is left would not do for: the task is to be started again.
	Left bool
}

// Run makes trials until none is to be had, or until stop closes: then the trial writes a checkpoint and is given back. Cancelling ctx ends
// it at once. Failed trials are no error.
func Run(ctx context.Context, b *bundle.Bundle, o Options, stop <-chan struct{}, w Watcher) (Result, error) {
	t := &tasker{bundle: b, options: o, ledger: ledger.Ledger{Dir: b.TrialsDir(), Expiry: o.Expiry}, w: w, over: make([]bool, len(b.Trials()))}
	var r Result
	for {
		if isClosed(stop) || ctx.Err() != nil {
			r.Interrupted = true
			return r, nil
		}
		if r.Left = t.isShort(); r.Left {
			left, err := t.anyFree()
			r.Left = left
			return r, err
		}
		c, wait, err := t.next()
		if err != nil {
			return r, err
		}
		if c.lease == nil {
			if wait == 0 {
				return r, nil
			}
			select {
			case <-stop:
			case <-ctx.Done():
			case <-time.After(wait):
			}
			continue
		}
		began := time.Now()
		end, err := t.attempt(ctx, c, stop)
		r.Made++
		t.longest = max(t.longest, time.Since(began))
		if err != nil && !errors.Is(err, ledger.ErrLost) {
			return r, err
		}
		if err != nil {
			w.Note(fmt.Sprintf("trial %s: %v; what was made here since does not count", c.trial.ID, err))
			continue
		}
		w.Ended(c.trial, end)
		state, err := t.ledger.Read(c.trial.ID)
		if err != nil {
			return r, err
		}
		if s := Judge(state, b.Retries(), o.Owner.Round); !s.Free && s.Status == string(ledger.Failed) {
			r.Failed++
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

type tasker struct {
	bundle  *bundle.Bundle
	options Options
	ledger  ledger.Ledger
	w       Watcher
	over    []bool // trials that nothing becomes of any more, as far as was seen
	longest time.Duration
}

// claimed is a trial that this task has.
type claimed struct {
	trial bundle.Trial
	state ledger.State // before
	lease *ledger.Lease
}

// isShort reports whether the time that is left does not do for a trial.
func (t *tasker) isShort() bool {
	return !t.options.Deadline.IsZero() && t.longest > 0 && time.Until(t.options.Deadline) < t.longest+t.longest/10
}

// order calls f for trials in this task's order, without those that are over.
func (t *tasker) order(f func(i int) (had, goOn bool, err error)) error {
	return Walk(len(t.over), t.options.Index, t.options.Tasks, func(i int) (had, goOn bool, err error) {
		if t.over[i] {
			return false, true, nil
		}
		return f(i)
	})
}

// next takes the next trial that is to be had. Without one, wait says when to ask again; 0: there is nothing to wait for. A task waits
// for what it left itself: before it was started again, or after a failure.
func (t *tasker) next() (c claimed, wait time.Duration, err error) {
	trials := t.bundle.Trials()
	expiry := t.options.Expiry
	if expiry == 0 {
		expiry = ledger.DefaultExpiry
	}
	soon := func(d time.Duration) {
		if d = max(d, 50*time.Millisecond); wait == 0 || d < wait {
			wait = d
		}
	}
	err = t.order(func(i int) (had, goOn bool, err error) {
		state, err := t.ledger.Read(trials[i].ID)
		if err != nil {
			return false, false, err
		}
		s := Judge(state, t.bundle.Retries(), t.options.Owner.Round)
		if !s.Free {
			t.over[i] = true
			return false, true, nil
		}
		last := state.Last()
		mine := last != nil && t.options.Owner.Task != "" && last.Owner.Task == t.options.Owner.Task
		if later := time.Until(s.NotBefore); later > 0 {
			if mine || last.Owner.PID == t.options.Owner.PID && last.Owner.Host == t.options.Owner.Host {
				soon(later)
			}
			return false, true, nil
		}
		lease, err := t.ledger.Take(state, t.options.Owner)
		if err != nil {
			return false, false, err
		}
		if lease == nil {
			if mine && last.End == nil {
				soon(expiry / 4)
			}
			return false, true, nil
		}
		c = claimed{trials[i], state, lease}
		return true, false, nil
	})
	return c, wait, err
}

// anyFree reports whether a trial waits that nobody has.
func (t *tasker) anyFree() (free bool, err error) {
	trials := t.bundle.Trials()
	err = t.order(func(i int) (had, goOn bool, err error) {
		state, err := t.ledger.Read(trials[i].ID)
		if err != nil {
			return false, false, err
		}
		s := Judge(state, t.bundle.Retries(), t.options.Owner.Round)
		free = s.Free && s.Status != Running
		return free, !free, nil
	})
	return free, err
}

// outcome says in the ledger's words how an attempt ended.
func (t *tasker) outcome(o run.Outcome, err error, stopped bool) ledger.Outcome {
	end := ledger.Outcome{Status: ledger.Done, Run: o.ID, Step: o.Result.Steps}
	interrupted := o.Status == "interrupted" && err == nil
	// The engine may have ended a plugin with the rest of the job: the trial goes on from its last checkpoint.
	if stopped && fault.KindOf(err) == fault.PluginDied {
		interrupted = true
	}
	switch {
	case interrupted:
		end.Status, end.Why = ledger.Interrupted, ledger.Shutdown
		if t.options.Why != nil {
			end.Why = t.options.Why()
		}
	case err != nil:
		end.Status, end.Kind, end.Message = ledger.Failed, fault.KindOf(err), err.Error()
		var f *fault.Error
		if errors.As(err, &f) {
			end.Hint = f.Hint
		}
	case o.Status == "stopped":
		end.Status = ledger.Stopped
	}
	return end
}
