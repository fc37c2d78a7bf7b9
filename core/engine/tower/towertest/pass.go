package towertest

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/tower"
)

// pass holds what one forward pass in each mode and one backward pass give: embeddings, gradients and running
// statistics by name.
type pass struct {
	eval, train  []float64
	grads, stats map[string][]float64
}

// all returns the gradients of all parameters of the file, in the order of their names.
func (p pass) all(g golden) (out []float64) {
	for _, name := range slices.Sorted(maps.Keys(g.arrays)) {
		if parameter, ok := strings.CutPrefix(name, "grad."); ok {
			out = append(out, p.grads[parameter]...)
		}
	}
	return out
}

// all returns the file's gradients.
func (g golden) all() (out []float64) {
	for _, name := range slices.Sorted(maps.Keys(g.arrays)) {
		if strings.HasPrefix(name, "grad.") {
			out = append(out, g.arrays[name]...)
		}
	}
	return out
}

// pass runs an unconfigured encoder on the golden values, and closes it.
func (g golden) pass(t *testing.T, e clip.Encoder, compute clip.Compute) pass {
	t.Helper()
	ctx := context.Background()
	defer e.Close()
	req := g.configure(t, e, compute, keeping)
	out, _, err := e.Forward(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	p := pass{eval: widen(out.F32()), grads: map[string][]float64{}, stats: map[string][]float64{}}
	req.Mode = clip.Train
	out, ticket, err := e.Forward(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	p.train = widen(out.F32())
	if err := e.Backward(ctx, ticket, g.cotangent(100)); err != nil {
		t.Fatal(err)
	}
	squares, err := e.GradNorm(ctx)
	if err == nil {
		err = e.Step(ctx, 1, 0, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range Values(t, e) {
		if parameter, ok := strings.CutPrefix(name, "optim.m."); ok {
			p.grads[parameter] = widen(v)
		} else if !strings.HasPrefix(name, "optim.") {
			p.stats[name] = widen(v)
		}
	}
	if got := math.Sqrt(squares) / norm(p.all(g)); math.Abs(got-1) > 1e-5 {
		t.Errorf("the gradient norm is %g of the gradients'", got)
	}
	return p
}

// half holds products in bfloat16 against the file, on every backend: embeddings to 2 %, the gradients of
// all parameters together to a quarter more than what PyTorch's autocast is apart. That is a percent, but
// twenty with batch statistics, where rounding puts many a ReLU on its other side. A device.Autocaster rounds as often as
// PyTorch does, and not the same numbers: on towers as small as the files' one such error is 0.8 to 1.45 of another, so gradients
// and, with batch statistics, embeddings may be half as much again apart, and embeddings three times as far from those of backends that round products alone.
func (g golden) half(t *testing.T, open func(...tower.Option) clip.Encoder) {
	results := map[string]pass{}
	for _, device := range Devices() {
		if devices.Check(device, "bf16") != nil {
			continue // an older GPU
		}
		compute := clip.Compute{Device: device, Threads: 2, Precision: "f32"}
		exact := g.pass(t, open(), compute)
		compute.Precision = "bf16-emulated"
		grads, train := 1.25*g.Autocast.Grads, 2e-2
		if strings.HasPrefix(device, "cuda") {
			grads, train = 1.5*g.Autocast.Grads, max(train, 1.5*g.Autocast.Train)
		}
		p := g.pass(t, open(), compute)
		results[device] = p
		t.Logf("%s: ‖a−b‖/‖b‖: evaluation %.1e, training %.1e, all gradients %.1e", device,
			held(t, device+": evaluation embeddings", p.eval, g.arrays["eval"], 2e-2),
			held(t, device+": training embeddings", p.train, g.arrays["train"], train),
			held(t, device+": gradients", p.all(g), g.all(), grads))
		if slices.Equal(p.eval, exact.eval) {
			t.Errorf("%s: nothing is rounded", device)
		}
		if again := g.pass(t, open(), compute); !slices.Equal(again.train, p.train) || !slices.Equal(again.all(g), p.all(g)) {
			t.Errorf("%s: a second pass gives other bits", device)
		}
	}
	// Backends add up in another order, which now and then tips a later operand to the next bfloat16.
	for device, p := range results {
		allowed := 1e-2
		if strings.HasPrefix(device, "cuda") {
			allowed = 3e-2
		}
		held(t, "training embeddings between host and "+device, p.train, results["host"].train, allowed)
	}
}
