package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tandem/core/engine/device"
)

// pictureTower builds a ViT: patches, a class token, positions, blocks, the norm of the first token, projection.
func pictureTower(g *Graph, batch, side, patch, width, layers, heads int) (*Graph, *Node) {
	x := Normalize(g.Input("images", device.U8, batch, side, side, 3), [3]float64{.5, .5, .5}, [3]float64{.25, .25, .25})
	x = Patchify(x, patch)
	x = Linear(x, g.Param("conv1.weight", width, 3*patch*patch), nil, device.Identity)
	x = ConcatTokens(g.Param("class_embedding", 1, width), x)
	x = Add(x, g.Param("positional_embedding", x.Dim(1), width))
	for i := range layers {
		end := g.Scope(fmt.Sprintf("transformer.resblocks.%d", i))
		x = block(g, x, width, heads, false)
		end()
	}
	x = Reshape(SliceTokens(x, 0, 1), batch, width)
	x = LayerNorm(x, g.Param("ln_post.weight", width), g.Param("ln_post.bias", width), 1e-5)
	return g, MatMul(x, g.Param("proj", width, width), false, false)
}

// halfModel describes a model whose products are in bfloat16.
type halfModel struct {
	build  func(*Graph) (*Graph, *Node)
	inputs map[string]any
	halves []string // what is kept as bfloat16, without the ends of names, sorted
	f32    bool     // products are in float32
}

var halfModels = map[string]halfModel{
	"vit": {func(g *Graph) (*Graph, *Node) { return pictureTower(g, 3, 8, 4, 32, 2, 4) },
		map[string]any{"images": pictures(rand.New(rand.NewPCG(4, 4)), 3*8*8*3)},
		[]string{"attention", "layer_norm", "linear", "patchify"}, false},
	"transformer": {func(g *Graph) (*Graph, *Node) { return textTowerIn(g, 3, 6, 19, 32, 2, 4) },
		map[string]any{"ids": []int32{1, 5, 3, 18, 0, 2, 7, 7, 9, 4, 11, 2, 6, 1, 0, 3, 12, 8}, "eot": []int32{3, 11, 14}},
		[]string{"attention", "layer_norm", "linear"}, false},
	"residual network": {func(g *Graph) (*Graph, *Node) { return bottleneckIn(g, 3) },
		map[string]any{"images": pictures(rand.New(rand.NewPCG(4, 4)), 3*8*8*3)}, nil, false},
}

// step trains a step twice and gives outputs, gradients, gradients of the second added, and states.
func (m halfModel) step(t *testing.T, b device.Backend, options CompileOptions, checkpointing, train bool) ([]float32, *Program) {
	t.Helper()
	g, out := m.build(New(Options{Training: true, BF16: !m.f32, Checkpointing: checkpointing}))
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64()) * .3
		}
		return v
	}
	layout := g.Params()
	options.Outputs = []*Node{out}
	options.Params = Store{Layout: layout, Values: alloc(t, b, layout.Total), Grads: alloc(t, b, layout.Total)}
	options.States = Store{Layout: g.States(), Values: alloc(t, b, g.States().Total)}
	if train {
		options.Backward = options.Outputs
	}
	b.Write(options.Params.Values, draw(layout.Total))
	b.ParamsChanged()
	p, err := Compile(g, b, options)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	run, err := p.NewInstance()
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	var results []float32
	for range 2 {
		for input, values := range m.inputs {
			run.SetInput(input, values)
		}
		if err := run.Forward(); err != nil {
			t.Fatal(err)
		}
		y, grads, states := make([]float32, out.Elements()), make([]float32, layout.Total), make([]float32, max(1, g.States().Total))
		if err := run.Read(0, y); err != nil {
			t.Fatal(err)
		}
		results = append(results, y...)
		if !train {
			continue
		}
		run.SetGrad(0, draw(out.Elements()))
		for _, mode := range []Mode{Overwrite, Accumulate} {
			if err := run.Backward(mode); err != nil {
				t.Fatal(err)
			}
			b.Read(grads, options.Params.Grads)
			results = append(results, grads...)
		}
		if err := run.Update(); err != nil {
			t.Fatal(err)
		}
		b.Read(states, options.States.Values)
		results = append(results, states...)
	}
	return results, p
}
