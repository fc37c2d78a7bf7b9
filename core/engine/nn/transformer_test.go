package nn

import (
	"math"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
)

// ApplyAt gives the rows that SelectRows would pick from Apply's value, and the same gradients, with
// less work.
func TestApplyAtIsApplyForTheRowsAsked(t *testing.T) {
	const b, tokens, w, layers = 3, 5, 8, 2
	rows := []int32{4, 5, 12}
	for _, causal := range []bool{false, true} {
		var outs, grads [2][]float64
		var work [2]float64
		for i := range 2 {
			set := &Set{}
			blocks := NewTransformer(set, "t", layers, BlockConfig{Width: w, Heads: 2, Hidden: 16, Act: GELU, Causal: causal,
				InProj: XavierUniform, OutProj: FanIn, FC: FanIn, Proj: FanIn})
			g := NewGraph(set, graph.Options{Training: true})
			x, ids := g.Input("x", device.Real, b, tokens, w), g.Input("rows", device.I32, b)
			var y *graph.Node
			if i == 0 {
				y = graph.SelectRows(blocks.Apply(g, x), ids)
			} else {
				y = blocks.ApplyAt(g, x, ids, nil)
			}
			if err := g.Err(); err != nil {
				t.Fatal(err)
			}
			be := reference.New[float64](1)
			layout := g.Params()
			values, _ := be.Alloc(device.Real, layout.Total)
			gradients, _ := be.Alloc(device.Real, layout.Total)
			be.Write(values, wave(layout.Total, .3))
			prog, err := graph.Compile(g.Graph, be, graph.CompileOptions{Outputs: []*graph.Node{y}, Backward: []*graph.Node{y},
				Params: graph.Store{Layout: layout, Values: values, Grads: gradients}})
			if err != nil {
				t.Fatal(err)
			}
			run, err := prog.NewInstance()
			if err != nil {
				t.Fatal(err)
			}
			run.SetInput("x", wave(b*tokens*w, 1))
			run.SetInput("rows", rows)
			if err := run.Forward(); err != nil {
				t.Fatal(err)
			}
			outs[i] = make([]float64, b*w)
			run.Read(0, outs[i])
			run.SetGrad(0, wave(b*w, .5))
			if err := run.Backward(graph.Overwrite); err != nil {
				t.Fatal(err)
			}
			grads[i] = make([]float64, layout.Total)
			be.Read(grads[i], gradients)
			forward, backward := prog.FLOPs()
			work[i] = forward + backward
		}
		for name, pair := range map[string][2][]float64{"value": outs, "gradient": grads} {
			for j, want := range pair[0] {
				if math.Abs(pair[1][j]-want) > 1e-12*(1+math.Abs(want)) {
					t.Fatalf("causal %v: %s %d is %g, want %g", causal, name, j, pair[1][j], want)
				}
			}
		}
		if work[1] > .75*work[0] {
			t.Errorf("causal %v: %g operations instead of %g", causal, work[1], work[0])
		}
	}
}

// wave returns n numbers between −size and size.
func wave(n int, size float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = size * math.Sin(float64(i*i%101)+.5)
	}
	return x
}
