package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/loss"
	"tandem/core/tensor"
)

var ctx = context.Background()

// adamw configures the optimiser of the tests.
var adamw = clip.Optimizer{Name: "adamw", WeightDecay: .2, Beta1: .9, Beta2: .98, Eps: 1e-6}

// config makes a configuration of width dim on the reference backend.
func config(with string, dim int) clip.LossConfig {
	return clip.LossConfig{With: []byte(with), EmbedDim: dim, BatchSize: 3, Optimizer: adamw,
		Compute: clip.Compute{Device: "host", Threads: 1}}
}

// configured opens a loss in this process; exact computes in double precision.
func configured(t *testing.T, c clip.LossConfig, exact bool, options ...loss.Option) *loss.Loss {
	t.Helper()
	if exact {
		options = append(options, loss.WithBackend(func(clip.Compute) (device.Backend, error) { return reference.New[float64](1), nil }))
	}
	l := newLoss(options...)
	if _, err := l.Configure(ctx, c); err != nil {
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
		row := t.F32()[i*dim : i*dim+dim]
		sum := 0.0
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
		t.Errorf("%s is %.7f, want %.7f ± %g", what, got, want, tolerance)
	}
}

// workedExample checks CLIP's loss of three pairs at temperature 1, computed by hand in double
// precision. The vectors are used as given; they are not of unit length.
//
//	v = [.9 .1; .1 .9; .9 −.1], t = [.8 .2; .2 .8; 1 0]
//	S = [.74 .26 .90; .26 .74 .10; .70 .10 .90]
//	rows:    1.026864 .763641 .818925, mean .869810
//	columns:  .947624 .763641 .895814, mean .869026
//	value: .869418
func workedExample(t *testing.T, l clip.Loss) {
	t.Helper()
	r := compute(t, l,
		tensor.FromF32([]float32{.9, .1, .1, .9, .9, -.1}, 3, 2),
		tensor.FromF32([]float32{.8, .2, .2, .8, 1, 0}, 3, 2))
	for name, want := range map[string][]float64{
		loss.ImageToText: {1.026864, .763641, .818925}, loss.TextToImage: {.947624, .763641, .895814},
	} {
		for i, w := range want {
			near(t, fmt.Sprintf("%s[%d]", name, i), float64(r.PerSample[name][i]), w, 1e-6)
		}
	}
	near(t, loss.ImageToText, r.Parts[loss.ImageToText], .869810, 1e-6)
	near(t, loss.TextToImage, r.Parts[loss.TextToImage], .869026, 1e-6)
	near(t, "value", r.Value, .869418, 1e-6)
	near(t, "logit_scale", r.Scalars["logit_scale"], 1, 1e-6)
	near(t, "temperature", r.Scalars["temperature"], 1, 1e-6)
}

func TestWorkedExample(t *testing.T) {
	workedExample(t, configured(t, config(`{"init_temperature": 1}`, 2), false))
	workedExample(t, configured(t, config(`{"init_logit_scale": 0}`, 2), false))
}

// A batch whose logits are too many is computed in blocks of rows: values, gradients and that of the
// temperature are those of the whole, but for the order of sums.
func TestBlocksGiveTheLossOfTheWholeBatch(t *testing.T) {
	const batch, dim = 23, 6
	image, text := unit(3, batch, dim), unit(4, batch, dim)
	for _, with := range []string{`{"label_smoothing": 0.1}`, `{"direction": "image"}`, `{"direction": "text"}`} {
		whole := configured(t, config(with, dim), true)
		want := compute(t, whole, image, text)
		for _, rows := range []int{1, 5, 22} {
			blocks := configured(t, config(with, dim), true, loss.WithBlocks(rows*batch))
			got := compute(t, blocks, image, text)
			near(t, "value", got.Value, want.Value, 1e-12)
			for name, losses := range want.PerSample {
				for i, w := range losses {
					near(t, name, float64(got.PerSample[name][i]), float64(w), 1e-6)
				}
			}
			for i := range want.DImage.F32() {
				near(t, "dImage", float64(got.DImage.F32()[i]), float64(want.DImage.F32()[i]), 1e-7)
				near(t, "dText", float64(got.DText.F32()[i]), float64(want.DText.F32()[i]), 1e-7)
			}
			near(t, "d logit_scale", blocks.Gradient(loss.LogitScale), whole.Gradient(loss.LogitScale), 1e-7)
		}
	}
}

func TestBlocksTakeLittleMemory(t *testing.T) {
	const batch, dim = 256, 2
	taken := func(options ...loss.Option) (sum int64) {
		l := configured(t, config(`{}`, dim), false, options...)
		compute(t, l, unit(3, batch, dim), unit(4, batch, dim))
		for _, part := range l.Memory() {
			if part.Name == "activations" || part.Name == "workspace" {
				sum += part.Bytes
			}
		}
		return sum
	}
	whole, blocks := taken(), taken(loss.WithBlocks(32*batch))
	if blocks > 6*32*batch*4 || whole < 4*batch*batch*4 {
		t.Errorf("blocks of 32 rows take %d bytes, the whole batch %d; its logits are %d", blocks, whole, batch*batch*4)
	}
}

func TestEveryDeviceAgrees(t *testing.T) {
	image, text := unit(40, 37, 24), unit(41, 37, 24)
	want := compute(t, configured(t, config(`{"label_smoothing": 0.1}`, 24), false), image, text)
	for _, d := range devices.List() {
		if !d.Available {
			continue
		}
		c := config(`{"init_temperature": 1}`, 2)
		c.Compute.Device = d.Name
		workedExample(t, configured(t, c, false))
		c = config(`{"label_smoothing": 0.1}`, 24)
		c.Compute.Device = d.Name
		got := compute(t, configured(t, c, false), image, text)
		near(t, d.Name+" value", got.Value, want.Value, 1e-5)
		for i := range want.DImage.F32() {
			near(t, d.Name+" dImage", float64(got.DImage.F32()[i]), float64(want.DImage.F32()[i]), 1e-5)
			near(t, d.Name+" dText", float64(got.DText.F32()[i]), float64(want.DText.F32()[i]), 1e-5)
		}
	}
}

// TestGradientsAreThoseOfFiniteDifferences compares all gradients with central differences of the value.
func TestGradientsAreThoseOfFiniteDifferences(t *testing.T) {
	for _, with := range []string{`{}`, `{"label_smoothing": 0.1}`, `{"direction": "image"}`, `{"direction": "text"}`} {
		image, text := unit(1, 5, 4), unit(2, 5, 4)
		l := configured(t, config(with, 4), true)
		r := compute(t, l, image, text)
		value := func(l *loss.Loss) float64 {
			r, err := l.Compute(ctx, clip.LossRequest{Image: image, Text: text})
			if err != nil {
				t.Fatal(err)
			}
			return r.Value
		}
		const step = 1.0 / 512
		for name, in := range map[string][2][]float32{
			"image": {image.F32(), r.DImage.F32()}, "text": {text.F32(), r.DText.F32()},
		} {
			x, grad := in[0], in[1]
			for i := range x {
				old := x[i]
				x[i] = old + step
				up, above := value(l), x[i]
				x[i] = old - step
				down, below := value(l), x[i]
				x[i] = old
				near(t, fmt.Sprintf("%s d%s[%d]", with, name, i), float64(grad[i]), (up-down)/float64(above-below), 2e-3)
			}
		}
		at := func(s float64) float64 {
			at := fmt.Sprintf(`{"init_logit_scale": %v, `, s) + with[1:]
			return value(configured(t, config(strings.Replace(at, ", }", "}", 1), 4), true))
		}
		s := Defaults.Temperature.Start()
		squared, err := l.GradNorm(ctx)
		if err != nil {
			t.Fatal(err)
		}
		slope := (at(s+step) - at(s-step)) / (2 * step)
		near(t, with+" |dlogit_scale|", math.Sqrt(squared), math.Abs(slope), 1e-4)
		near(t, with+" dlogit_scale", l.Gradient(loss.LogitScale), slope, 1e-4)
	}
}

func TestPermutedPairsGiveThePermutedResult(t *testing.T) {
	l := configured(t, config(`{}`, 8), false)
	image, text := unit(3, 6, 8), unit(4, 6, 8)
	order := []int{4, 2, 0, 5, 1, 3}
	permuted := func(x *tensor.Tensor) *tensor.Tensor {
		out := tensor.New(tensor.F32, 6, 8)
		for to, from := range order {
			copy(out.F32()[8*to:8*to+8], x.F32()[8*from:8*from+8])
		}
		return out
	}
	a, b := compute(t, l, image, text), compute(t, l, permuted(image), permuted(text))
	near(t, "value", b.Value, a.Value, 1e-6)
	for i, want := range permuted(a.DImage).F32() {
		near(t, "dImage", float64(b.DImage.F32()[i]), float64(want), 1e-6)
	}
	for i, want := range permuted(a.DText).F32() {
		near(t, "dText", float64(b.DText.F32()[i]), float64(want), 1e-6)
	}
	for to, from := range order {
		near(t, "row", float64(b.PerSample[loss.ImageToText][to]), float64(a.PerSample[loss.ImageToText][from]), 1e-5)
	}
}

func TestDirectionsAndTheirMean(t *testing.T) {
	image, text := unit(5, 7, 8), unit(6, 7, 8)
	both := compute(t, configured(t, config(`{}`, 8), false), image, text)
	one := compute(t, configured(t, config(`{"direction": "image"}`, 8), false), image, text)
	two := compute(t, configured(t, config(`{"direction": "text"}`, 8), false), image, text)
	if len(both.Parts) != 2 || len(one.Parts) != 1 || len(two.Parts) != 1 {
		t.Fatalf("parts %v, %v, %v", both.Parts, one.Parts, two.Parts)
	}
	near(t, "image to text", one.Value, both.Parts[loss.ImageToText], 1e-6)
	near(t, "text to image", two.Value, both.Parts[loss.TextToImage], 1e-6)
	near(t, "both", both.Value, (one.Value+two.Value)/2, 1e-6)
	for i := range both.DImage.F32() {
		near(t, "dImage", float64(both.DImage.F32()[i]), float64(one.DImage.F32()[i]+two.DImage.F32()[i])/2, 1e-6)
	}
	swapped := compute(t, configured(t, config(`{"direction": "text"}`, 8), false), text, image)
	near(t, "swapped", swapped.Value, one.Value, 1e-6)
}

func TestLabelSmoothingMixesInTheUniformTarget(t *testing.T) {
	// At a logit scale of 1 and equal cosines all logits of a row are equal: every target costs ln B.
	same := tensor.FromF32([]float32{1, 0, 1, 0, 1, 0, 1, 0}, 4, 2)
	r := compute(t, configured(t, config(`{"init_temperature": 1, "label_smoothing": 0.3}`, 2), false), same, same)
	near(t, "value of equal logits", r.Value, math.Log(4), 1e-6)
	// Of orthogonal pairs, a row is (2, 0, 0, 0) at temperature ½: the loss is log(e² + 3) − 2·(.7 + .3/4).
	eye := tensor.New(tensor.F32, 4, 4)
	for i := range 4 {
		eye.F32()[5*i] = 1
	}
	r = compute(t, configured(t, config(`{"init_temperature": 0.5, "label_smoothing": 0.3}`, 4), false), eye, eye)
	near(t, "value of orthogonal pairs", r.Value, math.Log(math.Exp(2)+3)-2*(.7+.3/4), 1e-6)
}

func TestBatchSizesMayAlternate(t *testing.T) {
	l := configured(t, config(`{}`, 8), false)
	first := map[int]float64{}
	for range 2 {
		for batch := 2; batch < 14; batch++ { // more sizes than programs are kept
			r := compute(t, l, unit(7, batch, 8), unit(8, batch, 8))
			if want, ok := first[batch]; ok && r.Value != want {
				t.Errorf("batch of %d: %v, then %v", batch, want, r.Value)
			}
			first[batch] = r.Value
		}
	}
}

func TestEvaluationGivesTheSameValueAndNoGradient(t *testing.T) {
	l := configured(t, config(`{}`, 8), false)
	image, text := unit(9, 4, 8), unit(10, 4, 8)
	trained := compute(t, l, image, text)
	before, _ := l.GradNorm(ctx)
	r, err := l.Compute(ctx, clip.LossRequest{Image: image, Text: text})
	if err != nil || r.Value != trained.Value || r.DImage != nil || r.DText != nil || r.PerSample != nil {
		t.Errorf("evaluation gives %+v, %v; want value %v", r, err, trained.Value)
	}
	if after, _ := l.GradNorm(ctx); after != before {
		t.Errorf("evaluation changed the gradient: %g, then %g", before, after)
	}
}
