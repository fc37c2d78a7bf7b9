//go:build onednn

package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/onednn"
)

// BenchmarkMLPStack trains 12 × [768 → 3072 → 768] with QuickGELU on 800 rows, without the optimiser:
// the work of a ViT-B/32's MLPs on a batch of 16.
func BenchmarkMLPStack(b *testing.B) {
	const rows, width, layers = 800, 768, 12
	backend, err := onednn.New(2)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := backend.Close(); err != nil {
			b.Error(err)
		}
	}()
	g := New(Options{Training: true})
	x := g.Input("x", device.Real, rows, width)
	h := x
	for i := range layers {
		end := g.Scope(fmt.Sprint(i))
		h = Linear(h, g.Param("c_fc.weight", 4*width, width), g.Param("c_fc.bias", 4*width), device.QuickGELU)
		h = Linear(h, g.Param("c_proj.weight", width, 4*width), g.Param("c_proj.bias", width), device.Identity)
		end()
	}
	layout := g.Params()
	rng := rand.New(rand.NewPCG(1, 2))
	real32 := func(n int, scale float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = (rng.Float32() - .5) * scale
		}
		return v
	}
	store := Store{Layout: layout}
	for _, buffer := range []*device.Buffer{&store.Values, &store.Grads} {
		if *buffer, err = backend.Alloc(device.Real, layout.Total); err != nil {
			b.Fatal(err)
		}
	}
	backend.Write(store.Values, real32(layout.Total, .06))
	p, err := Compile(g, backend, CompileOptions{Outputs: []*Node{h}, Backward: []*Node{h}, Params: store})
	if err != nil {
		b.Fatal(err)
	}
	run, err := p.NewInstance()
	if err != nil {
		b.Fatal(err)
	}
	run.SetInput("x", real32(rows*width, 1))
	run.SetGrad(0, real32(rows*width, 1))
	forward, backward := p.FLOPs()
	for name, mode := range map[string]Mode{"overwrite": Overwrite, "accumulate": Accumulate} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				backend.ParamsChanged()
				if err := run.Forward(); err != nil {
					b.Fatal(err)
				}
				if err := run.Backward(mode); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((forward+backward)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
