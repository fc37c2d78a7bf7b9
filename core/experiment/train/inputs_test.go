package train_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// What a step adds to a parameter is the derivative of the step's loss, over all inputs of the loss at once.
func TestAStepsGradientIsTheDerivativeOfItsLoss(t *testing.T) {
	cfg := config("")
	cfg.Steps, cfg.MaxGradNorm, cfg.LR = 1, 0, func(int) float64 { return 1 }
	lossWith := func(at int, change float64) float64 {
		p, rec := richParts(), newMemory()
		*richWeights(p)[at] += change
		run(t, cfg, p, rec, train.Hooks{}, nil, "")
		return rec.metrics["train/loss"][1]
	}
	for _, micro := range []int{12, 3} {
		cfg.MicroBatchSize = micro
		p := richParts()
		before := valuesOf(p)
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		const h = 1e-3
		for at, after := range valuesOf(p) {
			if micro != 12 && at%7 != 0 {
				continue
			}
			got, want := before[at]-after, (lossWith(at, h)-lossWith(at, -h))/(2*h)
			if math.Abs(got-want) > 2e-4+1e-3*math.Abs(want) {
				t.Errorf("micro_batch_size %d, parameter %d: gradient %v, derivative %v", micro, at, got, want)
			}
		}
	}
}

func TestAccumulationGivesTheGradientOfAllInputs(t *testing.T) {
	cfg := config("")
	cfg.Steps = 5
	whole, rec := richParts(), newMemory()
	run(t, cfg, whole, rec, train.Hooks{}, nil, "")
	for _, micro := range []int{1, 3, 4} {
		cfg.MicroBatchSize = micro
		p, again := richParts(), newMemory()
		run(t, cfg, p, again, train.Hooks{}, nil, "")
		for i, w := range valuesOf(whole) {
			if got := valuesOf(p)[i]; math.Abs(got-w) > 1e-5 {
				t.Fatalf("micro_batch_size %d: weight %d is %v, of the whole batch %v", micro, i, got, w)
			}
		}
		for step, want := range rec.metrics["train/grad_norm"] {
			if got := again.metrics["train/grad_norm"][step]; math.Abs(got-want) > 1e-4*want {
				t.Errorf("micro_batch_size %d: the norm of step %d is %v, of the whole batch %v", micro, step, got, want)
			}
		}
		if !slices.EqualFunc(whole.Loss.(*everything).groups, p.Loss.(*everything).groups, slices.Equal) {
			t.Errorf("micro_batch_size %d: the groups differ", micro)
		}
	}
}

func TestWithAllInputsAResumedRunHasTheSameBits(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.MicroBatchSize, cfg.Parallel, cfg.Teacher = 4, true, "weights A"
	whole, rec := richParts(), newMemory()
	whole.Data.(*rich).broken = 7
	run(t, cfg, whole, rec, train.Hooks{}, nil, "")
	dir, stop := t.TempDir(), make(chan struct{})
	cfg.Dir = dir
	first, again := richParts(), newMemory()
	first.Data.(*rich).broken = 7
	res := run(t, cfg, first, again, train.Hooks{Step: func(r train.StepReport) {
		if r.Step == 17 {
			close(stop)
		}
	}}, stop, "")
	second := richParts()
	second.Data.(*rich).broken = 7
	run(t, cfg, second, again, train.Hooks{}, nil, res.CheckpointDir)
	if !slices.Equal(valuesOf(whole), valuesOf(second)) || !maps.Equal(rec.metrics["train/loss"], again.metrics["train/loss"]) {
		t.Error("a resumed run has other bits")
	}
	cfg.Teacher = "weights B"
	other, err := train.New(cfg, richParts(), newMemory(), train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Resume(t.Context(), res.CheckpointDir); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "teacher") {
		t.Errorf("with another teacher: %v", err)
	}
}

// The second forward of micro-batch m of M has the random numbers of m + M, and only the last backward of a step is
// asked for the norm.
func TestSecondForwardsHaveRandomNumbersOfTheirOwn(t *testing.T) {
	for _, micro := range []int{12, 4} {
		cfg, p := config(""), richParts()
		cfg.Steps, cfg.MicroBatchSize = 2, micro
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		for name, e := range map[string]*tokenTower{"image": p.Image.(*tokenTower), "text": p.Text.(*tokenTower)} {
			var got, want []string
			for _, q := range e.asked {
				got = append(got, fmt.Sprintf("%d/%d/%d", q.Step, q.Micro, q.Mode))
			}
			for step := range 2 {
				m := 12 / micro
				for _, mode := range []clip.Mode{clip.Embed, clip.Train}[min(1, 2-min(2, m)):] {
					for i := range m {
						want = append(want, fmt.Sprintf("%d/%d/%d", step, i, mode), fmt.Sprintf("%d/%d/%d", step, i+m, mode))
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, micro_batch_size %d: forwards %v, want %v", name, micro, got, want)
			}
			if e.norms != 2 {
				t.Errorf("%s, micro_batch_size %d: the norm was asked for %d times in 2 steps", name, micro, e.norms)
			}
		}
	}
}

// What a loss does not name is neither asked of the data nor computed.
func TestWhatALossDoesNotTakeIsNotComputed(t *testing.T) {
	p := richParts()
	p.Inputs, p.Loss = nil, parts().Loss
	cfg := config("")
	cfg.Steps = 3
	run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
	for _, q := range p.Data.(*rich).asked {
		if q.Negatives || q.View2 {
			t.Errorf("the data was asked for %+v", q)
		}
	}
	if a, b := len(p.Image.(*tokenTower).asked), len(p.Text.(*tokenTower).asked); a != 3 || b != 3 || p.Teachers[0].(*linear).forwards+p.Teachers[1].(*linear).forwards != 0 {
		t.Errorf("%d and %d forwards in 3 steps", a, b)
	}
}

// Another sample stands in the place of one that cannot be read, in every respect.
func TestReplacedSamplesAreReplacedInAllViews(t *testing.T) {
	cfg, p := config(""), richParts()
	cfg.Steps = 8
	p.Data.(*rich).broken = 3
	image, text := p.Image.(*tokenTower), p.Text.(*tokenTower)
	run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
	whole := &rich{patterns: patterns{samples}}
	for step := range cfg.Steps {
		epoch := step / (samples / cfg.BatchSize)
		for at, caption := range text.asked[2*step].Texts {
			index := slices.IndexFunc(captionsOf(t, epoch, mixture.Order(samples, 0, 0, false)...), func(c string) bool { return c == caption })
			if index%3 == 0 {
				t.Fatalf("step %d trains on sample %d, which cannot be read", step+1, index)
			}
			b, err := whole.Batch(t.Context(), clip.BatchRequest{Indices: []int{index}, Epoch: epoch, Train: true, Negatives: true, View2: true})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(text.asked[2*step+1].Texts[at*negatives:(at+1)*negatives], b.Negatives[0]) {
				t.Errorf("step %d, place %d: negatives of another sample", step+1, at)
			}
			for view, want := range []*tensor.Tensor{b.Images, b.Images2} {
				if !slices.Equal(image.asked[2*step+view].Images.U8()[at*feats:(at+1)*feats], want.U8()) {
					t.Errorf("step %d, place %d: view %d of another sample", step+1, at, view+1)
				}
			}
		}
	}
}

func TestALossThatKeepsAGradientBackIsNamed(t *testing.T) {
	for _, input := range clip.LossInputs {
		if !clip.DifferentiableInput(input) {
			continue
		}
		p := richParts()
		p.Loss.(*everything).lacks = input
		trainer, err := train.New(config(""), p, newMemory(), train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trainer.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), input) {
			t.Errorf("no gradient of %s: %v", input, err)
		}
	}
}

func TestPartsThatCannotGiveAnInputAreRefused(t *testing.T) {
	for input, spoil := range map[string]func(*train.Parts){
		clip.InputTeacherImage:  func(p *train.Parts) { p.Teachers[0] = nil },
		clip.InputTextNegatives: func(p *train.Parts) { p.Negatives = 0 },
		clip.InputTextTokens:    func(p *train.Parts) { p.Text = newLinear(6, 2) },
	} {
		p := richParts()
		spoil(&p)
		if _, err := train.New(config(""), p, newMemory(), train.Hooks{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), input) {
			t.Errorf("%s: %v", input, err)
		}
	}
}

// pushing adds to clipLoss that pictures are pushed away from negatives.
type pushing struct{ clipLoss }

func (l *pushing) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := l.clipLoss.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	texts, dim := q.Inputs[clip.InputTextNegatives].Value, q.Image.Shape[1]
	r.Gradients = map[string]*tensor.Tensor{clip.InputTextNegatives: tensor.New(tensor.F32, texts.Shape...)}
	if view := q.Inputs[clip.InputImageView2].Value; view != nil {
		r.Gradients[clip.InputImageView2] = tensor.New(tensor.F32, view.Shape...)
	}
	row := func(t *tensor.Tensor, i int) []float32 { return t.F32()[i*dim : (i+1)*dim] }
	for i := range texts.Shape[0] {
		dot(&r.Value, .1, row(q.Image, i/negatives), row(texts, i), row(r.DImage, i/negatives), row(r.Gradients[clip.InputTextNegatives], i))
	}
	return r, nil
}

// Features of captions serve negatives too. Those of pictures do not serve a loss that takes a second view.
func TestRememberedFeaturesServeFurtherInputsWhereTheyCan(t *testing.T) {
	cfg := config("")
	cfg.Steps = 12
	try := func(images, captions train.Features, inputs ...string) ([]float64, int) {
		p := parts()
		text := &watched{locked: locked{p.Text.(*linear), t}}
		p.Data, p.Text, p.Loss = &rich{patterns: patterns{samples}}, text, &pushing{clipLoss{s: []float64{1}, g: []float64{0}}}
		p.Frozen, p.Inputs, p.Negatives = [2]bool{false, true}, inputs, negatives
		image := p.Image.(*linear)
		trainer, err := train.New(cfg, p, newMemory(), train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		trainer.Remember(images, captions)
		if _, err := trainer.Run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return image.w, text.samples
	}
	want, all := try(nil, nil, clip.InputTextNegatives)
	got, computed := try(nil, newShelf(), clip.InputTextNegatives)
	if !slices.Equal(want, got) || computed >= all {
		t.Errorf("with remembered captions other weights, or %d of %d texts computed", computed, all)
	}
	images := newShelf()
	if try(images, nil, clip.InputTextNegatives, clip.InputImageView2); len(images.rows) > 0 {
		t.Errorf("%d pictures are remembered beside a second view", len(images.rows))
	}
}

// wordy counts the words of texts as their tokens.
type wordy struct{ *tokenTower }

func (w wordy) CountTokens(_ context.Context, _ *clip.EncoderConfig, texts []string) (tokens []int, limit int, err error) {
	for _, text := range texts {
		tokens = append(tokens, len(strings.Fields(text))+2)
	}
	return tokens, 4, nil
}

// A negative that is cut is told like a caption that is.
func TestNegativesAreCountedAsCaptions(t *testing.T) {
	cfg, p := config(""), richParts()
	cfg.Steps = 1
	p.Text = wordy{p.Text.(*tokenTower)}
	c := run(t, cfg, p, newMemory(), train.Hooks{}, nil, "").Counts
	if c.Captions != 12*(1+negatives) || c.Cut != 12 || c.Longest != 6 { // "nor 13 in 0" of each sample
		t.Errorf("counted %+v", c)
	}
}
