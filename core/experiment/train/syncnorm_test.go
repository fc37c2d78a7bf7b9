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

// losses trains a model of the golden file in micro-batches, on ranks that share them, and normalises them all together, in the
// plugins' processes. It returns the losses of rank 0.
func (g training) losses(t *testing.T, plugins, device string, ranks, micros, steps int) (losses []float64) {
	t.Helper()
	errs := make([]error, ranks)
	trainers := make([]*train.Trainer, ranks)
	for r, group := range collective.Local(ranks) {
		session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		cfg := train.Config{Steps: steps, BatchSize: g.Batch, MicroBatchSize: g.Batch / micros, Sources: []mixture.Source{{Len: len(g.Captions), Shuffle: mixture.None}},
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

// A ResNet that 2 ranks of 8 pairs or 4 of 4 normalise together has the losses of one rank with as many micro-batches, to the bit. Two
// micro-batches on each of 2 ranks differ by the order of sums alone, as does one of 16: what is rounded differently grows with the
// steps, since AdamW and ReLUs have no derivative where gradients change their sign.
func TestRanksThatNormaliseTogetherTrainAsOneDoes(t *testing.T) {
	const steps = 12
	f, err := weights.Open(filepath.Join("testdata", "openclip-resnet.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var g training
	if err := json.Unmarshal([]byte(f.Metadata()["golden"]), &g); err != nil {
		t.Fatal(err)
	}
	g.Batch, g.Together = 16, true
	plugins := buildPlugins(t)
	device := towertest.Devices()[0]
	of4 := g.losses(t, plugins, device, 1, 4, steps)
	for ranks, want := range map[int][]float64{2: g.losses(t, plugins, device, 1, 2, steps), 4: of4} {
		if got := g.losses(t, plugins, device, ranks, ranks, steps); len(got) != steps || !slices.Equal(got, want) {
			t.Errorf("%d ranks on %s: losses %v, of one rank %v", ranks, device, got, want)
		}
	}
	for what, got := range map[string][]float64{
		"2 ranks of 2 micro-batches": g.losses(t, plugins, device, 2, 4, 5), "one micro-batch": g.losses(t, plugins, device, 1, 1, 5),
	} {
		for i, v := range got {
			if !(math.Abs(v/of4[i]-1) <= 1e-5) {
				t.Errorf("%s: losses %v, of 4 micro-batches %v", what, got, of4[:5])
				break
			}
		}
	}
}
