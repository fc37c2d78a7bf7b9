package run

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/core/engine/optim"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// running holds a run whose plugins are started.
type running struct {
	*assemble.Model
	lab     lab.Lab
	rec     *assemble.Recorder
	watch   Watcher
	trainer *train.Trainer
	beside  *beside           // evaluates while training goes on; nil: training waits
	sent    int64             // bytes that this rank gave to others in the newest step
	told    map[string]string // what was last said of each evaluation, by section and kind
	ends    []func()          // what close does, the last first
}

// close ends the plugins, and all that is theirs.
func (r *running) close() {
	for _, end := range slices.Backward(r.ends) {
		end()
	}
}

// untilTraining returns a context that a stop ends until training is called: before the first step there is nothing to save.
func untilTraining(ctx context.Context, stop <-chan struct{}) (starting context.Context, training func()) {
	starting, cancel := context.WithCancel(ctx)
	begun := make(chan struct{})
	go func() {
		select {
		case <-stop:
			cancel()
		case <-begun:
		case <-starting.Done():
		}
	}()
	return starting, sync.OnceFunc(func() { close(begun) })
}

// givingUp has a model give up calls that take long once stop closes, until end is called: a plugin that does not answer must not keep
// the run from stopping.
func givingUp(m *assemble.Model, stop <-chan struct{}) (end func()) {
	ended := make(chan struct{})
	go func() {
		select {
		case <-stop:
			m.Stopping(true)
		case <-ended:
		}
	}()
	return func() { close(ended); m.Stopping(false); m.OnSlow(nil) }
}

// train starts the plugins, goes on from the checkpoint if there is one, and trains.
func (a Attempt) train(ctx context.Context, l lab.Lab, stop <-chan struct{}, w Watcher) (_ train.Result, err error) {
	defer fault.Catch(&err)
	var none train.Result
	dir, err := l.MakeDir(a.Record.ID(), a.Spec)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.Several() {
		if err := a.nameGroups(w); err != nil {
			return none, err
		}
		if err := a.assign(ctx, l.Group, dir); err != nil {
			return none, err
		}
	}
	starting, training := untilTraining(ctx, stop)
	defer training()
	defer beat(a.Record)()
	r := &running{lab: l, rec: &assemble.Recorder{Run: a.Record, Watcher: w}, watch: w, told: map[string]string{}}
	defer r.close()
	err = fault.Safely(func() error { return r.start(starting, a, dir, stop) })()
	if err := leaveGroups(l.Ranks, a.groups, err); err != nil {
		return none, err
	}
	if err := ready(ctx, l.Ranks, err, r.Model); err != nil {
		return none, err
	}
	if err := r.shareMemory(ctx); err != nil {
		return none, err
	}
	training()
	result, err := r.trainer.Run(ctx, stop)
	if r.beside != nil && err == nil {
		var waiting bool
		waiting, err = r.beside.finish(stop)
		result.Stopped = result.Stopped || waiting
	}
	if settled := r.settle(result.Counts); err == nil {
		err = settled
	}
	return result, err
}

// start starts the plugins, records what they say, and makes the step loop, with the state of a checkpoint if there is one.
func (r *running) start(ctx context.Context, a Attempt, dir string, stop <-chan struct{}) (err error) {
	r.Model, err = assemble.Open(ctx, a.Spec, assemble.Options{Catalog: r.lab.Catalog, Plugins: a.Plugins, LogDir: filepath.Join(dir, lab.LogsDir),
		Bench: a.Bench, Cores: r.lab.Cores, Ranks: len(r.lab.Places), Slow: a.slow(r.watch), Tap: a.Tap, Resumes: a.From.Dir != "", Communicators: communicators(r.lab.Ranks, a.groups)}, r.watch)
	if err != nil {
		return err
	}
	r.ends = append(r.ends, func() { _ = r.Model.Close() }, givingUp(r.Model, stop)) // of what is over nothing is lost
	r.Summary.Ranks, r.Summary.Cores = r.lab.Places, r.lab.Cores
	if err := r.prepare(ctx, a.From, filepath.Join(dir, lab.CheckpointsDir)); err != nil {
		return err
	}
	if err := r.begin(a.From); err != nil {
		return err
	}
	if err := r.recordRanks(ctx, a.From); err != nil {
		return err
	}
	if files := a.Plugins.DevFiles(); files != "" {
		if err := r.rec.Taint("plugin_dev", files); err != nil {
			return err
		}
	}
	if names := r.Attached(); names != "" {
		if err := r.rec.Taint("plugin_attached", names); err != nil {
			return err
		}
	}
	closeFeatures, err := remember(ctx, r.Model, r.trainer, r.watch, func(level, message string) error {
		return r.rec.Event(level, "feature_cache", message, "")
	})
	r.ends = append(r.ends, closeFeatures)
	if err != nil {
		return err
	}
	if r.Spec.Train.EvalDevice != "" && len(r.Spec.Eval) > 0 {
		if r.beside, err = r.evaluateBeside(ctx, a, filepath.Join(dir, lab.EvaluationsDir)); err != nil {
			return err
		}
		r.ends = append(r.ends, r.beside.end)
	}
	return nil
}

// stepped is told of every step.
func (r *running) stepped(s train.StepReport) {
	r.sent = s.Sent
	r.watch.Step(s)
}

// slow returns who is told of calls that take long: the watcher, and the record of those that are worth it.
func (a Attempt) slow(w Watcher) func(process.Slow) {
	return func(x process.Slow) {
		switch {
		case x.Over:
			w.Doing("")
		case x.Tell:
			w.Event("warning", x.String())
			_ = a.Record.Event("warning", "slow_plugin", x.String(), "")
		default:
			w.Doing(x.String())
		}
	}
}

// prepare checks the data and makes the step loop, with the state of a checkpoint if there is one. Checkpoints go
// to the folder dir.
func (r *running) prepare(ctx context.Context, from lab.Checkpoint, dir string) error {
	if err := r.checkData(ctx, from.Dir != ""); err != nil {
		return err
	}
	if err := r.recordData(from.Dir != ""); err != nil {
		return err
	}
	if err := r.Announce(r.rec); err != nil {
		return err
	}
	if err := exchange(ctx, r.Model, r.lab.Ranks); err != nil {
		return err
	}
	config, err := trainConfig(r.Model, r.lab.Ranks)
	if err != nil {
		return err
	}
	config.Dir, config.Run = dir, r.rec.ID()
	if r.trainer, err = train.New(config, r.Parts, r.rec, train.Hooks{
		Step:         r.stepped,
		Evaluate:     r.evaluate,
		Checkpointed: r.watch.Checkpointed,
		Counted:      r.recordCounts,
		Pruned:       func(step int) { _ = r.rec.DropCheckpoint(step) }, // a failure shows at the next record; readers look for the folder too
	}); err != nil || from.Dir == "" {
		return err
	}
	r.watch.Doing("loading the checkpoint")
	if err := r.trainer.Resume(ctx, from.Dir, from.Known...); err != nil {
		return err
	}
	r.Summary.FromStep = from.Step
	r.watch.Doing("")
	return r.recordCounts(r.trainer.Counts())
}

// begin records what the plugins said when they were configured, and tells that the run begins and what is odd
// about it.
func (r *running) begin(from lab.Checkpoint) error {
	r.Summary.ID = r.rec.ID()
	if err := r.Summary.Record(r.rec.Run); err != nil {
		return err
	}
	r.watch.Began(r.Summary)
	warn := func(kind string, messages []string) error {
		for _, message := range messages {
			if err := r.rec.Event("warning", kind, message, ""); err != nil {
				return err
			}
		}
		return nil
	}
	for _, remark := range r.Unguarded {
		if err := r.rec.Run.Event("warning", "sandbox", remark, ""); err != nil {
			return err
		}
	}
	if err := warn("precision", r.Summary.Remarks()); err != nil {
		return err
	}
	if from.Moved {
		if err := r.rec.Checkpoint(from.Step, from.Dir); err != nil {
			return err
		}
	}
	if err := warn("checkpoint", from.Skipped); err != nil {
		return err
	}
	return warn("weights", r.Remarks)
}

// checkData records what data the run is made with. A run that goes on from a checkpoint must have the data that it
// began with: otherwise its record stays as it is and the fault is fault.Conflict. A run that starts over may have
// other data, which is told.
func (r *running) checkData(ctx context.Context, goesOn bool) error {
	changed, err := r.rec.SetDatasets(ctx, r.DataDigests(), goesOn)
	if err != nil || len(changed) == 0 {
		return err
	}
	list := strings.Join(changed, ", ")
	if !goesOn {
		return r.rec.Event("warning", "data_changed", "the data has changed since the run began: "+list+
			"; it starts over from its first step with the data of now", "")
	}
	return fault.New(fault.Conflict, "the data has changed since the run began: %s; its points are of the data before", list).
		WithHint("put the data back as it was, or begin a new run: runner run SPEC, for a sweep with --rerun")
}

// trainConfig returns the settings of a run's step loop, but where its checkpoints go.
func trainConfig(m *assemble.Model, ranks lab.Ranks) (train.Config, error) {
	t, per := m.Spec.Train, max(1, m.Summary.StepsPerEpoch)
	config := m.TrainConfig()
	schedule := optim.Schedule{Kind: t.Schedule, Base: t.LR, MinLR: t.MinLR, WarmupSteps: t.WarmupSteps,
		CooldownSteps: t.CooldownSteps, TotalSteps: m.Summary.Steps}
	if err := schedule.Check(); err != nil {
		if f, ok := err.(*fault.Error); ok {
			f.Path = "train." + f.Path
		}
		return config, err
	}
	config.LR, config.Group = schedule.At, ranks.Group
	config.EvalEvery, config.CheckpointEvery, config.KeepCheckpoints = t.EvalEvery.In(per), t.CheckpointEvery.In(per), t.KeepCheckpoints
	return config, nil
}

// beat tells the store now and then that the run lives, through steps however long, until the function that it
// returns is called.
func beat(rec *store.Run) (end func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(20 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = rec.Heartbeat() // a failure shows at the next record
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}
