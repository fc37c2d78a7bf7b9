package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/loss"
	"tandem/core/engine/loss/losstest"
	"tandem/core/fault"
	"tandem/core/tensor"
)

var ctx = context.Background()

// config makes a configuration of width dim for batches of 5 on the reference backend.
func config(with string, dim int) clip.LossConfig {
	return clip.LossConfig{With: []byte(with), EmbedDim: dim, BatchSize: 5, Compute: clip.Compute{Device: "host", Threads: 1},
		Optimizer: clip.Optimizer{Name: "adamw", WeightDecay: .2, Beta1: .9, Beta2: .98, Eps: 1e-6}}
}

func configured(t *testing.T, with string, dim int, options ...loss.Option) *loss.Loss {
	t.Helper()
	l := newLoss(options...)
	if _, err := l.Configure(ctx, config(with, dim)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// unit makes [batch, dim] random unit rows.
func unit(seed uint64, batch, dim int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 1))
	t := tensor.New(tensor.F32, batch, dim)
	for i := range batch {
		row, sum := t.F32()[i*dim:i*dim+dim], 0.
		for j := range row {
			row[j] = float32(r.NormFloat64())
			sum += float64(row[j]) * float64(row[j])
		}
		for j := range row {
			row[j] /= float32(math.Sqrt(sum))
		}
	}
	return t
}

func compute(t *testing.T, l clip.Loss, image, text *tensor.Tensor) *clip.LossResult {
	t.Helper()
	r, err := l.Compute(ctx, clip.LossRequest{Image: image, Text: text, Train: true, PerSample: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.8g, want %.8g ± %g", what, got, want, tolerance)
	}
}

func TestTwoPairsByHand(t *testing.T) {
	// s = 1, b = −1, v = t = the unit vectors: z is 0 on the diagonal and −1 elsewhere, so each row
	// costs −log σ(0) − log σ(1).
	eye := tensor.FromF32([]float32{1, 0, 0, 1}, 2, 2)
	r := compute(t, configured(t, `{"init_temperature": 1, "init_bias": -1}`, 2), eye, eye)
	near(t, "positive", r.Parts[positive], math.Log(2), 1e-6)
	near(t, "negative", r.Parts[negative], math.Log(1+math.Exp(-1)), 1e-6)
	near(t, "value", r.Value, math.Log(2)+math.Log(1+math.Exp(-1)), 1e-6)
	near(t, "logit_bias", r.Scalars["logit_bias"], -1, 1e-6)
	near(t, "logit_scale", r.Scalars["logit_scale"], 1, 1e-6)
	near(t, "a sample", float64(r.PerSample[positive][1]), math.Log(2), 1e-6)
}

func TestSmallPartsAreNotDifferencesOfLargeOnes(t *testing.T) {
	// At a scale of 80 and a bias of −60, the positive term is e⁻²⁰ and the negative one e⁻⁶⁰.
	eye := tensor.FromF32([]float32{1, 0, 0, 1}, 2, 2)
	r := compute(t, configured(t, `{"init_temperature": 0.0125, "init_bias": -60}`, 2), eye, eye)
	near(t, "positive·e²⁰", r.Parts[positive]*math.Exp(20), 1, 1e-4)
	near(t, "negative·e⁶⁰", r.Parts[negative]*math.Exp(60), 1, 1e-4)
}

// All gradients are those of central differences of the value.
func TestGradientsAreThoseOfFiniteDifferences(t *testing.T) {
	const step = 1.0 / 512
	image, text := unit(1, 5, 4), unit(2, 5, 4)
	for i := range text.F32() { // somewhat alike, as in the middle of training
		text.F32()[i] = .6*text.F32()[i] + .6*image.F32()[i]
	}
	l := configured(t, `{"init_bias": -3}`, 4, losstest.Double)
	r := compute(t, l, image, text)
	value := func(l *loss.Loss) float64 {
		r, err := l.Compute(ctx, clip.LossRequest{Image: image, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return r.Value
	}
	for name, in := range map[string][2][]float32{
		"image": {image.F32(), r.DImage.F32()}, "text": {text.F32(), r.DText.F32()},
	} {
		for i := range in[0] {
			old := in[0][i]
			in[0][i] = old + step
			up, above := value(l), in[0][i]
			in[0][i] = old - step
			down, below := value(l), in[0][i]
			in[0][i] = old
			near(t, fmt.Sprintf("d%s[%d]", name, i), float64(in[1][i]), (up-down)/float64(above-below), 1e-3)
		}
	}
	at := func(s, b float64) float64 {
		return value(configured(t, fmt.Sprintf(`{"init_logit_scale": %v, "init_bias": %v}`, s, b), 4, losstest.Double))
	}
	s := math.Log(10)
	near(t, "dlogit_scale", l.Gradient(loss.LogitScale), (at(s+step, -3)-at(s-step, -3))/(2*step), 1e-3)
	near(t, "dlogit_bias", l.Gradient(loss.LogitBias), (at(s, -3+step)-at(s, -3-step))/(2*step), 1e-4)
	squares := math.Pow(l.Gradient(loss.LogitScale), 2) + math.Pow(l.Gradient(loss.LogitBias), 2)
	norm, err := l.GradNorm(ctx)
	if err != nil || math.Abs(norm-squares) > 1e-12 {
		t.Errorf("squared gradient norm is %v, want %v (%v)", norm, squares, err)
	}
}

func TestAutoBiasIsTheLogOddsOfAMatch(t *testing.T) {
	for batch, want := range map[int]float64{2: 0, 5: -math.Log(4), 32768: -math.Log(32767)} {
		l := newLoss()
		c := config(`{"auto_bias": true}`, 4)
		c.BatchSize = batch
		if _, err := l.Configure(ctx, c); err != nil {
			t.Fatal(err)
		}
		near(t, "bias", l.Value(loss.LogitBias), want, 1e-6)
		l.Close()
	}
	near(t, "the default", configured(t, `{}`, 4).Value(loss.LogitBias), -10, 0)
}

func TestStepTrainsScaleAndBiasWithoutDecay(t *testing.T) {
	// AdamW's first step is lr·sign(g); weight decay would show, as would a clamp of the bias.
	l := configured(t, `{}`, 8)
	compute(t, l, unit(13, 4, 8), unit(14, 4, 8))
	want := map[string]float64{}
	for _, name := range []string{loss.LogitScale, loss.LogitBias} {
		want[name] = l.Value(name) - math.Copysign(.01, l.Gradient(name))
	}
	if err := l.Step(ctx, 1, 0.01, 1); err != nil {
		t.Fatal(err)
	}
	for name, w := range want {
		near(t, name, l.Value(name), w, 1e-5)
	}
	match := unit(15, 4, 8)
	compute(t, l, match, match)
	if err := l.Step(ctx, 2, 100, 1); err != nil {
		t.Fatal(err)
	}
	if s := l.Value(loss.LogitScale); s < 0 || s > float64(float32(math.Log(100))) {
		t.Errorf("logit scale %g is not clamped", s)
	}
	if b := l.Value(loss.LogitBias); math.Abs(b) < 50 {
		t.Errorf("logit bias %g did not follow its gradient", b)
	}
}

func TestLoadedStateContinuesWithTheSameBits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loss.safetensors")
	train := func(l *loss.Loss, from, to int) (values []float64) {
		for step := from; step <= to; step++ {
			r := compute(t, l, unit(uint64(step), 4, 8), unit(uint64(100+step), 4, 8))
			values = append(values, r.Value, l.Gradient(loss.LogitBias), l.Value(loss.LogitBias), l.Value(loss.LogitScale))
			if err := l.Step(ctx, step, 0.02, 0.5); err != nil {
				t.Fatal(err)
			}
		}
		return values
	}
	first := configured(t, `{}`, 8)
	train(first, 1, 3)
	if err := first.Save(ctx, path); err != nil {
		t.Fatal(err)
	}
	want := train(first, 4, 7)
	second := configured(t, `{}`, 8)
	if err := second.Load(ctx, path); err != nil {
		t.Fatal(err)
	}
	if got := train(second, 4, 7); !slices.Equal(got, want) {
		t.Errorf("after loading\n%v, want\n%v", got, want)
	}
}

func TestBadConfigsNameTheOption(t *testing.T) {
	for with, path := range map[string]string{
		`{"bias": 1}`:                 "with.bias",
		`{"init_temperature": 0.001}`: "with.init_temperature",
		`{"init_temperature": 0.2, "init_logit_scale": 2.3}`: "with.init_logit_scale",
		`{"init_logit_scale": -0.5}`:                         "with.init_logit_scale",
		`{"init_bias": "auto"}`:                              "with.init_bias",
		`{"init_bias": -2, "auto_bias": true}`:               "with.auto_bias",
	} {
		l := newLoss()
		_, err := l.Configure(ctx, config(with, 4))
		var e *fault.Error
		var list fault.List
		if errors.As(err, &list) && len(list) > 0 {
			e = list[0]
		} else if !errors.As(err, &e) {
			t.Errorf("%s: got %v", with, err)
			continue
		}
		if e.Kind != fault.Invalid || e.Path != path {
			t.Errorf("%s: got %v, want fault.Invalid at %s", with, err, path)
		}
	}
}
