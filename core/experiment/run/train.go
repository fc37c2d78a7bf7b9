package run

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tandem/core/engine/optim"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// steps is the length of the run: of epochs and max_steps the one reached first.
func steps(t spec.Train, perEpoch int) int {
	n := t.MaxSteps
	if t.Epochs > 0 {
		byEpoch := max(1, int(math.Round(t.Epochs*float64(perEpoch))))
		if n == 0 || byEpoch < n {
			n = byEpoch
		}
	}
	return n
}

func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "tandem", "data")
}

// Dir is the folder of a run's files: in RunsDir, since an id that is none, such as ../precious, has no folder. It is ""
// then.
func (l Lab) Dir(id string) string {
	if !store.IsID(id) {
		return ""
	}
	dir, err := filepath.Abs(filepath.Join(l.RunsDir, id))
	if err != nil {
		return filepath.Join(l.RunsDir, id)
	}
	return dir
}

// train does a run whose record exists and goes on from a checkpoint, if there is one.
func (l Lab) train(ctx context.Context, s *spec.Spec, rec *store.Run, from found, stop <-chan struct{}, w Watcher) (_ train.Result, err error) {
	defer fault.Catch(&err)
	var none train.Result
	dir := l.Dir(rec.ID())
	if dir == "" {
		return none, fault.New(fault.Invalid, "run %q: this is no id of a run", rec.ID())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return none, fault.New(fault.Unavailable, "the run's folder: %w", err).WithHint("--runs-dir names another place")
	}
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(s.YAML(true)), 0o644); err != nil {
		return none, fault.New(fault.Exhausted, "the run's folder: %w", err).WithHint("--runs-dir names another place")
	}
	// Until the first step there is nothing to save: a stop is then a cancellation.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	training := make(chan struct{})
	l.slow = func(x process.Slow) {
		switch {
		case x.Over:
			w.Doing("")
		case x.Tell:
			w.Event("warning", x.String())
			_ = rec.Event("warning", "slow_plugin", x.String(), "")
		default:
			w.Doing(x.String())
		}
	}
	go func() {
		select {
		case <-stop:
			cancel()
		case <-training:
		case <-ctx.Done():
		}
	}()
	defer beat(rec)()

	m, err := l.open(ctx, s, filepath.Join(dir, "logs"), from.dir == "", w)
	if err != nil {
		return none, err
	}
	defer m.Close()
	// A plugin that does not answer must not keep the run from stopping.
	ended := make(chan struct{})
	defer func() { close(ended); m.session.Stopping(false); m.session.OnSlow(nil) }()
	go func() {
		select {
		case <-stop:
			m.session.Stopping(true)
		case <-ended:
		}
	}()
	tell := &teller{rec, w}
	if err := m.sameData(ctx, rec, tell, from.dir != ""); err != nil {
		return none, err
	}
	if err := m.announce(tell); err != nil {
		return none, err
	}
	t, err := m.trainer(s, tell, filepath.Join(dir, checkpointsDir), w)
	if err != nil {
		return none, err
	}
	if from.dir != "" {
		w.Doing("loading the checkpoint")
		if err := t.Resume(ctx, from.dir, from.known...); err != nil {
			return none, err
		}
		m.begin.FromStep = from.step
		w.Doing("")
	}
	m.begin.ID = rec.ID()
	if err := m.record(rec); err != nil {
		return none, err
	}
	w.Began(m.begin)
	for _, r := range m.computing() {
		if err := tell.Event("warning", "precision", r, ""); err != nil {
			return none, err
		}
	}
	if from.moved {
		if err := rec.Checkpoint(from.step, from.dir); err != nil {
			return none, err
		}
	}
	for _, message := range from.skipped {
		if err := tell.Event("warning", "checkpoint", message, ""); err != nil {
			return none, err
		}
	}
	for _, r := range m.remarks {
		if err := tell.Event("warning", "weights", r, ""); err != nil {
			return none, err
		}
	}
	closeFeatures, err := m.remember(ctx, t, tell, w)
	defer closeFeatures()
	if err != nil {
		return none, err
	}
	close(training)
	result, err := t.Run(ctx, stop)
	if settled := m.settle(tell, result.Counts); err == nil {
		err = settled
	}
	return result, err
}

// computing is what the encoders say of how they compute.
func (m *model) computing() []string {
	said := slices.Clone(m.begin.Image.Remarks)
	for _, r := range m.begin.Text.Remarks {
		if !slices.Contains(said, r) {
			said = append(said, r)
		}
	}
	return said
}

// sameData records what data the run is made with. A run that goes on from a checkpoint must have the data that it
// began with: its record stays as it is. One that starts over may have other data, which is said.
func (m *model) sameData(ctx context.Context, rec *store.Run, tell *teller, goesOn bool) error {
	digests := map[string]string{store.DataRole: m.begin.Data.Digest}
	for i, e := range m.spec.Eval {
		digests[roleEval+e.Name] = m.evals[i].Info.Digest
	}
	changed, err := rec.SetDatasets(ctx, digests, goesOn)
	if err != nil || len(changed) == 0 {
		return err
	}
	if !goesOn {
		return tell.Event("warning", "data_changed", "the data has changed since the run began: "+list(changed)+
			"; it starts over from its first step with the data of now", "")
	}
	return fault.New(fault.Conflict, "the data has changed since the run began: %s; its points are of the data before", list(changed)).
		WithHint("put the data back as it was, or begin a new run: runner run SPEC, for a sweep with --rerun")
}

// record stores what the plugins said when they were configured.
func (m *model) record(rec *store.Run) error {
	if err := rec.SetFacts(facts(m.begin)); err != nil {
		return err
	}
	return rec.SetDevice(deviceText(m.spec, m.begin.Image), map[string]string{
		"image": m.begin.Image.Backend, "text": m.begin.Text.Backend, "loss": m.begin.Loss.Backend})
}

// trainer is the step loop of the model, recording to rec.
func (m *model) trainer(s *spec.Spec, rec *teller, dir string, w Watcher) (*train.Trainer, error) {
	t, per := s.Train, max(1, m.begin.StepsPerEpoch)
	schedule := optim.Schedule{Kind: t.Schedule, Base: t.LR, MinLR: t.MinLR, WarmupSteps: t.WarmupSteps,
		CooldownSteps: t.CooldownSteps, TotalSteps: m.begin.Steps}
	if err := schedule.Check(); err != nil {
		if f, ok := err.(*fault.Error); ok {
			f.Path = "train." + f.Path
		}
		return nil, err
	}
	return train.New(train.Config{
		Steps: m.begin.Steps, BatchSize: t.BatchSize, MicroBatchSize: t.MicroBatchSize, Samples: m.begin.Data.Len,
		Seed: s.Seed, Shuffle: s.Data.Train.Shuffle, LR: schedule.At, MaxGradNorm: t.MaxGradNorm, Parallel: t.ParallelTowers,
		LogEvery: t.LogEvery, EvalEvery: t.EvalEvery.In(per), CheckpointEvery: t.CheckpointEvery.In(per),
		KeepCheckpoints: t.KeepCheckpoints, Dir: dir, Run: rec.ID(), Prefetch: s.Data.Prefetch, MaxBadShare: s.Data.MaxBadShare,
	}, m.Parts, rec, train.Hooks{
		Step:         w.Step,
		Evaluate:     func(ctx context.Context, step int) error { return m.evaluate(ctx, step, rec, w) },
		Checkpointed: w.Checkpointed,
		Pruned:       func(step int) { _ = rec.DropCheckpoint(step) }, // a failure shows at the next record; readers look for the folder too
	})
}

// evaluate measures the model by every evaluation of the spec and records what it finds.
func (m *model) evaluate(ctx context.Context, step int, rec *teller, w Watcher) error {
	for i, e := range m.spec.Eval {
		w.Doing("evaluating " + e.Name)
		cfg := eval.Config{Name: e.Name, BatchSize: e.BatchSize, MaxSamples: e.MaxSamples, Retrieval: e.Retrieval,
			EqualCaptions: e.EqualCaptions, MaxBadShare: e.MaxBadShare}
		if e.ZeroShot != nil {
			cfg.ZeroShot = &eval.ZeroShot{Target: e.ZeroShot.Classes, Templates: e.ZeroShot.Templates}
		}
		result, err := eval.Run(ctx, cfg, m.evals[i], func(done, total int) {
			w.Doing(fmt.Sprintf("evaluating %s %d/%d", e.Name, done, total))
		})
		w.Doing("")
		if err != nil {
			if f, ok := err.(*fault.Error); ok && f.Path == "max_bad_share" {
				f.Path = evalSection(i) + "." + f.Path
			}
			return place(m.spec, err, evalSection(i))
		}
		if err := m.judged(rec, i, result); err != nil {
			return err
		}
		if err := rec.Metrics(step, result.Metrics); err != nil {
			return err
		}
		if len(result.Predictions) > 0 {
			if err := rec.Predictions(step, e.Name, e.ZeroShot.Classes, result.Predictions); err != nil {
				return err
			}
		}
		w.Evaluated(step, e.Name, result.Metrics)
	}
	return nil
}

// beat tells the store now and then that the run lives, through steps however long. The function
// returned ends it.
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
