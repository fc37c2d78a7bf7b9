package onnx

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/fault"
)

// network is a graph of pictures or ids; build adds it and returns [batch, D].
type network struct {
	name    string
	text    bool
	build   func(g *graph.Graph, batch int) *graph.Node
	indices map[string]Index
	feed    func(i *graph.Instance, batch int)
}

const side, context, vocabulary, width = 8, 5, 11, 6

var ids = [][]int32{{9, 3, 10, 0, 0}, {9, 10, 0, 0, 0}, {9, 4, 5, 6, 10}, {9, 1, 2, 10, 0}}
var lengths = []int32{3, 2, 5, 4}

func param(g *graph.Graph, name string, shape ...int) *graph.Node { return g.Param(name, shape...) }

func picture(g *graph.Graph, batch int) *graph.Node {
	return graph.Normalize(g.Input("input", device.U8, batch, side, side, 3), [3]float64{.5, .4, .3}, [3]float64{.2, .3, .25})
}

func embedded(g *graph.Graph, batch int) *graph.Node {
	return graph.Gather(param(g, "tokens", vocabulary, width), g.Input("input", device.I32, batch*context))
}

var networks = []network{
	{name: "vit", build: func(g *graph.Graph, b int) *graph.Node {
		x := graph.Patchify(picture(g, b), 4)
		x = graph.Linear(x, param(g, "patch", width, 48), nil, device.Identity)
		x = graph.Add(graph.ConcatTokens(param(g, "class", 1, width), x), param(g, "positions", 5, width))
		x = graph.LayerNorm(x, param(g, "gain", width), param(g, "shift", width), 1e-5)
		a := graph.Attention(graph.Linear(x, param(g, "qkv", 3*width, width), param(g, "qkv.bias", 3*width), device.Identity), 2, false)
		x = graph.Add(x, graph.Linear(a, param(g, "fc", width, width), param(g, "fc.bias", width), device.GELU))
		x = graph.Act(graph.Act(x, device.QuickGELU), device.TanhGELU)
		q := graph.Broadcast(param(g, "latent", 1, width), b)
		x = graph.CrossAttention(q, graph.SliceTokens(x, 1, 4), graph.SliceTokens(x, 0, 4), 3, false)
		return graph.L2Norm(graph.MatMul(graph.MeanTokens(x, nil), param(g, "proj", width, 4), false, false), 1e-12)
	}},
	{name: "resnet", build: func(g *graph.Graph, b int) *graph.Node {
		x := graph.Conv2D(picture(g, b), param(g, "conv", 4, 3, 3, 3), 2, 1)
		x = graph.BatchNorm(x, param(g, "gain", 4), param(g, "shift", 4), g.State("mean", 4), g.State("variance", 4), .1, 1e-5, device.ReLU, false)
		x = graph.Add(graph.MaxPool(x, 3, 2, 1), graph.AvgPool(x, 2, 2))
		x = graph.Reshape(x, b, 4, 4)
		rows := graph.SelectRows(x, g.Input("class", device.I32, b))
		sums := graph.SumCols(graph.Transpose(x)) // [b, 4]
		return graph.Scale(graph.Sub(graph.ScaleByExp(rows, param(g, "scale", 1)), graph.Mul(sums, graph.Softplus(sums))), .5, 1)
	}, indices: map[string]Index{"class": {Step: 4, Offset: 1}}, feed: func(i *graph.Instance, b int) {
		rows := make([]int32, b)
		for k := range rows {
			rows[k] = int32(4*k + 1)
		}
		i.SetInput("class", rows)
	}},
	{name: "spans", text: true, build: func(g *graph.Graph, b int) *graph.Node {
		x := graph.Add(embedded(g, b), graph.Gather(param(g, "positions", context, width), g.Input("places", device.I32, b*context)))
		spans := &graph.Spans{Starts: g.Input("starts", device.I32, b+1), Longest: context}
		qkv := func(name string, x *graph.Node) *graph.Node {
			return graph.Linear(x, param(g, name, 3*width, width), nil, device.Identity)
		}
		x = graph.Add(x, graph.SpanAttention(qkv("one", x), spans, 2, false))
		return graph.AttentionAt(qkv("two", x), g.Input("pool", device.I32, b), spans, 2, true)
	}, indices: map[string]Index{"places": {Within: true}, "pool": {Step: context, Ends: 1}}},
	{name: "means", text: true, build: func(g *graph.Graph, b int) *graph.Node {
		x := graph.Gather(param(g, "tokens", vocabulary, width), g.Input("input", device.I32, b, context))
		return graph.MeanTokens(graph.Attention(graph.Linear(x, param(g, "qkv", 3*width, width), nil, device.ReLU), 3, true), g.Input("lengths", device.I32, b))
	}, indices: map[string]Index{"lengths": {Lengths: 1}}},
}

// values gives every parameter of a graph numbers that depend on its name alone; variances are positive.
func values(name string, n int) []float32 {
	r := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[0])))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64() * .6)
		if name == "variance" {
			out[i] = 1 + out[i]*out[i]
		}
	}
	return out
}

// A file that is computed by the definitions of its operators gives what the graph gives, for any batch.
func TestAFileGivesWhatTheGraphGives(t *testing.T) {
	for _, n := range networks {
		for _, endIsLargest := range []bool{true, false} {
			sizes := map[string]int{}
			m, err := Export(Source{Input: "input", Size: map[bool]int{true: context, false: side}[n.text], Text: n.text, EndIsLargest: endIsLargest, Indices: n.indices,
				Build: func(batch int) (*graph.Node, error) {
					g := graph.New(graph.Options{})
					out := n.build(g, batch)
					for _, l := range []graph.Layout{g.Params(), g.States()} {
						for _, e := range l.Entries {
							sizes[e.Name] = e.N
						}
					}
					return out, g.Err()
				}, Values: func(name string) ([]float32, error) { return values(name, sizes[name]), nil }})
			if err != nil {
				t.Fatal(fault.Format(err))
			}
			file, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range []int{1, 2, 4} {
				want, input := n.compute(t, batch)
				got := run(file, m.Inputs[0].Name, input)[m.Outputs[0].Name]
				if len(got.data) != len(want) || got.dims[0] != batch {
					t.Fatalf("%s, batch %d: %v, want %d elements", n.name, batch, got.dims, len(want))
				}
				for i, v := range want {
					if math.Abs(v-got.data[i]) > 1e-5*max(1, math.Abs(v)) {
						t.Fatalf("%s, batch %d: element %d is %v, want %v", n.name, batch, i, got.data[i], v)
					}
				}
			}
		}
	}
}

// compute gives what the graph gives for a batch, and the file's input.
func (n network) compute(t *testing.T, batch int) ([]float64, array) {
	g := graph.New(graph.Options{})
	out := n.build(g, batch)
	backend := reference.New[float64](1)
	store := func(l graph.Layout) graph.Store {
		flat := make([]float32, l.Total)
		for _, e := range l.Entries {
			copy(flat[e.Off:], values(e.Name, e.N))
		}
		b, err := backend.Alloc(device.Real, max(l.Total, 1))
		if err != nil {
			t.Fatal(err)
		}
		if l.Total > 0 {
			backend.Write(b, flat)
		}
		return graph.Store{Layout: l, Values: b}
	}
	p, err := graph.Compile(g, backend, graph.CompileOptions{Outputs: []*graph.Node{out}, Params: store(g.Params()), States: store(g.States())})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	i, err := p.NewInstance()
	if err != nil {
		t.Fatal(err)
	}
	var input array
	if n.text {
		flat, places, packed := make([]int32, 0, batch*context), make([]int32, batch*context), make([]int32, batch*context)
		starts, ends := []int32{0}, []int32{}
		for b := range batch { // texts follow each other without padding; rows behind the last belong to none
			flat = append(flat, ids[b]...)
			for k := range lengths[b] {
				places[starts[b]+k], packed[starts[b]+k] = k, ids[b][k]
			}
			starts = append(starts, starts[b]+lengths[b])
			ends = append(ends, starts[b+1]-1)
		}
		if n.indices["places"].Within {
			flat = packed
		}
		input = fill([]int{batch, context}, func(x []int) float64 { return float64(ids[x[0]][x[1]]) })
		i.SetInput("input", flat)
		for name, v := range map[string][]int32{"starts": starts, "places": places, "pool": ends, "lengths": lengths[:batch]} {
			if slices.ContainsFunc(g.Inputs(), func(n *graph.Node) bool { return n.Name() == name }) {
				i.SetInput(name, v)
			}
		}
	} else {
		pixels := make([]byte, batch*side*side*3)
		for k := range pixels {
			pixels[k] = byte(k * 37 % 251)
		}
		mean, std := [3]float64{.5, .4, .3}, [3]float64{.2, .3, .25}
		input = fill([]int{batch, 3, side, side}, func(x []int) float64 {
			v := float64(pixels[((x[0]*side+x[2])*side+x[3])*3+x[1]]) / 255
			return (v - mean[x[1]]) / std[x[1]]
		})
		backend.Write(i.Input("input"), pixels)
		if n.feed != nil {
			n.feed(i, batch)
		}
	}
	if err := i.Forward(); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, out.Elements())
	if err := i.Read(0, got); err != nil {
		t.Fatal(err)
	}
	wide := make([]float64, len(got))
	for k, v := range got {
		wide[k] = float64(v)
	}
	return wide, input
}

// What a file cannot say is refused by name.
func TestNetworksThatAFileCannotSay(t *testing.T) {
	for want, build := range map[string]func(g *graph.Graph, batch int) *graph.Node{
		"the input drawn does not follow": func(g *graph.Graph, b int) *graph.Node {
			return graph.SelectRows(graph.Patchify(picture(g, b), 4), g.Input("drawn", device.I32, b))
		},
		"a sum over the batch": func(g *graph.Graph, b int) *graph.Node {
			return graph.Broadcast(graph.SumAll(picture(g, b)), b)
		},
		"the constant": func(g *graph.Graph, b int) *graph.Node {
			return graph.Add(graph.MeanTokens(graph.Patchify(picture(g, b), 4), nil), g.Const(make([]float32, 48*b), b, 48))
		},
	} {
		_, err := Export(Source{Input: "input", Size: side, Build: func(batch int) (*graph.Node, error) {
			g := graph.New(graph.Options{})
			n := build(g, batch)
			return n, g.Err()
		}})
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
