package train_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// templates implements a dataset whose captions are few: classes in sentences.
type templates struct{ patterns }

func (d *templates) Batch(ctx context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.patterns.Batch(ctx, r)
	for i := range b.Captions {
		b.Captions[i] = fewCaptions[(r.Indices[i]*r.Indices[i]+r.Epoch)%len(fewCaptions)]
	}
	return b, err
}

var fewCaptions = []string{"a photo of a coat", "a photo of a bag", "a coat", "a bag", "a photo of a shirt"}

// listening implements a linear encoder that keeps what it was asked.
type listening struct {
	linear
	asked [][]string
}

func newListening() *listening { return &listening{linear: *newLinear(6, 2)} }

func (c *listening) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	c.asked = append(c.asked, q.Texts)
	return c.linear.Forward(ctx, q)
}

// coarse implements a loss whose gradients are multiples of 1/16, which float32 adds up without rounding.
type coarse struct{ clipLoss }

func (c *coarse) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := c.clipLoss.Compute(ctx, q)
	for _, g := range []*tensor.Tensor{r.DImage, r.DText} {
		for i, v := range g.F32() {
			g.F32()[i] = float32(math.Round(float64(v)*64)) / 16
		}
	}
	return r, err
}

// Equal captions computed once give the gradient of a run that computes each, with micro-batches and without, on one
// rank and on two.
func TestMergedCaptionsGiveTheSameGradient(t *testing.T) {
	for _, micro := range []int{12, 6} {
		var whole [2][]float64
		var calls [2][][]string
		for i := range whole {
			cfg, p, text := config(""), parts(), newListening()
			cfg.Steps, cfg.MicroBatchSize, cfg.DeduplicateCaptions = 3, micro, i == 1
			p.Data, p.Text, p.Loss = &templates{patterns{samples}}, text, &coarse{*p.Loss.(*clipLoss)}
			rec := newMemory()
			run(t, cfg, p, rec, train.Hooks{}, nil, "")
			whole[i], calls[i] = slices.Concat(p.Image.(*linear).w, text.w), text.asked
			if share, known := rec.metrics["train/captions_merged_share"][1]; known != (i == 1) || known && !(share >= 1./6 && share < 1) {
				t.Errorf("micro_batch_size %d, merging %v: a share of %g (%v) was merged", micro, i == 1, share, known)
			}
		}
		apart := 0.
		for i, want := range whole[0] {
			apart = max(apart, math.Abs(whole[1][i]-want))
		}
		if apart > 1e-12 || apart == 0 && slices.Equal(whole[0], parts().Text.(*linear).w) {
			t.Errorf("micro_batch_size %d: weights are up to %g apart", micro, apart)
		}
		for i, plain := range calls[0] {
			texts := calls[1][i]
			distinct := slices.Compact(slices.Sorted(slices.Values(plain)))
			if len(plain) != micro || len(texts) != len(distinct) || !slices.Equal(slices.Compact(slices.Sorted(slices.Values(texts))), distinct) {
				t.Errorf("micro_batch_size %d, call %d: %q of %q", micro, i, texts, plain)
			}
		}
	}
}

// Encoders see few sizes of batches: seventeen captions are eighteen texts, of which one counts for nothing.
func TestMergedCaptionsComeInRoundNumbers(t *testing.T) {
	cfg, p, text := config(""), parts(), newListening()
	cfg.Steps, cfg.BatchSize, cfg.DeduplicateCaptions = 2, 40, true
	p.Data, p.Text = &numbered{patterns{samples}}, text
	run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
	for _, texts := range text.asked {
		if shortest := slices.MinFunc(texts, func(a, b string) int { return len(a) - len(b) }); len(texts) != 18 || texts[17] != shortest {
			t.Errorf("%d texts, the last is %q", len(texts), texts[17])
		}
	}
}

// numbered implements a dataset of seventeen captions, each in every batch of 40.
type numbered struct{ patterns }

func (d *numbered) Batch(ctx context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.patterns.Batch(ctx, r)
	for i := range b.Captions {
		b.Captions[i] = fmt.Sprintf("number %d", i%17)
	}
	return b, err
}

// Every text of every pass has its own rows of tokens and their gradient.
func TestMergedTextsOfAllInputs(t *testing.T) {
	var values [2][]float64
	var asked [2]int
	for i := range values {
		cfg, p := config(""), richParts()
		cfg.Steps, cfg.MicroBatchSize, cfg.DeduplicateCaptions = 4, 6, i == 1
		p.Data.(*rich).fewTexts = true
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		values[i] = valuesOf(p)
		for _, q := range p.Text.(*tokenTower).asked {
			asked[i] += len(q.Texts)
		}
	}
	for i, want := range values[0] {
		if got := values[1][i]; math.Abs(got-want) > 1e-5 {
			t.Fatalf("weight %d is %v, without merging %v", i, got, want)
		}
	}
	if asked[1]*4 > asked[0]*3 {
		t.Errorf("%d texts were computed of %d", asked[1], asked[0])
	}
}

// A resumed run merges what an uninterrupted one does.
func TestMergedCaptionsResumeToTheSameBits(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.DeduplicateCaptions = true
	fresh := func() train.Parts {
		p := parts()
		p.Data = &templates{patterns{samples}}
		return p
	}
	whole := fresh()
	run(t, cfg, whole, newMemory(), train.Hooks{}, nil, "")
	stop := make(chan struct{})
	cfg.Dir = t.TempDir()
	res := run(t, cfg, fresh(), newMemory(), train.Hooks{Step: func(r train.StepReport) {
		if r.Step == 17 {
			close(stop)
		}
	}}, stop, "")
	again := fresh()
	run(t, cfg, again, newMemory(), train.Hooks{}, nil, res.CheckpointDir)
	if !slices.Equal(weightsOf(whole), weightsOf(again)) {
		t.Error("weights differ")
	}
}

// A transformer on templates of a few classes learns the same, on one rank and on two.
func TestMergedCaptionsTrainATransformerAlike(t *testing.T) {
	f, err := weights.Open(filepath.Join("testdata", "openclip-vit.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var g training
	if err := json.Unmarshal([]byte(f.Metadata()["golden"]), &g); err != nil {
		t.Fatal(err)
	}
	for i := range g.Captions {
		g.Captions[i] = fmt.Sprintf([]string{"a photo of a %s", "%s"}[i/g.Batch%2], []string{"bag", "coat", "shirt"}[i%3])
	}
	plugins := buildPlugins(t)
	losses := func(ranks int, merge bool) (list []float64, work float64) {
		var all sync.WaitGroup
		for rank, group := range collective.Local(ranks) {
			session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}, Observe: func(c process.Call) {
				if rank == 0 && c.Label == "text" {
					work += c.Work
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			trainer, err := train.New(train.Config{
				Steps: 12, BatchSize: g.Batch, MicroBatchSize: g.Batch / ranks, Sources: []mixture.Source{{Len: len(g.Captions), Shuffle: mixture.None}}, Group: group,
				LR: func(int) float64 { return g.LR }, MaxGradNorm: g.MaxGradNorm, DeduplicateCaptions: merge,
			}, g.parts(t, session, plugins, "host", nil), silent{}, train.Hooks{Step: func(r train.StepReport) {
				if rank == 0 {
					list = append(list, r.Loss)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				if _, err := trainer.Run(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return list, work
	}
	for _, ranks := range []int{1, 2} {
		plain, before := losses(ranks, false)
		merged, after := losses(ranks, true)
		if len(plain) != 12 || len(merged) != 12 || after >= before {
			t.Fatalf("%d ranks: %d and %d losses, work %g and %g", ranks, len(plain), len(merged), before, after)
		}
		worst := 0.
		for i, want := range plain {
			worst = max(worst, math.Abs(merged[i]/want-1))
		}
		if worst > 1e-5 {
			t.Errorf("%d ranks: losses are up to %.2g apart", ranks, worst)
		}
		t.Logf("%d ranks: losses up to %.1g apart, the text tower's work %.2f times as much", ranks, worst, after/before)
	}
}
