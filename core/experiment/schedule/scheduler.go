package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/run"
	"tandem/core/experiment/sweep"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/child"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

const (
	// elsewhereEvery passes before a trial that another runner makes is asked for again.
	elsewhereEvery = 2 * time.Second
	// roomEvery passes before a trial that waits for memory asks again.
	roomEvery = time.Second
)

// A scheduler runs the trials of a sweep. One goroutine owns it; the trials have one each, and report to
// finished.
type scheduler struct {
	lab     lab.Lab
	sweep   *sweep.Sweep
	options Options
	db      *store.DB
	reader  *store.Reader
	catalog *assemble.Catalog // as it was when the sweep was planned
	w       Watcher
	since   time.Time // runs begun before do not count
	now     func() time.Time

	identifier assemble.Identifier
	states     []State
	order      []int                 // of the trials: every variant under its first seed, then under its second
	benches    []*assemble.Workbench // that no trial uses now
	running    int
	most       int64 // bytes that a trial was seen to take
	tight      bool  // the lack of memory has been told
	finished   chan end

	// Of a search:
	values map[string]float64 // of its metric, by run
	spent  bool               // no point is left
	ended  bool               // no further point is to be tried
	chosen bool               // the best is known, and what confirms it is planned
}

// An end tells how an attempt at a trial ended.
type end struct {
	trial   int
	bench   *assemble.Workbench
	outcome run.Outcome
	reason  string // of a rule that stopped it
	err     error
}

// run starts trials until there is nothing left to do.
func (c *scheduler) run(ctx context.Context, stop <-chan struct{}) error {
	defer func() {
		for _, b := range c.benches {
			b.Close()
		}
	}()
	// With the sweep, trials end: on an error of the scheduler itself they are stopped like by a person.
	own := make(chan struct{})
	stopping := false
	halt := func() {
		if !stopping {
			stopping = true
			close(own)
		}
	}
	var failure error
	lost := c.lab.Lost()
	for {
		select {
		case <-lost: // another rank is gone, and no trial can be made any more
			lost = nil
			halt()
		default:
		}
		for !stopping && c.running < c.options.Jobs {
			i := c.next(c.now())
			if i < 0 && !c.mayGrow() || c.running > 0 && !c.hasRoom() {
				break
			}
			if i < 0 {
				if err := c.grow(ctx); err != nil {
					failure = err
					halt()
				}
				if i = c.next(c.now()); i < 0 && !c.mayGrow() {
					break
				}
			}
			if i < 0 {
				continue
			}
			if err := c.start(ctx, i, own); err != nil {
				failure = err
				halt()
			}
		}
		if c.running == 0 && (stopping || c.over()) {
			return failure
		}
		select {
		case e := <-c.finished:
			c.running--
			c.finish(e, stopping)
			if !stopping && c.lab.Several() && c.states[e.trial].Status == Interrupted {
				c.w.Note("another rank was told to stop: the sweep ends")
				halt()
			}
			if err := c.tellBest(ctx); err != nil && failure == nil && !stopping {
				failure = err
				halt()
			}
		case <-stop:
			stop = nil
			halt()
		case <-ctx.Done():
			halt()
			if c.running > 0 {
				e := <-c.finished
				c.running--
				c.finish(e, true)
			}
		case <-time.After(c.idle(c.now())):
		}
	}
}

// BySeed orders trials by the place of their seed among those of their variant: early on there is something of every
// variant to see, and trials side by side read the same data.
func BySeed(trials []sweep.Trial) []int {
	place, seen := make([]int, len(trials)), map[string]int{}
	order := make([]int, len(trials))
	for i, t := range trials {
		variant := t.Cells[0].Variant
		place[i], order[i] = seen[variant], i
		seen[variant]++
	}
	slices.SortStableFunc(order, func(a, b int) int { return place[a] - place[b] })
	return order
}

// next returns the first trial that may start now; -1 when there is none.
func (c *scheduler) next(now time.Time) int {
	for _, i := range c.order {
		t := c.states[i]
		if (t.Status == Waiting || t.Status == Elsewhere) && !t.NotBefore.After(now) {
			return i
		}
	}
	return -1
}

// idle returns how long there is nothing to do but wait for trials to end.
func (c *scheduler) idle(now time.Time) time.Duration {
	if c.running >= c.options.Jobs {
		return time.Hour
	}
	wait := time.Hour
	for _, t := range c.states {
		if t.Status == Waiting || t.Status == Elsewhere {
			wait = min(wait, max(roomEvery, t.NotBefore.Sub(now)))
		}
	}
	return wait
}

// over reports whether all trials are over, and none is to be added.
func (c *scheduler) over() bool {
	if c.sweep.Search != nil && !c.chosen {
		return false
	}
	for _, t := range c.states {
		if !t.over() {
			return false
		}
	}
	return true
}

// set changes the state of a trial and tells of it.
func (c *scheduler) set(i int, t State) {
	c.states[i] = t
	c.w.Changed(i, t)
}

// start claims a trial and, when it is to be had, runs it in a goroutine of its own.
func (c *scheduler) start(ctx context.Context, i int, stop <-chan struct{}) error {
	used, err := c.current(ctx, i)
	if err != nil {
		return err
	}
	t, was := c.sweep.Trials[i], c.states[i]
	claim, err := claim(ctx, c.lab, c.db, t, used, c.sweep.Metric, c.since)
	if k := fault.KindOf(err); err != nil && (k == fault.Corrupt || k == fault.NotFound) && ctx.Err() == nil {
		// That trial's checkpoints are all damaged or gone, and it stays as it is; the others go on.
		c.set(i, State{Status: Failed, RunID: was.RunID, Attempt: was.Attempt + 1, Err: err})
		return nil
	}
	if err != nil {
		return err
	}
	now := State{RunID: claim.ID, Attempt: was.Attempt}
	if claim.Run == nil {
		switch claim.Status {
		case clip.StatusDone:
			now.Status = Done
		case clip.StatusStopped:
			now.Status = Stopped
		default:
			now.Status, now.Owner, now.NotBefore = Elsewhere, claim.Owner, c.now().Add(elsewhereEvery)
		}
		if now.Status != was.Status || now.Owner != was.Owner {
			c.set(i, now)
		} else {
			c.states[i] = now
		}
		return nil
	}
	now.Status, now.Resumed = Running, claim.Resumed && was.Attempt == 0
	now.Attempt++
	c.set(i, now)
	c.running++
	w := c.w.Trial(i)
	judge := c.judge(ctx, i, claim, w)
	bench := &assemble.Workbench{}
	if n := len(c.benches); n > 0 {
		bench, c.benches = c.benches[n-1], c.benches[:n-1]
	}
	go func() {
		from, err := verify(ctx, c.lab, claim)
		outcome := run.Outcome{ID: claim.ID, Status: clip.StatusFailed}
		if err == nil {
			a := run.Attempt{Spec: t.Spec, Record: claim.Run, From: from, Plugins: used, Bench: bench, GivenUp: judge.stopped}
			outcome, err = a.Do(ctx, c.lab, either(stop, judge.stop), judge)
		}
		judge.end()
		if err != nil { // whatever is left of it, the next trial begins afresh
			bench.Close()
		}
		c.finished <- end{i, bench, outcome, judge.stopped(), err}
	}()
	return nil
}

// claim takes a trial, whose plugins are used, for this process. Runs begun before since do not count.
func claim(ctx context.Context, l lab.Lab, db *store.DB, t sweep.Trial, used assemble.Plugins, metric string, since time.Time) (store.Claim, error) {
	m := assemble.Meta(t.Spec, used, t.Identity, l.Cores)
	m.Metric, m.Baseline = metric, ""
	return db.Claim(ctx, m, store.ClaimOptions{Since: since, Newest: func(id string, all []store.Checkpoint) (int, error) {
		from, err := l.FindCheckpoint(id, all, train.Check) // no file is read while others wait for the database
		return from.Step, err
	}})
}

// One makes an attempt at a trial, whose plugins are used, in a database of its own: it goes on with what the database has of it. What is
// done or stopped there already is left as it is. metric is that by which trials are compared. NotWhole says that what the database has
// cannot be gone on with.
func One(ctx context.Context, l lab.Lab, db *store.DB, t sweep.Trial, used assemble.Plugins, metric string, stop <-chan struct{}, w run.Watcher) (run.Outcome, error) {
	if err := assemble.CheckDevices(t.Spec); err != nil {
		return run.Outcome{}, err
	}
	c, err := claim(ctx, l, db, t, used, metric, time.Time{})
	if err != nil {
		return run.Outcome{}, AsNotWhole(err)
	}
	if c.Run == nil {
		return run.Outcome{ID: c.ID, Status: c.Status}, nil
	}
	from, err := verify(ctx, l, c)
	if err != nil {
		return run.Outcome{ID: c.ID, Status: clip.StatusFailed}, AsNotWhole(err)
	}
	return run.Attempt{Spec: t.Spec, Record: c.Run, From: from, Plugins: used}.Do(ctx, l, stop, w)
}

// verify reads the checkpoint that a claimed run goes on from. When it is damaged, the run goes back to one that is
// whole; when none is, the run ends as failed.
func verify(ctx context.Context, l lab.Lab, claim store.Claim) (lab.Checkpoint, error) {
	from, err := l.FindCheckpoint(claim.ID, claim.Checkpoints, train.Verify)
	if err == nil && claim.Resumed {
		err = claim.Run.Rewind(ctx, from.Step)
	}
	if err != nil {
		return from, errors.Join(err, claim.Run.Finish(context.WithoutCancel(ctx), clip.StatusFailed, err))
	}
	return from, nil
}

// changedRetries limits how often a trial is begun anew because a plugin was replaced while it started.
const changedRetries = 3

// current returns the plugins of a trial as they are now. When they are not those that the sweep was planned with, the trial
// becomes that of the new ones: its identity is theirs, which is said and planned.
func (c *scheduler) current(ctx context.Context, i int) (assemble.Plugins, error) {
	t := &c.sweep.Trials[i]
	used, err := c.lab.Plugins(t.Spec)
	if err != nil {
		return nil, err
	}
	now, err := c.identifier.Identity(t.Spec, used)
	if err != nil || now == t.Identity {
		return used, err
	}
	planned, err := c.catalog.Plugins(t.Spec)
	if err != nil {
		return nil, err
	}
	changed := used.ChangedSince(planned.Rows())
	if changed == "" {
		changed = "a plugin or init.weights, since it was planned"
	}
	t.Identity = now
	c.w.Note(fmt.Sprintf("%s, seed %d: plugins changed since the sweep began: %s; trials before and after are not alike, and running the sweep again makes the former anew",
		t.Cells[0].Variant, t.Seed, changed))
	return used, plan(ctx, c.db, c.sweep, c.sweep.Search != nil)
}

// finish takes note of how an attempt ended, and says when a failed trial is tried again.
func (c *scheduler) finish(e end, stopping bool) {
	c.benches = append(c.benches, e.bench)
	was := c.states[e.trial]
	now := State{RunID: e.outcome.ID, Attempt: was.Attempt, Resumed: was.Resumed}
	switch {
	case e.err == nil && e.outcome.Status == clip.StatusDone:
		now.Status = Done
	case e.err == nil && e.outcome.Status == clip.StatusStopped:
		now.Status, now.Reason = Stopped, e.reason
	case e.err == nil:
		now.Status = Interrupted
	default:
		now.Status, now.Err = Failed, e.err
		if errors.Is(e.err, process.ErrChanged) && !stopping && was.Attempt <= changedRetries {
			now.Status = Waiting
			break
		}
		a := c.sweep.Retries
		if kind := fault.KindOf(e.err); !stopping && was.Attempt <= a.For(kind) && !process.BrokeRule(e.err) {
			wait := a.Wait(was.Attempt)
			now.Status, now.NotBefore = Waiting, c.now().Add(wait)
			t := c.sweep.Trials[e.trial]
			c.w.Note(fmt.Sprintf("%s, seed %d: attempt %d failed and is tried again: %v", t.Cells[0].Variant, t.Seed, was.Attempt, e.err))
		}
	}
	c.set(e.trial, now)
}

// hasRoom reports whether the memory that is free holds one more trial, by what trials were seen to take. Before
// that is known there is none.
func (c *scheduler) hasRoom() bool {
	c.most = max(c.most, child.MemoryOfChildren()/int64(c.running))
	free := child.AvailableMemory()
	switch {
	case free == 0: // not known here
		return true
	case c.most == 0:
		return false
	case free > c.most+c.most/8:
		c.tight = false
		return true
	}
	if !c.tight {
		c.tight = true
		c.w.Note(fmt.Sprintf("%d of %d trials at a time: one takes %d MiB and %d MiB are free", c.running, c.options.Jobs, c.most>>20, free>>20))
	}
	return false
}

// either returns a channel that closes when a or b does. b has to close in the end.
func either(a, b <-chan struct{}) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		select {
		case <-a:
		case <-b:
		}
	}()
	return out
}
