package train_test

import (
	"math"
	"slices"
	"sync"
	"testing"

	"tandem/core/engine/optim"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
)

// onRanks trains the towers, in processes of their own, on several ranks and on one with the same micro-batches. Gradients are added up
// in the same order, so that losses have the same bits.
func (g training) onRanks(t *testing.T, plugins, device string) {
	cases := []struct {
		ranks int
		norm  float64
	}{{2, 1}, {4, 0}}
	if g.Vision.PatchSize == 0 {
		cases = cases[:1] // a ResNet's steps take long
	}
	for _, c := range cases {
		one := g.lossesOn(t, 1, c.ranks, c.norm, plugins, device)
		several := g.lossesOn(t, c.ranks, c.ranks, c.norm, plugins, device)
		worst := 0.
		for i, want := range one[0] {
			worst = math.Max(worst, math.Abs(several[0][i]/want-1))
		}
		if len(one[0]) != g.atMost(50, 12) || worst != 0 {
			t.Errorf("%d ranks, max_grad_norm %g: the losses of %d steps are up to %.2g apart from those of one rank", c.ranks, c.norm, len(one[0]), worst)
		}
		for rank, losses := range several {
			if !slices.Equal(losses, several[0]) {
				t.Errorf("rank %d has other losses than rank 0", rank)
			}
		}
		t.Logf("%d ranks, max_grad_norm %g: relative error %.1e over %d steps, loss %.3f to %.3f", c.ranks, c.norm, worst, len(one[0]), one[0][0], one[0][len(one[0])-1])
	}
}

// lossesOn trains 50 steps, or some of a ResNet, of so many micro-batches on ranks and returns the losses that each saw.
func (g training) lossesOn(t *testing.T, ranks, micros int, maxNorm float64, plugins, device string) [][]float64 {
	schedule := optim.Schedule{Kind: "cosine", Base: g.LR, WarmupSteps: g.Warmup, TotalSteps: len(g.Losses)}
	losses, trainers := make([][]float64, ranks), make([]*train.Trainer, ranks)
	sent := make([]int64, ranks)
	var p train.Parts
	for rank, group := range collective.Local(ranks) {
		session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		p = g.parts(t, session, plugins, device, nil)
		if trainers[rank], err = train.New(train.Config{
			Steps: g.atMost(50, 12), BatchSize: g.Batch, MicroBatchSize: g.Batch / micros, Sources: []mixture.Source{{Len: len(g.Captions), Shuffle: mixture.None}},
			LR: schedule.At, MaxGradNorm: maxNorm, Parallel: true, Group: group,
		}, p, silent{}, train.Hooks{Step: func(r train.StepReport) {
			losses[rank] = append(losses[rank], r.Loss)
			sent[rank] += r.Sent
		}}); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for _, trainer := range trainers {
		all.Go(func() {
			if _, err := trainer.Run(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if ranks == 2 { // a sum within one process sends what one between two does
		g.checkBytes(t, p, sent[0]+sent[1])
	}
	return losses
}

// checkBytes holds the bytes that two ranks gave to each other against the formula of docs/cluster.md. Beside those are the words
// with which they agree.
func (g training) checkBytes(t *testing.T, p train.Parts, sent int64) {
	parameters := 0
	for _, size := range slices.Concat(p.Buckets[:]...) {
		parameters += size
	}
	const words = 2 * 3 * 300
	formula := collective.BytesPerStep(collective.Traffic{Ranks: 2, Batch: g.Batch, Dim: g.EmbedDim, Embeddings: 2, Parameters: int64(parameters)}).Total()
	if step := sent / int64(g.atMost(50, 12)); parameters == 0 || step < formula || step > formula+words {
		t.Errorf("%d bytes a step with %d parameters, want %d and at most %d more", step, parameters, formula, words)
	}
}
