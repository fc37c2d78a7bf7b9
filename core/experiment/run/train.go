package run

import (
	"context"
	"path/filepath"
	"strings"
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
	rec    *assemble.Recorder
	watch  Watcher
	beside *beside           // evaluates while training goes on; nil: training waits
	told   map[string]string // what was last said of each evaluation, by section and kind
}

// train starts the plugins, goes on from the checkpoint if there is one, and trains.
func (a Attempt) train(ctx context.Context, l lab.Lab, stop <-chan struct{}, w Watcher) (_ train.Result, err error) {
	defer fault.Catch(&err)
	var none train.Result
	dir, err := l.MakeDir(a.Record.ID(), a.Spec)
	if err != nil {
		return none, err
	}
	// Until the first step there is nothing to save: a stop is then a cancellation.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	training := make(chan struct{})
	go func() {
		select {
		case <-stop:
			cancel()
		case <-training:
		case <-ctx.Done():
		}
	}()
	defer beat(a.Record)()

	m, err := assemble.Open(ctx, a.Spec, assemble.Options{Catalog: l.Catalog, Plugins: a.Plugins, LogDir: filepath.Join(dir, lab.LogsDir),
		Bench: a.Bench, Slow: a.slow(w), Tap: a.Tap, Resumes: a.From.Dir != ""}, w)
	if err != nil {
		return none, err
	}
	defer m.Close()
	// A plugin that does not answer must not keep the run from stopping.
	ended := make(chan struct{})
	defer func() { close(ended); m.Stopping(false); m.OnSlow(nil) }()
	go func() {
		select {
		case <-stop:
			m.Stopping(true)
		case <-ended:
		}
	}()
	r := &running{Model: m, rec: &assemble.Recorder{Run: a.Record, Watcher: w}, watch: w, told: map[string]string{}}
	t, err := r.prepare(ctx, a.From, filepath.Join(dir, lab.CheckpointsDir))
	if err != nil {
		return none, err
	}
	if err := r.begin(a.From); err != nil {
		return none, err
	}
	if files := a.Plugins.DevFiles(); files != "" {
		if err := r.rec.Taint("plugin_dev", files); err != nil {
			return none, err
		}
	}
	if names := r.Attached(); names != "" {
		if err := r.rec.Taint("plugin_attached", names); err != nil {
			return none, err
		}
	}
	closeFeatures, err := r.remember(ctx, t)
	defer closeFeatures()
	if err != nil {
		return none, err
	}
	if r.Spec.Train.EvalDevice != "" && len(r.Spec.Eval) > 0 {
		if r.beside, err = r.evaluateBeside(ctx, a, l, filepath.Join(dir, lab.EvaluationsDir)); err != nil {
			return none, err
		}
		defer r.beside.end()
	}
	close(training)
	result, err := t.Run(ctx, stop)
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
func (r *running) prepare(ctx context.Context, from lab.Checkpoint, dir string) (*train.Trainer, error) {
	if err := r.checkData(ctx, from.Dir != ""); err != nil {
		return nil, err
	}
	if err := r.recordData(from.Dir != ""); err != nil {
		return nil, err
	}
	if err := r.Announce(r.rec); err != nil {
		return nil, err
	}
	t, err := r.trainer(dir)
	if err != nil || from.Dir == "" {
		return t, err
	}
	r.watch.Doing("loading the checkpoint")
	if err := t.Resume(ctx, from.Dir, from.Known...); err != nil {
		return nil, err
	}
	r.Summary.FromStep = from.Step
	r.watch.Doing("")
	return t, r.recordCounts(t.Counts())
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
	digests := map[string]string{store.DataRole: r.Summary.Data.Digest}
	for i, e := range r.Spec.Eval {
		digests[assemble.RoleEval+e.Name] = r.Evals[i].Info.Digest
		if t := r.Evals[i].Train; t != nil {
			digests[assemble.RoleEvalTrain+e.Name] = t.Info.Digest
		}
	}
	changed, err := r.rec.SetDatasets(ctx, digests, goesOn)
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

// trainer makes the step loop. Checkpoints go to the folder dir.
func (r *running) trainer(dir string) (*train.Trainer, error) {
	t, per := r.Spec.Train, max(1, r.Summary.StepsPerEpoch)
	schedule := optim.Schedule{Kind: t.Schedule, Base: t.LR, MinLR: t.MinLR, WarmupSteps: t.WarmupSteps,
		CooldownSteps: t.CooldownSteps, TotalSteps: r.Summary.Steps}
	if err := schedule.Check(); err != nil {
		if f, ok := err.(*fault.Error); ok {
			f.Path = "train." + f.Path
		}
		return nil, err
	}
	config := r.TrainConfig()
	config.LR, config.Dir, config.Run = schedule.At, dir, r.rec.ID()
	config.EvalEvery, config.CheckpointEvery, config.KeepCheckpoints = t.EvalEvery.In(per), t.CheckpointEvery.In(per), t.KeepCheckpoints
	return train.New(config, r.Parts, r.rec, train.Hooks{
		Step:         r.watch.Step,
		Evaluate:     r.evaluate,
		Checkpointed: r.watch.Checkpointed,
		Counted:      r.recordCounts,
		Pruned:       func(step int) { _ = r.rec.DropCheckpoint(step) }, // a failure shows at the next record; readers look for the folder too
	})
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
