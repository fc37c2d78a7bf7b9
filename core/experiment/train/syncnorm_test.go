package train_test

import (
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"tandem/core/engine/tower/towertest"
	"tandem/core/engine/weights"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
)

// losses trains a model of the golden file on ranks that normalise their batches together, in the plugins' processes, and returns the
// losses of rank 0.
func (g training) losses(t *testing.T, plugins, device string, ranks, steps int) (losses []float64) {
	t.Helper()
	errs := make([]error, ranks)
	trainers := make([]*train.Trainer, ranks)
	for r, group := range collective.Local(ranks) {
		session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		cfg := train.Config{Steps: steps, BatchSize: g.Batch, MicroBatchSize: g.Batch / ranks, Sources: []mixture.Source{{Len: len(g.Captions), Shuffle: mixture.None}},
			LR: func(int) float64 { return g.LR }, MaxGradNorm: g.MaxGradNorm, Parallel: true}
		hooks := train.Hooks{}
		if r == 0 {
			hooks.Step = func(x train.StepReport) { losses = append(losses, x.Loss) }
		}
		if cfg.Group = group; ranks == 1 {
			group = nil
		}
		if trainers[r], err = train.New(cfg, g.parts(t, session, plugins, device, group), silent{}, hooks); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for r, trainer := range trainers {
		all.Go(func() { _, errs[r] = trainer.Run(t.Context(), nil) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return losses
}

// A ResNet on 2 ranks of 8 pairs and on 4 of 4 follows one rank of 16. What differs is the rounding of sums, which AdamW and ReLUs
// make grow: one rank on oneDNN and one on the reference are 6·10⁻⁵ apart after 50 steps.
func TestRanksThatNormaliseTogetherTrainAsOneDoes(t *testing.T) {
	const steps = 50
	f, err := weights.Open(filepath.Join("testdata", "openclip-resnet.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var g training
	if err := json.Unmarshal([]byte(f.Metadata()["golden"]), &g); err != nil {
		t.Fatal(err)
	}
	g.Batch = 16
	plugins := buildPlugins(t)
	device := towertest.Devices()[0]
	want := g.losses(t, plugins, device, 1, steps)
	for _, ranks := range []int{2, 4} {
		got := g.losses(t, plugins, device, ranks, steps)
		apart := make([]float64, steps)
		for i, w := range want {
			apart[i] = math.Abs(got[i]/w - 1)
		}
		t.Logf("%d ranks on %s: relative difference of the loss at step 1: %.1e, up to step 10: %.1e, up to step 50: %.1e",
			ranks, device, apart[0], slices.Max(apart[:10]), slices.Max(apart))
		if !(apart[0] <= 1e-6 && slices.Max(apart[:10]) <= 1e-4 && slices.Max(apart) <= 1e-3) {
			t.Errorf("%d ranks: relative differences %.1e", ranks, apart)
		}
	}
}
