// Package schedule runs the trials of a sweep: those that are not done yet, some at a time, again where they
// failed, and not to the end where the sweep's rule stops them. Several runners may work on one sweep; the database
// says who makes which trial.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/run"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// Options configures how a sweep is run.
type Options struct {
	Jobs  int  // trials at a time; 0 means 1
	Rerun bool // runs that were begun before do not count
}

// Status tells what has become of a trial.
type Status string

// The states of a trial.
const (
	Waiting     Status = "waiting"
	Running     Status = "running"
	Elsewhere   Status = "elsewhere" // another runner makes it
	Done        Status = "done"
	Stopped     Status = "stopped" // by the sweep's rule
	Failed      Status = "failed"
	Interrupted Status = "interrupted"
)

// State tells how a trial stands.
type State struct {
	Status  Status
	RunID   string // "": not begun
	Before  bool   // over before this sweep began
	Resumed bool   // begun before this sweep began
	Attempt int    // 1 for the first
	Owner   string // of Elsewhere
	Reason  string // why it was stopped
	Err     error  // of Failed, and of Waiting after a failure
	// NotBefore is when a failed trial is tried again.
	NotBefore time.Time
}

// over reports whether nothing more becomes of the trial.
func (t State) over() bool {
	return t.Status == Done || t.Status == Stopped || t.Status == Failed || t.Status == Interrupted
}

// Watcher sees a sweep as it goes. Its methods are called one at a time; those of the Watchers that
// Trial gives are called while others' are.
type Watcher interface {
	// Planned is called once, with the states that the database knows.
	Planned(*sweep.Sweep, []State)
	// Changed is called whenever a trial's state changes.
	Changed(trial int, now State)
	// Trial gives the watcher of a trial's run.
	Trial(trial int) run.Watcher
	// Note is something worth saying about the sweep.
	Note(message string)
	// Added is called when a search adds a trial, behind those there are.
	Added(t sweep.Trial, now State)
	// Best is called with the best point of a search so far and its value of a metric, after every trial.
	Best(variant, metric string, value float64)
}

// Outcome tells how a sweep ended. An interrupted sweep goes on when it is run again.
type Outcome struct {
	States      []State // beside the sweep's trials
	Interrupted bool
}

// Count returns how many trials are in a state.
func (o Outcome) Count(s Status) (n int) {
	for _, t := range o.States {
		if t.Status == s {
			n++
		}
	}
	return n
}

// Load reads and checks a spec and lists its trials: those of its ablate block, or the one that it is without one.
// Every cell is checked; no process is started. set overrides keys of the spec: "train.lr=1e-3".
func Load(l lab.Lab, file string, set []string) (*sweep.Sweep, error) {
	c := assemble.NewCatalog(l.Catalog)
	var identifier assemble.Identifier
	return sweep.Plan(spec.Read(file, spec.Options{Set: set, Env: os.Environ(), Catalog: c}), func(s *spec.Spec) (string, error) {
		used, err := c.Plugins(s)
		if err != nil {
			return "", err
		}
		return identifier.Identity(s, used)
	})
}

// Run makes the runs that a sweep lacks, Jobs at a time: a run that is done or stopped is left as it is, one
// that failed or was interrupted goes on from its newest checkpoint, one that another runner makes is left to it.
// A trial that fails is tried again as often as the spec says, later each time; the others go on meanwhile. It
// returns when every trial is over, those of other runners included, or when stop closes: then the trials
// write checkpoints and end. Cancelling ctx ends them at once.
//
// The error is one of the sweep itself; failed trials have theirs in the outcome.
func Run(ctx context.Context, l lab.Lab, s *sweep.Sweep, o Options, stop <-chan struct{}, w Watcher) (Outcome, error) {
	for _, one := range s.Specs() {
		if err := run.Check(l, one); err != nil {
			return Outcome{}, err
		}
	}
	if s.Stop != nil && metric.DirectionIn(s.Directions, s.Stop.Metric) == metric.None {
		return Outcome{}, fault.New(fault.Invalid, "%s is good neither way, as far as is declared: nothing can be stopped by it", s.Stop.Metric).
			WithPath("ablate.stop.metric").WithHint("say which way it is good, in the ablate block: directions: {%s: down}", s.Stop.Metric)
	}
	if s.Search != nil && metric.DirectionIn(s.Directions, objective(s)) == metric.None {
		return Outcome{}, fault.New(fault.Invalid, "%s is good neither way, as far as is declared: nothing can be searched by it", objective(s)).
			WithPath("ablate.metric").WithHint("say which way it is good, in the ablate block: directions: {%s: up}", objective(s))
	}
	db, err := l.Database()
	if err != nil {
		return Outcome{}, err
	}
	defer db.Close()
	if _, err := db.MarkDead(ctx); err != nil {
		return Outcome{}, err
	}
	reader, err := store.OpenReader(l.DB)
	if err != nil {
		return Outcome{}, err
	}
	defer reader.Close()
	goesOn := false
	if s.Search != nil && !o.Rerun {
		if goesOn, err = restore(ctx, reader, s, w); err != nil {
			return Outcome{}, err
		}
	}
	if err := plan(ctx, db, s, goesOn); err != nil {
		return Outcome{}, err
	}
	c := &scheduler{lab: l, sweep: s, options: o, db: db, reader: reader, catalog: assemble.NewCatalog(l.Catalog), w: w, now: time.Now,
		states: make([]State, len(s.Trials)), order: BySeed(s.Trials), finished: make(chan end), values: map[string]float64{}}
	if s.Search != nil { // what confirms waits for the end of the search
		c.order = nil
		for i, t := range s.Trials {
			if t.Cells[0].Phase == results.Searched {
				c.order = append(c.order, i)
			}
		}
	}
	c.options.Jobs = max(1, o.Jobs)
	if o.Rerun {
		c.since = c.now()
	}
	for _, one := range s.Specs() { // as they are now, to be held against what there is when a trial starts
		if _, err := c.catalog.Plugins(one); err != nil {
			return Outcome{}, err
		}
	}
	if err := c.lookUp(ctx, 0); err != nil {
		return Outcome{}, err
	}
	w.Planned(s, append([]State(nil), c.states...))
	if err := c.tellBest(ctx); err != nil {
		return Outcome{}, err
	}
	err = c.run(ctx, stop)
	out := Outcome{States: c.states}
	for _, t := range c.states {
		out.Interrupted = out.Interrupted || !t.over() || t.Status == Interrupted
	}
	return out, err
}

// plan records what the sweep means to fill: every cell of every trial, by identity. Points of a search that goes on stay planned, those
// too that another runner suggests just now.
func plan(ctx context.Context, db *store.DB, s *sweep.Sweep, goesOn bool) error {
	e, cells := Planned(s)
	if goesOn {
		return db.Replan(ctx, e, cells)
	}
	return db.Plan(ctx, e, cells)
}

// Planned returns a sweep as the database keeps it: the experiment, and every cell of every trial, by identity.
func Planned(s *sweep.Sweep) (store.Experiment, []store.Cell) {
	e := store.Experiment{Name: s.Base.Name, Description: s.Base.Description, Metric: s.Metric, Design: s.Design, Noise: s.Noise}
	e.Settings = store.Settings{Looks: s.Looks, Analysis: s.Analysis, Directions: s.Directions, Choose: s.Choose}
	if s.Stop != nil {
		e.Settings.Stop, e.Settings.StopMetric = s.Stop.Rule, s.Stop.Metric
		e.Settings.StopSteps, e.Settings.StopEpochs = s.Stop.Grace.Steps, s.Stop.Grace.Epochs
	}
	e.Factors = s.Factors
	if x := s.Search; x != nil {
		e.Settings.Search = &store.Search{Seed: x.Seed, Trials: x.Budget.Trials, Hours: x.Budget.Hours, Confirm: x.Confirm}
	}
	cells := cellsOf(s.Trials)
	for _, c := range cells {
		if c.Variant == sweep.Baseline {
			e.Baseline = sweep.Baseline
		}
	}
	return e, cells
}

// lookUp sets the states of the trials that are over already, from one on.
func (c *scheduler) lookUp(ctx context.Context, from int) error {
	cells, err := c.reader.Cells(ctx, c.sweep.Base.Name)
	if err != nil {
		return err
	}
	type key struct {
		variant string
		seed    int64
	}
	known := map[key]results.Cell{}
	for _, x := range cells {
		known[key{x.Variant, x.Seed}] = x
	}
	for i := from; i < len(c.sweep.Trials); i++ {
		t := c.sweep.Trials[i]
		if t.Identity == sweep.Invalid {
			c.states[i] = State{Status: Failed, Err: c.sweep.Search.Check(t.Cells[0])}
			continue
		}
		c.states[i].Status = Waiting
		x := known[key{t.Cells[0].Variant, int64(t.Seed)}]
		if c.options.Rerun {
			continue
		}
		switch {
		case x.Done:
			c.states[i] = State{Status: Done, RunID: x.RunID, Before: true}
		case x.Status == string(clip.StatusStopped):
			c.states[i] = State{Status: Stopped, RunID: x.RunID, Before: true, Reason: x.Note}
		}
	}
	return nil
}

// Failure returns the error of a sweep some of whose trials failed, those that failed alike together; nil when
// none did.
func (o Outcome) Failure(s *sweep.Sweep) error {
	var order []string
	alike := map[string][]int{}
	for i, t := range o.States {
		if t.Status != Failed {
			continue
		}
		text := t.Err.Error()
		if alike[text] == nil {
			order = append(order, text)
		}
		alike[text] = append(alike[text], i)
	}
	var list fault.List
	for _, text := range order {
		first := alike[text][0]
		t, trial := o.States[first], s.Trials[first]
		where := fmt.Sprintf("%s, seed %d", trial.Cells[0].Variant, trial.Seed)
		if n := len(alike[text]) - 1; n > 0 {
			where += fmt.Sprintf(" and %d more", n)
		}
		e := fault.New(fault.KindOf(t.Err), "%w", t.Err).WithOp(where)
		if t.RunID != "" {
			e.WithHint("runner show %s tells more", t.RunID)
		}
		var cause *fault.Error
		if errors.As(t.Err, &cause) {
			e.Detail = cause.Detail
			if cause.Hint != "" {
				e.WithHint("%s; %s", cause.Hint, e.Hint)
			}
		}
		list = append(list, e)
	}
	return list.Err()
}
