package towertest

import (
	"context"
	"math"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/device"
	"tandem/core/tensor"
	"tandem/core/tower"
)

// pass is what one training step of an encoder on the golden values gives.
type pass struct {
	eval, train []float64
	grads       []float64 // of all parameters, in the order of their names
}

// half compares products in bfloat16, on the fast backend and on the reference, with the golden
// embeddings and with gradients in single precision.
func (g golden) half(t *testing.T, open func(...tower.Option) clip.Encoder) {
	single := g.pass(t, open(), CPU, goldenValue)
	limit, gradLimit := 2e-2, 5e-2
	if len(g.Stats) > 0 {
		limit, gradLimit = g.conditioned(t, open, single)
	}
	results := map[string]pass{}
	reference := clip.Compute{Device: "host", Threads: 2, Precision: "bf16"}
	fast := clip.Compute{Device: "cpu", Threads: 2, Precision: "bf16"}
	for _, compute := range []clip.Compute{reference, fast} {
		p := g.pass(t, open(), compute, goldenValue)
		results[compute.Device] = p
		if d := distance(p.eval, g.Eval); !(d <= 2e-2) {
			t.Errorf("%s: evaluation embeddings differ by %.2g of their norm", compute.Device, d)
		}
		if d := distance(p.train, g.Train); !(d <= limit) {
			t.Errorf("%s: training embeddings differ by %.2g of their norm, allowed %.2g", compute.Device, d, limit)
		}
		if slices.Equal(p.eval, single.eval) {
			t.Errorf("%s: nothing is rounded", compute.Device)
		}
		if d := distance(p.grads, single.grads); !(d <= gradLimit) {
			t.Errorf("%s: gradients differ by %.2g of their norm, allowed %.2g", compute.Device, d, gradLimit)
		}
		if again := g.pass(t, open(), compute, goldenValue); !slices.Equal(again.train, p.train) || !slices.Equal(again.grads, p.grads) {
			t.Errorf("%s: a second pass gives other bits", compute.Device)
		}
	}
	// Backends add up in another order, which now and then tips a later operand to the next bfloat16.
	if d := distance(results["cpu"].train, results["host"].train); !(d <= 1e-2) {
		t.Errorf("embeddings differ between backends by %.2g of their norm", d)
	}
}

// conditioned gives the errors allowed to networks with batch statistics, which magnify any rounding
// when they are those of three small pictures: by how much is seen in single precision when only the
// weights are rounded. Activations and gradients are not rounded there, so more is allowed.
func (g golden) conditioned(t *testing.T, open func(...tower.Option) clip.Encoder, single pass) (embeddings, grads float64) {
	t.Helper()
	rounded := g.pass(t, open(), CPU, func(name string, shape []int, i int) float32 {
		return device.RoundBF16(goldenValue(name, shape, i))
	})
	return min(.2, 8*distance(rounded.train, single.train)), min(1, 8*distance(rounded.grads, single.grads))
}

// pass computes embeddings in both modes and, seen through an update, gradients.
func (g golden) pass(t *testing.T, e clip.Encoder, compute clip.Compute, value func(string, []int, int) float32) (p pass) {
	t.Helper()
	ctx := context.Background()
	defer e.Close()
	info, err := e.Configure(ctx, clip.EncoderConfig{With: g.With, EmbedDim: g.EmbedDim, Seed: 1, Optimizer: PlainSGD, Compute: compute})
	if err != nil {
		t.Fatal(err)
	}
	before := Rewrite(t, e, value)
	batch := len(g.Eval) / g.EmbedDim
	req := clip.ForwardRequest{Texts: g.Captions}
	if info.Modality == clip.Image {
		req.Images = pictures(batch, info.ImageSize)
	}
	p.eval = widen(forward(t, e, req).F32())
	req.Mode = clip.Train
	out, ticket, err := e.Forward(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	p.train = widen(out.F32())
	grad := tensor.New(tensor.F32, batch, g.EmbedDim)
	for i := range grad.F32() {
		grad.F32()[i] = float32(100 * uniform("cotangent", i))
	}
	if err := e.Backward(ctx, ticket, grad); err != nil {
		t.Fatal(err)
	}
	if err := e.Step(ctx, 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	after := Values(t, e)
	var names []string
	for name := range g.Grads {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p.grads = append(p.grads, widen(minus(before[name], after[name]))...)
	}
	return p
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// distance is ‖a − b‖/‖b‖, infinite for other lengths.
func distance(a, b []float64) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var d, n float64
	for i, v := range b {
		d += (a[i] - v) * (a[i] - v)
		n += v * v
	}
	return math.Sqrt(d / n)
}
