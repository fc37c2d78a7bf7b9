//go:build onednn || clipcuda

package graph

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// twice adds the values of two ranks up that have the same samples.
func twice(values []float64) error {
	for i := range values {
		values[i] *= 2
	}
	return nil
}

// agrees runs whole models on a backend and on the reference: outputs and every gradient, in passes that are
// equal to the bit. It closes the backend.
func agrees(t *testing.T, fast device.Backend) {
	const batch, tokens, vocab, width = 3, 6, 19, 32
	for name, model := range map[string]struct {
		build  func() (*Graph, *Node)
		inputs map[string]any
	}{
		"transformer": {func() (*Graph, *Node) { return textTower(true, batch, tokens, vocab, width, 2, 4) },
			map[string]any{"ids": []int32{1, 5, 3, 18, 0, 2, 7, 7, 9, 4, 11, 2, 6, 1, 0, 3, 12, 8}, "eot": []int32{3, 11, 14}}},
		"residual network": {func() (*Graph, *Node) { return bottleneck(true, batch) },
			map[string]any{"images": pictures(rand.New(rand.NewPCG(4, 4)), batch*8*8*3)}},
		"residual network on two ranks": {func() (*Graph, *Node) { return bottleneckIn(New(Options{Training: true, Sum: twice}), batch) },
			map[string]any{"images": pictures(rand.New(rand.NewPCG(4, 4)), batch*8*8*3)}},
	} {
		t.Run(name, func(t *testing.T) {
			var results [3][]float32
			for k, backend := range []device.Backend{reference.New[float32](1), fast, fast} {
				g, out := model.build()
				g.options.Checkpointing = k == 2
				rng := rand.New(rand.NewPCG(1, 2))
				draw := func(n int) []float32 {
					v := make([]float32, n)
					for i := range v {
						v[i] = float32(rng.NormFloat64()) * .3
					}
					return v
				}
				layout := g.Params()
				store := Store{Layout: layout, Values: alloc(t, backend, layout.Total), Grads: alloc(t, backend, layout.Total)}
				backend.Write(store.Values, draw(layout.Total))
				backend.ParamsChanged()
				p, err := Compile(g, backend, CompileOptions{Outputs: []*Node{out}, Backward: []*Node{out}, Params: store,
					States: Store{Layout: g.States(), Values: alloc(t, backend, g.States().Total)}})
				if err != nil {
					t.Fatal(err)
				}
				run, err := p.NewInstance()
				if err != nil {
					t.Fatal(err)
				}
				given := draw(out.Elements())
				for pass := range 4 { // a backend that records begins to with the second
					for input, values := range model.inputs {
						run.SetInput(input, values)
					}
					if err := run.Forward(); err != nil {
						t.Fatal(err)
					}
					run.SetGrad(0, given)
					if err := run.Backward(Overwrite); err != nil {
						t.Fatal(err)
					}
					y, grads := make([]float32, out.Elements()), make([]float32, layout.Total)
					if err := run.Read(0, y); err != nil {
						t.Fatal(err)
					}
					if err := device.Read(backend, grads, store.Grads); err != nil {
						t.Fatal(err)
					}
					if got := append(y, grads...); pass == 0 {
						results[k] = got
					} else if !slices.Equal(got, results[k]) {
						t.Fatalf("pass %d on %s differs from the first", pass+1, backend.Name())
					}
				}
				run.Close()
				p.Close()
			}
			if !slices.Equal(results[1], results[2]) {
				t.Error("computing activations again changes the results")
			}
			largest := 0.0
			for _, v := range results[0] {
				largest = math.Max(largest, math.Abs(float64(v)))
			}
			for i, want := range results[0] {
				if diff := math.Abs(float64(results[1][i] - want)); !(diff <= 2e-5*largest) {
					t.Fatalf("value %d is %v, the reference gives %v (the largest value is %v)", i, results[1][i], want, largest)
				}
			}
		})
	}
	if err := fast.Close(); err != nil {
		t.Error(err)
	}
}
