package train_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/tensor"
)

const samples = 50

func config(dir string) train.Config {
	return train.Config{
		Steps: 30, BatchSize: 12, Sources: []mixture.Source{{Len: samples, Shuffle: mixture.Global}}, Seed: 7, MaxGradNorm: 1,
		LR: func(step int) float64 { return 0.5 / (1 + 0.01*float64(step)) }, CheckpointEvery: 10, Dir: dir, MaxBadShare: 1,
	}
}

func parts() train.Parts {
	return train.Parts{Data: &patterns{samples}, Image: newLinear(6, 1), Text: newLinear(6, 2), Loss: &clipLoss{s: []float64{1}, g: []float64{0}}}
}

func run(t *testing.T, cfg train.Config, p train.Parts, rec clip.Recorder, hooks train.Hooks, stop <-chan struct{}, resume string) train.Result {
	t.Helper()
	trainer, err := train.New(cfg, p, rec, hooks)
	if err != nil {
		t.Fatal(err)
	}
	if resume != "" {
		if err := trainer.Resume(t.Context(), resume); err != nil {
			t.Fatal(err)
		}
	}
	res, err := trainer.Run(t.Context(), stop)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func weightsOf(p train.Parts) []float64 {
	return slices.Concat(p.Image.(*linear).w, p.Text.(*linear).w, p.Loss.(*clipLoss).s)
}

func TestTheLossFalls(t *testing.T) {
	rec := newMemory()
	run(t, config(""), parts(), rec, train.Hooks{}, nil, "")
	loss := rec.metrics["train/loss"]
	if len(loss) != 30 || loss[30] > 0.9*loss[1] {
		t.Errorf("loss over %d steps: first %.3f, last %.3f", len(loss), loss[1], loss[30])
	}
}

func TestAResumedRunHasTheBitsOfAnUninterruptedOne(t *testing.T) {
	whole, rec := parts(), newMemory()
	run(t, config(t.TempDir()), whole, rec, train.Hooks{}, nil, "")

	for _, stopAt := range []int{1, 10, 17, 29} {
		dir, first, again := t.TempDir(), parts(), newMemory()
		stop := make(chan struct{})
		hooks := train.Hooks{Step: func(r train.StepReport) {
			if r.Step == stopAt {
				close(stop)
			}
		}}
		res := run(t, config(dir), first, again, hooks, stop, "")
		if !res.Stopped || res.Steps != stopAt {
			t.Fatalf("stop after step %d: %+v", stopAt, res)
		}
		second := parts() // a new process: nothing but the checkpoint survives
		run(t, config(dir), second, again, train.Hooks{}, nil, res.CheckpointDir)
		if !slices.Equal(weightsOf(whole), weightsOf(second)) {
			t.Errorf("stopped after %d: weights differ", stopAt)
		}
		for step, v := range rec.metrics["train/loss"] {
			if again.metrics["train/loss"][step] != v {
				t.Errorf("stopped after %d: loss of step %d is %v, want %v", stopAt, step, again.metrics["train/loss"][step], v)
			}
		}
	}
}

func TestAccumulationGivesTheFullBatchGradient(t *testing.T) {
	cfg := config("")
	cfg.Steps = 5
	whole := parts()
	run(t, cfg, whole, newMemory(), train.Hooks{}, nil, "")
	for _, micro := range []int{1, 3, 4} {
		cfg.MicroBatchSize = micro
		p := parts()
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		for i, w := range weightsOf(whole) {
			if got := weightsOf(p)[i]; math.Abs(got-w) > 1e-5 {
				t.Fatalf("micro_batch_size %d: weight %d is %v, of the whole batch %v", micro, i, got, w)
			}
		}
	}
}

func TestParallelTowersGiveTheSameBits(t *testing.T) {
	cfg := config("")
	serial, parallel := parts(), parts()
	run(t, cfg, serial, newMemory(), train.Hooks{}, nil, "")
	cfg.Parallel = true
	run(t, cfg, parallel, newMemory(), train.Hooks{}, nil, "")
	if !slices.Equal(weightsOf(serial), weightsOf(parallel)) {
		t.Error("weights differ")
	}
}

func TestOnlyTheNewestCheckpointsAreKept(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.KeepCheckpoints = 2
	run(t, cfg, parts(), newMemory(), train.Hooks{}, nil, "")
	got, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	want := []string{filepath.Join(cfg.Dir, "step-00000020"), filepath.Join(cfg.Dir, "step-00000030")}
	if !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

func TestResumeRemovesWhatIsHalfWritten(t *testing.T) {
	cfg := config(t.TempDir())
	run(t, cfg, parts(), newMemory(), train.Hooks{}, nil, "")
	half := filepath.Join(cfg.Dir, "step-00000025.tmp")
	if err := os.Mkdir(half, 0o755); err != nil {
		t.Fatal(err)
	}
	trainer, err := train.New(cfg, parts(), newMemory(), train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Resume(t.Context(), filepath.Join(cfg.Dir, "step-00000010")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("the half-written checkpoint is still there")
	}
}

// What lies in the folder and is not known to be the run's is not removed, whatever its name, and does not count.
func TestOnlyRecordedCheckpointsAreRemoved(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.KeepCheckpoints = 1
	stale := filepath.Join(cfg.Dir, "step-00000999")
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	var pruned []int
	res := run(t, cfg, parts(), newMemory(), train.Hooks{Pruned: func(step int) { pruned = append(pruned, step) }}, nil, "")
	if !slices.Equal(pruned, []int{10, 20}) || train.Verify(res.CheckpointDir, "", 30) != nil {
		t.Errorf("pruned %v, newest %s", pruned, res.CheckpointDir)
	}
	if _, err := os.Stat(stale); err != nil {
		t.Error("a folder that is not known was removed")
	}
}

// A hook that cannot keep a checkpoint ends the run; the one before is there to go on from.
func TestOlderCheckpointsStayWhereTheHookEndsTheRun(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.KeepCheckpoints = 1
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	trainer, err := train.New(cfg, parts(), newMemory(), train.Hooks{Checkpointed: func(step int, _ string) {
		if step == 20 {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Run(ctx, nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("the run ended with %v", err)
	}
	for _, step := range []int{10, 20} {
		if err := train.Verify(train.CheckpointIn(cfg.Dir, step), cfg.Run, step); err != nil {
			t.Error(err)
		}
	}
}

func TestADamagedCheckpointIsFoundOut(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Run = "1aaaaaaaaa"
	dir := run(t, cfg, parts(), newMemory(), train.Hooks{}, nil, "").CheckpointDir
	if err := train.Verify(dir, cfg.Run, 30); err != nil {
		t.Fatal(err)
	}
	if err := train.Verify(dir, cfg.Run, 20); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("as that of another step: %v", err)
	}
	if err := train.Verify(dir, "1bbbbbbbbb", 30); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("as that of another run: %v", err)
	}
	for _, name := range []string{train.ImageFile, train.TextFile, train.LossFile, "state.json"} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, data := range map[string][]byte{
			"a bit is flipped": func() []byte { b := slices.Clone(whole); b[len(b)/2] ^= 1; return b }(),
			"it is cut":        whole[:len(whole)-2],
			"it is empty":      {},
		} {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := train.Verify(dir, cfg.Run, 30); fault.KindOf(err) != fault.Corrupt {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := train.Verify(dir, cfg.Run, 30); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: gone: %v", name, err)
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEvaluationComesBeforeTheCheckpointOfItsStep(t *testing.T) {
	var order []string
	cfg := config(t.TempDir())
	cfg.EvalEvery = 20
	hooks := train.Hooks{
		Evaluate:     func(context.Context, int) error { order = append(order, "evaluate"); return nil },
		Checkpointed: func(int, string) { order = append(order, "checkpoint") },
	}
	run(t, cfg, parts(), newMemory(), hooks, nil, "")
	if want := []string{"checkpoint", "evaluate", "checkpoint", "evaluate", "checkpoint"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestAnEpochVisitsEverySampleOnce(t *testing.T) {
	for epoch := range 3 {
		order := mixture.Order(samples, 7, epoch, true)
		if slices.IsSorted(order) {
			t.Errorf("epoch %d is not shuffled", epoch)
		}
		slices.Sort(order)
		if !slices.Equal(order, mixture.Order(samples, 7, epoch, false)) {
			t.Errorf("epoch %d is no permutation", epoch)
		}
	}
	if slices.Equal(mixture.Order(samples, 7, 0, true), mixture.Order(samples, 7, 1, true)) {
		t.Error("two epochs have the same order")
	}
	if slices.Equal(mixture.Order(samples, 7, 0, true), mixture.Order(samples, 8, 0, true)) {
		t.Error("two seeds have the same order")
	}
}

func TestACollapsedModelRaisesOneAlarm(t *testing.T) {
	cfg := config("")
	cfg.Steps = 260
	cfg.LR = func(int) float64 { return 0 }
	p, rec := parts(), newMemory()
	p.Loss = &clipLoss{s: []float64{-20}, g: []float64{0}} // all similarities alike: ln B
	run(t, cfg, p, rec, train.Hooks{}, nil, "")
	if !slices.Equal(rec.events, []string{"collapsed"}) {
		t.Errorf("events %v, want one alarm", rec.events)
	}
}

// biased implements the same loss with the values of one that has a bias: chance is then another number.
type biased struct {
	*clipLoss
	value float64
}

func (b biased) Compute(ctx context.Context, r clip.LossRequest) (*clip.LossResult, error) {
	res, err := b.clipLoss.Compute(ctx, r)
	if err == nil {
		res.Value, res.Scalars["logit_bias"] = b.value, -3
	}
	return res, err
}

func TestChanceOfALossWithABiasIsAnEntropy(t *testing.T) {
	cfg := config("")
	cfg.Steps = 260
	cfg.LR = func(int) float64 { return 0 }
	b := float64(cfg.BatchSize)
	entropy := -b * (math.Log(1/b)/b + (1-1/b)*math.Log(1-1/b)) // of a row's judgements
	for value, want := range map[float64]int{entropy: 1, math.Log(b): 0} {
		p, rec := parts(), newMemory()
		p.Loss = biased{&clipLoss{s: []float64{1}, g: []float64{0}}, value}
		run(t, cfg, p, rec, train.Hooks{}, nil, "")
		if len(rec.events) != want {
			t.Errorf("a loss of %.4f raised %v, want %d alarms", value, rec.events, want)
		}
	}
}

func TestANonFiniteLossIsNumeric(t *testing.T) {
	p := parts()
	p.Loss = &clipLoss{s: []float64{math.Inf(1)}, g: []float64{0}}
	trainer, err := train.New(config(""), p, newMemory(), train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = trainer.Run(t.Context(), nil)
	if fault.KindOf(err) != fault.Numeric {
		t.Errorf("error %v, want a numeric fault", err)
	}
}

func TestConfigsThatCannotTrainAreInvalid(t *testing.T) {
	for name, change := range map[string]func(*train.Config){
		"no steps":                         func(c *train.Config) { c.Steps = 0 },
		"a batch of one":                   func(c *train.Config) { c.BatchSize = 1 },
		"a batch larger than the set":      func(c *train.Config) { c.BatchSize = samples + 1 },
		"a micro-batch that leaves a rest": func(c *train.Config) { c.MicroBatchSize = 5 },
	} {
		cfg := config("")
		change(&cfg)
		if _, err := train.New(cfg, parts(), newMemory(), train.Hooks{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: error %v, want invalid", name, err)
		}
	}
}

// counted frees count how many batches were not given back.
type counted struct {
	*patterns
	live *atomic.Int64
}

func (c counted) Batch(ctx context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	b, err := c.patterns.Batch(ctx, r)
	if b != nil {
		c.live.Add(1)
		b.Images.Release = func() { c.live.Add(-1) }
	}
	return b, err
}

type failing struct{ *linear }

func (f failing) Forward(ctx context.Context, r clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if r.Step == 3 {
		return nil, 0, errors.New("broke")
	}
	return f.linear.Forward(ctx, r)
}

func TestAFailureGivesEveryBatchBack(t *testing.T) {
	var live atomic.Int64
	p := parts()
	p.Data = counted{&patterns{samples}, &live}
	p.Image = failing{newLinear(6, 1)}
	trainer, err := train.New(config(""), p, newMemory(), train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Run(t.Context(), nil); err == nil {
		t.Fatal("no error")
	}
	if n := live.Load(); n != 0 {
		t.Errorf("%d batches still held", n)
	}
}

// locked implements an encoder of which only Forward may be called in a step.
type locked struct {
	*linear
	t *testing.T
}

func (l locked) Forward(ctx context.Context, r clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	out, _, err := l.linear.Forward(ctx, r)
	return out, 0, err
}

func (l locked) Backward(context.Context, clip.Ticket, *tensor.Tensor) error {
	l.t.Error("a frozen tower got a gradient")
	return nil
}

func (l locked) GradNorm(context.Context) (float64, error) {
	l.t.Error("a frozen tower was asked for its gradient")
	return 0, nil
}

func (l locked) Step(context.Context, int, float64, float64) error {
	l.t.Error("a frozen tower was to take a step")
	return nil
}

// A frozen tower is forwarded once a step and learns nothing; the other learns what it would beside a
// tower with a learning rate of 0.
func TestAFrozenTowerIsForwardedOnly(t *testing.T) {
	cfg := config("")
	cfg.MaxGradNorm = 0
	for _, micro := range []int{12, 3} {
		cfg.MicroBatchSize = micro
		still, frozen := parts(), parts()
		still.Image = &motionless{still.Image.(*linear)}
		image := frozen.Image.(*linear)
		frozen.Image, frozen.Frozen = locked{image, t}, [2]bool{true, false}
		run(t, cfg, still, newMemory(), train.Hooks{}, nil, "")
		run(t, cfg, frozen, newMemory(), train.Hooks{}, nil, "")
		if !slices.Equal(still.Text.(*linear).w, frozen.Text.(*linear).w) {
			t.Errorf("micro_batch_size %d: the other tower learned something else", micro)
		}
		if want := cfg.Steps * cfg.BatchSize / micro; image.forwards != want {
			t.Errorf("micro_batch_size %d: %d forward passes, want %d", micro, image.forwards, want)
		}
	}
}

// motionless does not step.
type motionless struct{ *linear }

func (m *motionless) Step(context.Context, int, float64, float64) error { clear(m.g); return nil }

// remote tells norms as a plugin's client does: with the last gradient, not apart.
type remote struct {
	*linear
	t     *testing.T
	norms int
}

func (r *remote) BackwardNorm(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor) (float64, error) {
	r.norms++
	err := r.Backward(ctx, ticket, grad)
	return squares(r.g), err
}

func (r *remote) GradNorm(context.Context) (float64, error) {
	r.t.Error("asked for a norm that was told")
	return 0, nil
}

type remoteLoss struct {
	*clipLoss
	t *testing.T
}

func (l *remoteLoss) ComputeNorm(ctx context.Context, q clip.LossRequest) (*clip.LossResult, float64, error) {
	r, err := l.Compute(ctx, q)
	return r, squares(l.g), err
}

func (l *remoteLoss) GradNorm(context.Context) (float64, error) {
	l.t.Error("asked for a norm that was told")
	return 0, nil
}

func TestNormsToldWithTheGradientsGiveTheSameBits(t *testing.T) {
	for _, micro := range []int{12, 3} {
		cfg := config("")
		cfg.MicroBatchSize, cfg.Parallel = micro, true
		asked, told := parts(), parts()
		run(t, cfg, asked, newMemory(), train.Hooks{}, nil, "")
		want := weightsOf(asked)

		image, text, loss := told.Image.(*linear), told.Text.(*linear), told.Loss.(*clipLoss)
		tower := &remote{linear: image, t: t}
		p := told
		p.Image, p.Text, p.Loss = tower, &remote{linear: text, t: t}, &remoteLoss{loss, t}
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		if !slices.Equal(weightsOf(told), want) {
			t.Errorf("micro_batch_size %d: weights differ", micro)
		}
		if tower.norms != cfg.Steps {
			t.Errorf("micro_batch_size %d: %d norms in %d steps", micro, tower.norms, cfg.Steps)
		}
	}
}
