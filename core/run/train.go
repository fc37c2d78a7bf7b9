package run

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/eval"
	"tandem/core/fault"
	"tandem/core/host"
	"tandem/core/optim"
	"tandem/core/spec"
	"tandem/core/store"
	"tandem/core/train"
)

// model is the plugins of a run, started and configured.
type model struct {
	session *host.Session
	spec    *spec.Spec
	train.Parts
	begin  Begin
	evals  []eval.Parts // beside spec.Eval
	byRole map[string]*host.Process
}

// Close ends the plugins.
func (m *model) Close() error { return m.session.Close() }

// open starts and configures the plugins of s. With fresh false the text encoder gets no captions:
// it learns its vocabulary from a checkpoint.
func (l Lab) open(ctx context.Context, s *spec.Spec, logDir string, fresh bool, w Watcher) (m *model, err error) {
	w.Doing("starting plugins")
	defer w.Doing("")
	session, err := host.NewSession(host.SessionOptions{Catalog: l.Catalog, LogDir: logDir})
	if err != nil {
		return nil, err
	}
	m = &model{session: session, spec: s, byRole: map[string]*host.Process{}, evals: make([]eval.Parts, len(s.Eval))}
	defer func() {
		if err != nil {
			_ = session.Close()
		}
	}()
	limits := threads(s)
	at := func(role string) host.StartOptions { return host.StartOptions{Label: role, Threads: limits[role]} }
	if err := m.start(ctx, at); err != nil {
		return nil, err
	}
	if err := m.configure(ctx, limits, fresh, w); err != nil {
		return nil, err
	}
	perEpoch := m.begin.Data.Len / s.Train.BatchSize
	m.begin.Spec, m.begin.StepsPerEpoch, m.begin.Steps = s, perEpoch, steps(s.Train, perEpoch)
	return m, nil
}

// start starts every process, all at once.
func (m *model) start(ctx context.Context, at func(role string) host.StartOptions) error {
	s := m.spec
	processes := make([]*host.Process, 4+len(s.Eval))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		m.Data, processes[0], err = m.session.StartDataset(ctx, s.Data.Train.Dataset, at(roleData))
		return err
	})
	g.Go(func() (err error) {
		m.Image, processes[1], err = m.session.StartEncoder(ctx, s.Image.Encoder, at(roleImage))
		return err
	})
	g.Go(func() (err error) {
		m.Text, processes[2], err = m.session.StartEncoder(ctx, s.Text.Encoder, at(roleText))
		return err
	})
	g.Go(func() (err error) {
		m.Loss, processes[3], err = m.session.StartLoss(ctx, s.Loss.Plugin, at(roleLoss))
		return err
	})
	for i, e := range s.Eval {
		g.Go(func() (err error) {
			m.evals[i].Data, processes[4+i], err = m.session.StartDataset(ctx, e.Dataset, at(roleEval+e.Name))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, role := range []string{roleData, roleImage, roleText, roleLoss} {
		m.byRole[role] = processes[i]
	}
	for i, e := range s.Eval {
		m.byRole[roleEval+e.Name] = processes[4+i]
	}
	return nil
}

// configure configures the plugins in the order that they need: the image encoder says how large its
// pictures are, the training data then gives the captions that the text encoder's vocabulary is
// learned from.
func (m *model) configure(ctx context.Context, limits map[string]int, fresh bool, w Watcher) (err error) {
	s := m.spec
	optimizer := s.Train.ClipOptimizer()
	compute := func(role string) clip.Compute {
		return clip.Compute{Device: s.Device, Threads: limits[role], Precision: s.Train.Precision}
	}
	w.Doing("configuring the image encoder")
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		m.begin.Image, err = m.Image.Configure(gctx, clip.EncoderConfig{
			With: s.Image.With, EmbedDim: s.EmbedDim, Seed: s.Seed, Optimizer: optimizer, Compute: compute(roleImage)})
		return place(s, err, roleImage)
	})
	g.Go(func() (err error) {
		m.begin.Loss, err = m.Loss.Configure(gctx, clip.LossConfig{
			With: s.Loss.With, EmbedDim: s.EmbedDim, BatchSize: s.Train.BatchSize, Seed: s.Seed, Optimizer: optimizer, Compute: compute(roleLoss)})
		return place(s, err, roleLoss)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := agree(roleImage, m.begin.Image, clip.Image, s.EmbedDim); err != nil {
		return err
	}

	w.Doing("opening the data")
	cache := cacheDir()
	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		m.begin.Data, err = m.Data.Configure(gctx, clip.DatasetConfig{
			With: s.Data.Train.With, ImageSize: m.begin.Image.ImageSize, Seed: s.Seed, Augment: s.Data.Train.Augment,
			Threads: limits[roleData], CacheDir: cache})
		return place(s, err, roleData)
	})
	for i, e := range s.Eval {
		g.Go(func() (err error) {
			role := roleEval + e.Name
			m.evals[i].Info, err = m.evals[i].Data.Configure(gctx, clip.DatasetConfig{
				With: e.With, ImageSize: m.begin.Image.ImageSize, Seed: s.Seed, Threads: limits[role], CacheDir: cache})
			return place(s, err, evalSection(i))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}

	w.Doing("configuring the text encoder")
	var captions []string
	if fresh && hasCapability(m.byRole[roleText].Descriptor, clip.CapVocabulary) {
		if captions, err = m.Data.Captions(ctx, 0); err != nil {
			return place(s, err, roleData)
		}
	}
	m.begin.Text, err = m.Text.Configure(ctx, clip.EncoderConfig{
		With: s.Text.With, EmbedDim: s.EmbedDim, Seed: s.Seed, Optimizer: optimizer, Compute: compute(roleText), Captions: captions})
	if err != nil {
		return place(s, err, roleText)
	}
	for i := range m.evals {
		m.evals[i].Image, m.evals[i].Text = m.Image, m.Text
	}
	return agree(roleText, m.begin.Text, clip.Text, s.EmbedDim)
}

func hasCapability(d clip.Descriptor, name string) bool {
	for _, c := range d.Capabilities {
		if c == name {
			return true
		}
	}
	return false
}

// place turns the path of a plugin's fault, which begins at its with block, into one of the spec, and
// says where in the file that is.
func place(s *spec.Spec, err error, section string) error {
	f, ok := err.(*fault.Error)
	if !ok || f == nil || f.Path != "with" && !strings.HasPrefix(f.Path, "with.") {
		return err
	}
	f.Path = section + "." + f.Path
	if f.File == "" {
		if o := s.Locate(f.Path); o.Line > 0 {
			f.WithFile(o.Source, o.Line, o.Column)
		}
	}
	return f
}

// evalSection is the place of an evaluation in the spec.
func evalSection(i int) string { return fmt.Sprintf("eval[%d]", i) }

// agree holds what an encoder says of itself against what it was asked for.
func agree(role string, info clip.EncoderInfo, want clip.Modality, dim int) error {
	switch {
	case info.Modality != want:
		return fault.New(fault.Invalid, "the encoder reads %ss, want %ss", info.Modality, want).WithPath(role + ".encoder")
	case info.EmbedDim != dim:
		return fault.New(fault.Invalid, "the encoder ends in %d dimensions, want %d", info.EmbedDim, dim).WithPath("embed_dim")
	case want == clip.Image && info.ImageSize < 1:
		return fault.New(fault.Internal, "the encoder takes pictures of %d pixels", info.ImageSize).WithPath(role + ".encoder")
	}
	return nil
}

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

// Dir is the folder of a run's files.
func (l Lab) Dir(id string) string {
	dir, err := filepath.Abs(filepath.Join(l.RunsDir, id))
	if err != nil {
		return filepath.Join(l.RunsDir, id)
	}
	return dir
}

// train does a run whose record exists and goes on from the newest of its checkpoints, if any.
func (l Lab) train(ctx context.Context, s *spec.Spec, rec *store.Run, from []store.Checkpoint, stop <-chan struct{}, w Watcher) (train.Result, error) {
	var none train.Result
	_, last := newest(from)
	dir := l.Dir(rec.ID())
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
	go func() {
		select {
		case <-stop:
			cancel()
		case <-training:
		case <-ctx.Done():
		}
	}()
	defer beat(rec)()

	m, err := l.open(ctx, s, filepath.Join(dir, "logs"), last == "", w)
	if err != nil {
		return none, err
	}
	defer m.Close()
	kept := &keeper{rec: rec, known: from}
	defer kept.sweep()
	t, err := m.trainer(s, rec, filepath.Join(dir, "checkpoints"), kept, w)
	if err != nil {
		return none, err
	}
	if last != "" {
		w.Doing("loading the checkpoint")
		if err := t.Resume(ctx, last); err != nil {
			return none, err
		}
		if state, err := train.ReadState(last); err == nil {
			m.begin.FromStep = state.Step
		}
		w.Doing("")
	}
	m.begin.ID = rec.ID()
	if err := m.record(rec); err != nil {
		return none, err
	}
	w.Began(m.begin)
	close(training)
	return t.Run(ctx, stop)
}

// record stores what the plugins said when they were configured.
func (m *model) record(rec *store.Run) error {
	if err := rec.SetFacts(facts(m.begin)); err != nil {
		return err
	}
	if err := rec.SetDataset(m.begin.Data.Digest); err != nil {
		return err
	}
	if m.begin.Data.Skipped > 0 {
		if err := rec.Event("warning", "skipped_samples", skipped(m.begin.Data), ""); err != nil {
			return err
		}
	}
	return rec.SetDevice(deviceText(m.spec, m.begin.Image), map[string]string{
		"image": m.begin.Image.Backend, "text": m.begin.Text.Backend, "loss": m.begin.Loss.Backend})
}

// trainer is the step loop of the model, recording to rec.
func (m *model) trainer(s *spec.Spec, rec *store.Run, dir string, kept *keeper, w Watcher) (*train.Trainer, error) {
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
		KeepCheckpoints: t.KeepCheckpoints, Dir: dir, Prefetch: s.Data.Prefetch,
	}, m.Parts, rec, train.Hooks{
		Step:     w.Step,
		Evaluate: func(ctx context.Context, step int) error { return m.evaluate(ctx, step, rec, w) },
		Checkpointed: func(step int, dir string) {
			kept.sweep()
			kept.known = append(kept.known, store.Checkpoint{Step: step, Dir: dir})
			w.Checkpointed(step, dir)
		},
	})
}

// evaluate measures the model by every evaluation of the spec and records what it finds.
func (m *model) evaluate(ctx context.Context, step int, rec clip.Recorder, w Watcher) error {
	for i, e := range m.spec.Eval {
		w.Doing("evaluating " + e.Name)
		cfg := eval.Config{Name: e.Name, BatchSize: e.BatchSize, MaxSamples: e.MaxSamples, Retrieval: e.Retrieval}
		if e.ZeroShot != nil {
			cfg.ZeroShot = &eval.ZeroShot{Target: e.ZeroShot.Classes, Templates: e.ZeroShot.Templates}
		}
		result, err := eval.Run(ctx, cfg, m.evals[i], func(done, total int) {
			w.Doing(fmt.Sprintf("evaluating %s %d/%d", e.Name, done, total))
		})
		w.Doing("")
		if err != nil {
			return place(m.spec, err, evalSection(i))
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

// keeper tells the store which of the checkpoints that it knows of are gone: the trainer keeps the
// newest only.
type keeper struct {
	rec   *store.Run
	known []store.Checkpoint
}

func (k *keeper) sweep() {
	k.known = slices.DeleteFunc(k.known, func(c store.Checkpoint) bool {
		if _, err := os.Stat(c.Dir); err == nil {
			return false
		}
		_ = k.rec.DropCheckpoint(c.Step) // a failure shows at the next record; readers look for the folder too
		return true
	})
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
